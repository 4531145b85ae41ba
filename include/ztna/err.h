/* err.h - error codes of every ztna function.
 *
 * A function returns 0 or a length on success and one of these on failure.
 * Codes of libraries and of the system are translated once, in the file that
 * calls them, and logged there with their detail. */
#ifndef ZTNA_ERR_H
#define ZTNA_ERR_H

enum ztna_err {
  ZTNA_EAGAIN = -1,     /* nothing now, ask again after the next input */
  ZTNA_ENOMEM = -2,     /* the system gave no memory */
  ZTNA_EINVAL = -3,     /* the caller's argument makes no sense */
  ZTNA_EMALFORMED = -4, /* bytes from outside break their format */
  ZTNA_ENOENT = -5,     /* no such thing */
  ZTNA_EEXIST = -6,     /* there is one already */
  ZTNA_EFULL = -7,      /* a bounded table or buffer is full */
  ZTNA_ECONFIG = -8,    /* wrong configuration; the mistakes were printed */
  ZTNA_EIO = -9,        /* the system refused an input or output */
  ZTNA_EPERM = -10,     /* the system wants more privileges */
  ZTNA_ETLS = -11,      /* certificate, key or handshake trouble */
  ZTNA_EPROTO = -12,    /* the peer broke the protocol */
  ZTNA_EREFUSED = -13,  /* refused by a peer or by policy, with a reason */
  ZTNA_ESIZE = -14,     /* does not fit where it should go */
  ZTNA_ECLOSED = -15,   /* the connection or stream is gone */
};

/* A short sentence for an error code; never NULL. */
const char *ztna_strerror(int err);

#endif
