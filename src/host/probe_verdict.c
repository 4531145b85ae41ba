/* probe_verdict.c - see probe_verdict.h. The tables say what rounds of checks
 * (part/punch) reach in the laboratory. */
#include "host/probe_verdict.h"

static const char *const class_names[] = {
    [PROBE_OPEN] = "open",
    [PROBE_RESTRICTED] = "restricted",
    [PROBE_PORT_RESTRICTED] = "port-restricted",
    [PROBE_SEQUENTIAL] = "symmetric-sequential",
    [PROBE_RANDOM] = "symmetric-random",
    [PROBE_BLOCKED] = "udp-blocked",
    [PROBE_UNKNOWN] = "unknown",
};

static const char *const outcome_names[] = {
    [PROBE_DIRECT] = "direct",
    [PROBE_SEARCH] = "direct after a search",
    [PROBE_RELAYED] = "relayed",
    [PROBE_UNSURE] = "unknown",
};

const char *probe_class_name(enum probe_class c) { return class_names[c]; }

const char *probe_outcome_name(enum probe_outcome o) {
  return outcome_names[o];
}

static enum probe_class hard_class(const struct nat_view *v) {
  /* A kept port is foretold like the next of a sequence. */
  return v->allocation == NAT_SEQUENTIAL || v->allocation == NAT_PRESERVING
             ? PROBE_SEQUENTIAL
             : PROBE_RANDOM;
}

enum probe_class probe_class_of(const struct nat_view *v, bool udp,
                                bool mapped) {
  if (!udp) return PROBE_BLOCKED;
  if (mapped) return PROBE_OPEN;
  if (v->mapping == NAT_UNKNOWN) return PROBE_UNKNOWN;
  if (nat_is_hard(v)) return hard_class(v);
  switch (v->filtering) {
  case NAT_NONE:
  case NAT_ENDPOINT_INDEPENDENT:
    return PROBE_OPEN;
  case NAT_ADDRESS_DEPENDENT:
    return PROBE_RESTRICTED;
  default: /* what is not known is taken for the usual */
    return PROBE_PORT_RESTRICTED;
  }
}

enum probe_outcome probe_outcome_of(enum probe_class own,
                                    enum probe_class peer) {
  enum probe_class easy = own < peer ? own : peer;
  enum probe_class hard = own < peer ? peer : own;
  if (own == PROBE_BLOCKED || peer == PROBE_BLOCKED) return PROBE_RELAYED;
  if (hard == PROBE_UNKNOWN) return PROBE_UNSURE;
  if (hard < PROBE_RANDOM || easy <= PROBE_RESTRICTED) return PROBE_DIRECT;
  return easy == PROBE_PORT_RESTRICTED ? PROBE_SEARCH : PROBE_RELAYED;
}

bool probe_is_direct(enum probe_class own) {
  return probe_outcome_of(own, PROBE_PORT_RESTRICTED) <= PROBE_SEARCH;
}

const char *probe_sentence(enum probe_class own) {
  static const char *const sentences[] = {
      [PROBE_OPEN] = "Direct paths to every peer that has UDP.",
      [PROBE_RESTRICTED] = "Direct paths to every peer that has UDP.",
      [PROBE_PORT_RESTRICTED] =
          "Direct paths to nearly every peer; to one whose NAT gives random "
          "ports after a search of some seconds.",
      [PROBE_SEQUENTIAL] =
          "Direct paths to most peers, since the next port of this NAT can be "
          "foretold; relayed to one whose NAT gives random ports.",
      [PROBE_RANDOM] =
          "Direct paths to open networks at once and to usual home routers "
          "after a search; relayed to peers behind another symmetric NAT.",
      [PROBE_BLOCKED] = "UDP does not get through: no relay, and no peer.",
      [PROBE_UNKNOWN] =
          "Relayed paths work; whether direct ones do is not known.",
  };
  return sentences[own];
}
