/* renewal_files.h - the files of an identity while its certificate is renewed:
 * what is asked with, and what replaces them when it was granted. */
#ifndef ZTNA_HOST_RENEWAL_FILES_H
#define ZTNA_HOST_RENEWAL_FILES_H

#include "host/config.h"
#include "role/enroll_answer.h"

enum { RENEWAL_TEXT = ENROLL_TEXT + 200 };

/* The certificate on disk. */
struct renewal_present {
  uint8_t sha256[32];
  int64_t from, to; /* seconds since 1970 */
  int64_t got;      /* when the file was written */
};
/* 0 or an error. */
int renewal_present_read(struct renewal_present *p, const char *name);
bool renewal_present_same(const struct renewal_present *a,
                          const struct renewal_present *b);

/* As they were read; zeroed is fine. */
struct renewal_files {
  char *cert, *key, *ca, *crl;
  size_t cert_len, key_len, ca_len, crl_len;
  struct renewal_present present;
  struct ztna_identity own; /* all of it */
};

/* Also tries whether the certificate could be replaced: else it would be issued
 * again and again for nothing. 0; or an error, why (RENEWAL_TEXT bytes) says
 * what is wrong and what helps. */
int renewal_files_read(struct renewal_files *f,
                       const struct identity_config *id, char *why);
/* Replaces the certificate, and the CAs when the service has others. Nothing
 * when somebody else has replaced the certificate meanwhile: ZTNA_EEXIST. */
int renewal_files_take(const struct renewal_files *f,
                       const struct identity_config *id,
                       const struct enroll_result *got, bool *new_ca,
                       char *why);
/* Wipes the key. */
void renewal_files_done(struct renewal_files *f);

#endif
