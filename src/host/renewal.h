/* renewal.h - gets a running role's certificate renewed in time, by the
 * enrolment service that identity.enroll names (docs/ENROLL.md). It replaces
 * the files; that the role takes them over is identity_file.h's business. */
#ifndef ZTNA_HOST_RENEWAL_H
#define ZTNA_HOST_RENEWAL_H

#include <jansson.h>

#include "base/sbuf.h"
#include "host/config.h"
#include "host/loop.h"

struct renewal;

/* When to ask, in seconds since 1970: at two thirds of a life, or up to a tenth
 * of it before, as draw (any number) says: machines enrolled in one minute
 * would else all ask in one minute, and the service has limits. A certificate
 * that is valid from `from` to `to` and was got at `got`, which a service sets
 * `from` back from: clocks differ. */
int64_t renewal_first_at(int64_t from, int64_t to, int64_t got, uint64_t draw);
/* After an attempt failed at `now`. */
int64_t renewal_next_at(int64_t from, int64_t to, int64_t got, int64_t now);

/* NULL when id names no service, or there is no memory (logged). id is lent. */
struct renewal *renewal_new(struct host *h, const struct identity_config *id);
void renewal_free(struct renewal *r); /* after the host; NULL is fine */
/* JSON null for NULL. */
json_t *renewal_status(const struct renewal *r);
void renewal_metrics(const struct renewal *r, struct sbuf *out);

#endif
