/* token_grant.h - what an enrolment token is good for. */
#ifndef ZTNA_ROLE_TOKEN_GRANT_H
#define ZTNA_ROLE_TOKEN_GRANT_H

#include "transport/identity.h"

struct token_grant {
  enum role role;
  char name[128];
  char **dns; /* names of the certificate, services' as names, too */
  size_t n_dns;
  struct ztna_addr ips[IDENTITY_MAX_IPS];
  size_t n_ips;
  int64_t lifetime; /* of the certificate, seconds */
};

void token_grant_done(struct token_grant *g); /* zeroed is fine */

#endif
