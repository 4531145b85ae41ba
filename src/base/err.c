/* err.c - see err.h. */
#include <ztna/err.h>

const char *ztna_strerror(int err) {
  if (err >= 0) return "success";
  switch ((enum ztna_err)err) {
  case ZTNA_EAGAIN:
    return "nothing now, try again later";
  case ZTNA_ENOMEM:
    return "out of memory";
  case ZTNA_EINVAL:
    return "an argument makes no sense";
  case ZTNA_EMALFORMED:
    return "the bytes break their format";
  case ZTNA_ENOENT:
    return "no such thing";
  case ZTNA_EEXIST:
    return "there is one already";
  case ZTNA_EFULL:
    return "a limit is reached";
  case ZTNA_ECONFIG:
    return "the configuration is wrong";
  case ZTNA_EIO:
    return "the system refused an input or output";
  case ZTNA_EPERM:
    return "more privileges are needed";
  case ZTNA_ETLS:
    return "certificate, key or handshake trouble";
  case ZTNA_EPROTO:
    return "the peer broke the protocol";
  case ZTNA_EREFUSED:
    return "refused";
  case ZTNA_ESIZE:
    return "it does not fit";
  case ZTNA_ECLOSED:
    return "the connection is gone";
  }
  return "unknown error";
}
