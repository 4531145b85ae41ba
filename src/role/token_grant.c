/* token_grant.c - see token_grant.h. */
#include "role/token_grant.h"

#include <stdlib.h>

void token_grant_done(struct token_grant *g) {
  for (size_t i = 0; i < g->n_dns; i++) free(g->dns[i]);
  free(g->dns);
  *g = (struct token_grant){0};
}
