/* reason.h - the one closed list of why something was refused, dropped or
 * closed (PROTOCOL, section 7). The code travels in problem+json, stream
 * messages, close frames, logs, metric labels and status. Numbers are wire
 * format: append only. */
#ifndef ZTNA_REASON_H
#define ZTNA_REASON_H

#include <stddef.h>

/* X(symbol, name, HTTP status, sentence for people, who can fix it) */
#define REASONS(X)                                                             \
  X(NONE, "none", 200, "all is well", "nobody")                                \
  X(NO_SUCH_SERVICE, "no-such-service", 404,                                   \
    "no service of this name is known to the relay",                           \
    "whoever configures the connector or typed the name")                      \
  X(NOT_ALLOWED, "not-allowed", 403,                                           \
    "no rule of the policy allows this identity to use the service",           \
    "the administrator of the policy")                                         \
  X(PORT_NOT_ALLOWED, "port-not-allowed", 403,                                 \
    "the service is allowed, but not on this protocol and port",               \
    "the administrator of the policy")                                         \
  X(EXPIRED, "expired", 403, "the grant's lease ran out", "nobody; ask again") \
  X(REVOKED, "revoked", 403, "the permission was taken back",                  \
    "the administrator of the policy")                                         \
  X(REPLACED, "replaced", 409,                                                 \
    "a newer instance with the same identity took over",                       \
    "whoever runs two programs with one certificate")                          \
  X(NO_CONNECTOR, "no-connector", 503,                                         \
    "no connector that serves this is connected to the relay",                 \
    "whoever runs the connector")                                              \
  X(CONNECTOR_REFUSED, "connector-refused", 503,                               \
    "every connector that was asked refused or gave no answer",                \
    "whoever runs the connector; its log says why")                            \
  X(BACKEND_DOWN, "backend-down", 503, "the service's health check fails",     \
    "whoever runs the service")                                                \
  X(BACKEND_REFUSED, "backend-refused", 502,                                   \
    "the service's machine refused the connection",                            \
    "whoever runs the service")                                                \
  X(BACKEND_TIMEOUT, "backend-timeout", 504,                                   \
    "the service's machine did not answer in time",                            \
    "whoever runs the service")                                                \
  X(TOO_MANY_ROUTES, "too-many-routes", 429,                                   \
    "a limit on routes, grants or flows is reached",                           \
    "wait, or raise the limit on the relay or connector")                      \
  X(RATE_LIMITED, "rate-limited", 429, "too much in too short a time",         \
    "wait; or raise the limit")                                                \
  X(WRONG_SOURCE, "wrong-source", 403,                                         \
    "the packet's source address is not the one that belongs to its sender",   \
    "nobody, unless it persists: then the network rewrites addresses")         \
  X(WRONG_DESTINATION, "wrong-destination", 403,                               \
    "the packet's destination is not an address of the opened service",        \
    "the program that sent it")                                                \
  X(NOT_BEGUN_HERE, "not-begun-here", 403,                                     \
    "the packet belongs to no conversation that this agent began",             \
    "nobody; the connector sent what nobody asked for")                        \
  X(PACKET_TOO_BIG, "packet-too-big", 413,                                     \
    "the packet is larger than the tunnel's MTU",                              \
    "the sender lowers its packet size by itself")                             \
  X(MALFORMED, "malformed", 400, "the bytes break their format",               \
    "whoever wrote or damaged them")                                           \
  X(BAD_CERTIFICATE, "bad-certificate", 403,                                   \
    "the certificate is missing, not signed by the trusted CA, or unusable",   \
    "whoever issues certificates: check cert, key and ca of both sides")       \
  X(CERTIFICATE_EXPIRED, "certificate-expired", 403,                           \
    "the certificate is past its validity or not yet valid",                   \
    "whoever issues certificates, or the clock of either machine")             \
  X(IDENTITY_MISMATCH, "identity-mismatch", 403,                               \
    "the certificate is valid but names another role, name or address",        \
    "whoever configured the address or issued the certificate")                \
  X(UNSUPPORTED_VERSION, "unsupported-version", 505,                           \
    "the two programs share no protocol version",                              \
    "whoever runs the older program")                                          \
  X(ROUTE_UNKNOWN, "route-unknown", 404,                                       \
    "the handle names no route or connection here",                            \
    "nobody; it ended, and is set up again by itself")                         \
  X(DRAINING, "draining", 503, "the relay or connector takes nothing new",     \
    "nobody; another one is used")                                             \
  X(SHUTTING_DOWN, "shutting-down", 503, "the other side is being stopped",    \
    "nobody; it is tried again")                                               \
  X(IDLE, "idle", 408, "nothing was heard for too long",                       \
    "the network, or nobody when it was not needed any more")                  \
  X(NETWORK_UNREACHABLE, "network-unreachable", 503,                           \
    "this machine has no way to that address", "the network's administrator")  \
  X(RELAY_UNREACHABLE, "relay-unreachable", 503, "the relay does not answer",  \
    "whoever runs the relay, or a firewall that blocks UDP")                   \
  X(INTERNAL, "internal", 500, "a mistake in this program or no memory",       \
    "the authors of ztna: please report it")                                   \
  X(RESET, "reset", 502, "the connection was reset by its other end",          \
    "whoever runs the service, or the program that used it")                   \
  X(BACKEND_UNREACHABLE, "backend-unreachable", 502,                           \
    "the connector has no way to the service's machine",                       \
    "whoever runs the connector: check the backend's address and its network") \
  X(BAD_TOKEN, "bad-token", 403,                                               \
    "the enrolment token is unknown, used or past its time",                   \
    "whoever makes tokens: ztna token create")

enum reason {
#define REASON_ENUM(sym, name, http, text, fix) REASON_##sym,
  REASONS(REASON_ENUM)
#undef REASON_ENUM
      REASON_N
};

const char *reason_name(enum reason r);
const char *reason_text(enum reason r);
const char *reason_fix(enum reason r);
int reason_http(enum reason r);
/* REASON_INTERNAL for a name that is not in the list. */
enum reason reason_find(const char *name);

#endif
