/* config_diff.h - what two configurations have different, by its names in the
 * file: for a role that runs and is given another. */
#ifndef ZTNA_HOST_CONFIG_DIFF_H
#define ZTNA_HOST_CONFIG_DIFF_H

#include "host/config.h"

/* Adds "connector.relays, http.listen": members of the asked role (one CONFIG_
 * bit) and of what all share. but: names that do not count, ends with NULL.
 * Of files only the names count. */
void config_diff(const struct config *a, const struct config *b, unsigned role,
                 const char *const *but, struct sbuf *out);

#endif
