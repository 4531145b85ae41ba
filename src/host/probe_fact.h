/* probe_fact.h - members of the report: a value, or null for unknown, and in
 * x_why the reason of x. */
#ifndef ZTNA_HOST_PROBE_FACT_H
#define ZTNA_HOST_PROBE_FACT_H

#include <jansson.h>
#include <ztna/addr.h>

/* Takes value over; NULL: unknown. why NULL or "": goes without saying. */
void fact(json_t *o, const char *key, json_t *value, const char *why);
void factf(json_t *o, const char *key, json_t *value, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
json_t *fact_addr(const struct ztna_addr *a); /* NULL for family 0 */
json_t *fact_ms(uint64_t ns);

#endif
