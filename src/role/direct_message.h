/* direct_message.h - the message by which the two ends of a link tell each
 * other where they may be reached (PLAN, "How it fits"):
 *
 *   {"type": "candidates", "round": N, "id": hex16, "key": hex64,
 *    "handles": [hex16, hex16], "nat": {...},
 *    "list": [{"addr": "203.0.113.5:4000", "kind": "reflexive"}, ...]}
 *
 * from the agent; the connector's answer has no id and key, but at_ms: both
 * begin that long after it was sent. `"off": true` instead of all but round:
 * this end takes no part. `"anew": true` alone, from a connector: its network
 * changed, so the agent may try again. */
#ifndef ZTNA_ROLE_DIRECT_MESSAGE_H
#define ZTNA_ROLE_DIRECT_MESSAGE_H

#include <jansson.h>

#include "codec/handle.h"
#include "part/punch.h"

enum {
  DIRECT_FAMILIES = 2, /* 0: v4, 1: v6 */
  DIRECT_AT_MAX = 2000 /* ms */
};

enum direct_word {
  DIRECT_OFFER,  /* the agent's */
  DIRECT_ANSWER, /* the connector's */
  DIRECT_OFF,
  DIRECT_ANEW,
};

struct direct_message {
  enum direct_word word;
  uint32_t round;                               /* not of ANEW; never 0 */
  uint8_t id[PUNCH_ID_LEN], key[PUNCH_KEY_LEN]; /* of an OFFER */
  uint32_t at_ms;                               /* of an ANSWER */
  uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN];
  struct punch_side side;
};

const char *direct_kind_name(enum candidate_kind k); /* "host" */

/* NULL: no memory. */
json_t *direct_message_write(const struct direct_message *m);
/* 0, or ZTNA_EMALFORMED: a member is missing or breaks its format, more than 16
 * candidates. Unknown members are ignored, candidates of unknown kinds too. */
int direct_message_read(struct direct_message *m, json_t *j);

#endif
