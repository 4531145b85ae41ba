/* direct_status.c - why a link is not direct, in words for people. */
#include "role/direct_filter.h"
#include "role/direct_int.h"

#include <stdio.h>

#define ROUTERS                                                               \
  "whoever runs either router: let programs map ports (UPnP, NAT-PMP, PCP), " \
  "or forward a UDP port"
#define FIREWALL \
  "whoever runs the firewall: let UDP out to any address and its answers in"

#define STUN                                                                   \
  "whoever runs the relay: is its STUN switched on? Or the firewall: let UDP " \
  "out to any port and its answers in"

/* The words are stable: other programs may read them. */
static const struct {
  const char *word, *text, *fix;
} whys[] = {
    [WHY_NONE] = {"none", NULL, NULL},
    [WHY_NO_PATH] = {"no-path",
                     "no path over a relay was there to agree on a round",
                     "nobody; it is tried again"},
    [WHY_NO_REPLY] = {"no-reply",
                      "the connector did not say where it may be reached",
                      "nobody; it is tried again. If it persists: whoever runs "
                      "the connector"},
    [WHY_PEER_OFF] = {"peer-off",
                      "the connector has direct paths switched off, or a rule "
                      "of the policy limits the rate, which relays keep",
                      "whoever configures the connector, or the administrator "
                      "of the policy"},
    [WHY_NO_CANDIDATES] = {"no-candidates",
                           "the two ends have no kind of address (IPv4 or "
                           "IPv6) in common at which one may try the other",
                           "whoever runs either network"},
    [WHY_NO_ANSWER] = {"no-answer",
                       "no check was answered at any of the peer's addresses: "
                       "a firewall at either end drops them",
                       FIREWALL},
    [WHY_UDP_BLOCKED] = {"udp-blocked",
                         "this network seems to let UDP out to the relay only",
                         FIREWALL},
    [WHY_PEER_UDP_BLOCKED] = {"peer-udp-blocked",
                              "the peer's network seems to let UDP out to its "
                              "relay only",
                              FIREWALL},
    [WHY_NO_STUN] = {"no-stun",
                     "no relay told this machine its outer address, and "
                     "nobody answered",
                     STUN},
    [WHY_PEER_NO_STUN] = {"peer-no-stun",
                          "no relay told the peer its outer address, and "
                          "nobody answered",
                          STUN},
    [WHY_BOTH_SYMMETRIC] = {"both-symmetric",
                            "both networks give every connection another "
                            "random port; a port mapping on either router "
                            "would help",
                            ROUTERS},
    [WHY_NO_BUDGET] = {"no-budget",
                       "so many checks were sent that the rest has to wait",
                       "nobody; it is tried again"},
    [WHY_NO_HANDSHAKE] = {"no-handshake",
                          "a check was answered, but no connection came about "
                          "there: a firewall lets small packets pass only, or "
                          "the network changed",
                          FIREWALL},
    [WHY_LOST] = {"lost", "the direct path fell silent",
                  "nobody; it is tried again"},
    [WHY_NO_MEMORY] = {"internal", "no memory", "whoever runs this machine"},
};

const char *direct_why_word(enum direct_why why) { return whys[why].word; }

/* --- what follows from a round --- */

/* IPv4 addresses; a reflexive one that is the machine's own is said as such. */
static bool has_ipv4(const struct punch_side *s, bool is_private) {
  for (size_t i = 0; i < s->n; i++)
    if (s->list[i].addr.family == 4 &&
        direct_filter_is_private(&s->list[i].addr) == is_private)
      return true;
  return false;
}

/* It did not find out how its network maps addresses within the time that a
 * round waits for that. */
static bool is_dim(const struct punch_side *s) {
  return s->nat.mapping == NAT_UNKNOWN;
}

/* Questions to other ports than those of control connections were lost. */
static bool is_blocked(const struct direct *d) {
  const struct direct_common *c = d->common;

  return is_dim(&d->own) ||
         observer_stats(c->observer)->n_unanswered > c->n_unanswered;
}

