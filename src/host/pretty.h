/* pretty.h - JSON for people: keys aligned, lists of flat objects as tables. */
#ifndef ZTNA_HOST_PRETTY_H
#define ZTNA_HOST_PRETTY_H

#include <jansson.h>

#include "base/sbuf.h"

/* Members in their order, single values before what is nested; "schema" is
 * left out. Control characters of texts, which may come from peers, are
 * replaced. */
void pretty_print(struct sbuf *out, const json_t *object);

#endif
