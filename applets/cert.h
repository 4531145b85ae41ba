/* cert.h - what the files of `ztna cert` share. */
#ifndef ZTNA_APPLET_CERT_H
#define ZTNA_APPLET_CERT_H

#include "applet.h"
#include "transport/cert.h"

enum {
  CERT_DAY = 86400,
  CERT_FILE_MAX = 4 << 20,
  CERT_NAME_MAX = 512, /* of a file */
};

struct cert_opts {
  char *dir, *trust_domain, *role, *name;
  uint32_t days; /* 0: not given */
  bool json;
  char **service;
  size_t n_service;
  char **dns;
  size_t n_dns;
  struct ztna_addr *ip;
  size_t n_ip;
};

/* Each does one of `ztna cert init|issue|show|revoke|crl`; an EXIT_ code. */
int cert_init(const struct cert_opts *o, struct applet_call *c);
int cert_issue(const struct cert_opts *o, struct applet_call *c);
int cert_show(const struct cert_opts *o, struct applet_call *c);
int cert_revoke(const struct cert_opts *o, struct applet_call *c);
int cert_crl(const struct cert_opts *o, struct applet_call *c);

/* A directory's CA. */
struct cert_authority {
  char cert_file[CERT_NAME_MAX], key_file[CERT_NAME_MAX];
  char *cert, *key;
  size_t cert_len, key_len;
  uint8_t der[CERT_DER_MAX]; /* of the certificate */
  int der_len;
  struct cert_ca ca;
};
/* a is zeroed. An EXIT_ code; the mistake was printed. cert_authority_done is
 * right after both. */
int cert_authority_load(struct cert_authority *a, const char *verb,
                        const char *dir);
void cert_authority_done(struct cert_authority *a);
/* Prints that the key is not the certificate's; EXIT_FAILED. */
int cert_authority_wrong_key(const struct cert_authority *a, const char *verb);

/* To stderr; returns code. */
int cert_say(int code, const char *verb, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

int64_t cert_now(void); /* seconds since 1970 */
/* "2026-01-31 12:00:00 UTC"; with iso "2026-01-31T12:00:00Z". */
const char *cert_time(int64_t t, bool iso, char *buf, size_t room);
/* What a certificate says, without its identity. */
void cert_print_identity(const struct identity *id);
void cert_print_ca(const struct cert_ca *ca);

#endif