/* It knows of private addresses only. */
static bool is_deaf(const struct punch_side *s) {
  return is_dim(s) && has_ipv4(s, true) && !has_ipv4(s, false);
}

static enum direct_why why_silent(const struct direct *d) {
  if (is_deaf(&d->own)) return WHY_NO_STUN;
  if (is_blocked(d)) return WHY_UDP_BLOCKED;
  if (is_deaf(&d->peer)) return WHY_PEER_NO_STUN;
  return is_dim(&d->peer) ? WHY_PEER_UDP_BLOCKED : WHY_NO_ANSWER;
}

enum direct_why direct_why_of(const struct direct *d, enum punch_end end) {
  switch (end) {
  case PUNCH_BOTH_HARD:
    return WHY_BOTH_SYMMETRIC;
  case PUNCH_NO_CANDIDATES:
    return is_deaf(&d->peer) ? WHY_PEER_NO_STUN : WHY_NO_CANDIDATES;
  case PUNCH_NO_BUDGET:
    return WHY_NO_BUDGET;
  default:
    return why_silent(d);
  }
}

/* --- for people --- */

static const char *state_name(const struct direct *d) {
  static const char *const names[] = {
      [DIRECT_WAITING] = "waiting", [DIRECT_GATHERING] = "gathering",
      [DIRECT_ASKED] = "gathering", [DIRECT_CHECKING] = "checking",
      [DIRECT_FOUND] = "found",
  };

  if (d->joined) return "direct";
  return d->common->enabled ? names[d->state] : "off";
}

static void set_ms(json_t *j, const char *key, uint64_t ns) {
  json_object_set_new(j, key, json_integer((json_int_t)(ns / MS)));
}

static void set_why(json_t *j, const char *word, const char *text,
                    const char *fix) {
  json_object_set_new(j, "why", json_string(word));
  json_object_set_new(j, "text", json_string(text));
  json_object_set_new(j, "fix", json_string(fix));
}

static void add_why(const struct direct *d, json_t *j) {
  if (!d->common->enabled)
    set_why(j, "off", "direct paths are switched off here",
            "whoever configures this program");
  else if (d->why != WHY_NONE)
    set_why(j, whys[d->why].word, whys[d->why].text, whys[d->why].fix);
}

static json_t *candidate_text(const struct candidate *c) {
  char addr[ZTNA_ADDR_STRLEN], text[ZTNA_ADDR_STRLEN + 16];

  snprintf(text, sizeof(text), "%s %s", ztna_addr_print(&c->addr, addr),
           direct_kind_name(c->kind));
  return json_string(text);
}

static json_t *side_status(const struct punch_side *s) {
  json_t *list = json_array();

  for (size_t i = 0; i < s->n; i++)
    json_array_append_new(list, candidate_text(&s->list[i]));
  return json_pack("{s:s, s:s, s:o}", "mapping",
                   nat_behaviour_name(s->nat.mapping), "allocation",
                   nat_allocation_name(s->nat.allocation), "candidates", list);
}

static void add_next(const struct direct *d, json_t *j) {
  uint64_t now = d->common->now;

  if (d->agent && d->wanted && d->state == DIRECT_WAITING)
    set_ms(j, "next_ms", d->try_at > now ? d->try_at - now : 0);
}

json_t *direct_status(const struct direct *d) {
  uint64_t since = d->joined ? d->joined_at : d->since;
  json_t *j = json_pack("{s:s, s:I}", "state", state_name(d), "rounds",
                        (json_int_t)d->n_rounds);

  set_ms(j, "since_ms", d->common->now > since ? d->common->now - since : 0);
  if (d->joined) set_ms(j, "took_ms", d->took);
  if (d->common->enabled) add_next(d, j);
  add_why(d, j);
  if (d->n_rounds) json_object_set_new(j, "own", side_status(&d->own));
  if (d->n_rounds) json_object_set_new(j, "peer", side_status(&d->peer));
  return j;
}

/* --- for the log --- */

const char *direct_role(const struct direct *d) {
  return d->agent ? "agent" : "connector";
}

const char *direct_peer(const struct direct *d) {
  return d->ops->name ? d->ops->name(d->ud) : "-";
}
