/* portmap_judge.c - is what a router told of any use? */
#include <stdio.h>
#include <string.h>

#include "host/portmap_int.h"

/* RFC 6890 and RFC 6598: not reached from the Internet, or nobody's. The blocks
 * for documentation are not among them: laboratories use those. */
static const struct {
  uint8_t ip[4];
  uint8_t bits;
} inner[] = {
    {{0}, 8},         {{10}, 8},       {{100, 64}, 10},   {{127}, 8},
    {{169, 254}, 16}, {{172, 16}, 12}, {{192, 0, 0}, 24}, {{192, 168}, 16},
    {{198, 18}, 15},  {{224}, 3},
};

bool portmap_is_public(const struct ztna_addr *a) {
  if (a->family != 4) return false;
  for (size_t i = 0; i < sizeof(inner) / sizeof(inner[0]); i++) {
    struct ztna_prefix p = {ztna_addr_v4(inner[i].ip, 0), inner[i].bits};
    if (ztna_prefix_has(&p, a)) return false;
  }
  return true;
}

bool portmap_judge(struct portmap_question *q, const struct ztna_addr *outer) {
  char text[ZTNA_ADDR_STRLEN];
  q->refused = false;
  if (portmap_is_public(outer) && outer->port) {
    q->outer = *outer;
    q->why[0] = 0;
    return true;
  }
  q->outer.family = 0;
  q->refused = true;
  ztna_addr_print_ip(outer, text);
  if (outer->port == 0)
    snprintf(q->why, sizeof(q->why), "the router named no port");
  else
    snprintf(q->why, sizeof(q->why),
             "double NAT: the router's own outer address is %s", text);
  return false;
}
