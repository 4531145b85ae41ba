/* local_page.h - where the local HTTP page of a running program is, and its
 * status. */
#ifndef ZTNA_LOCAL_PAGE_H
#define ZTNA_LOCAL_PAGE_H

#include <jansson.h>

#include "host/config.h"

/* By the flag --http (family 0: not given), the configuration (may be NULL),
 * or where it usually is; *from says which. */
struct ztna_addr local_page_where(const struct ztna_addr *flag,
                                  const struct config *config,
                                  const char **from);
/* *root: what /status there says, NULL when it cannot be had or is none of
 * ztna's; body: its text. Returns http_get's result. */
int local_page_status(const struct ztna_addr *a, int timeout_ms,
                      struct sbuf *body, json_t **root);
/* What is wrong there by that result: "takes no connections: ...". */
const char *local_page_wrong(int rc);

#endif
