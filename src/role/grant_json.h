/* grant_json.h - grants, addresses and times as the control API writes them
 * (docs/CONTROL_API.md); for connector and agent. */
#ifndef ZTNA_GRANT_JSON_H
#define ZTNA_GRANT_JSON_H

#include <jansson.h>

#include "part/policy.h"
#include <ztna/addr.h>

struct grant_json {
  char id[33];
  const char *service, *rule; /* lent by the object */
  struct ztna_addr addrs[2];  /* v4 and v6, family 0 when there is none */
  struct permission may;
  uint64_t lease; /* ns */
};

/* 0 or ZTNA_EMALFORMED. */
int grant_json_read(struct grant_json *g, json_t *j);
/* A list of at most one address per family into [0] v4, [1] v6. 0 or
 * ZTNA_EMALFORMED. An absent list is empty. */
int addrs_json_read(json_t *list, struct ztna_addr out[2]);
/* What that reads; family 0 is left out. A new list. */
json_t *addrs_json_write(const struct ztna_addr v[2]);
/* Milliseconds (integer or real) as ns; 0 for anything else; a day at most. */
uint64_t ms_json_read(json_t *j);

#endif
