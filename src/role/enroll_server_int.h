/* enroll_server_int.h - what the files of the enrolment service share. */
#ifndef ZTNA_ROLE_ENROLL_SERVER_INT_H
#define ZTNA_ROLE_ENROLL_SERVER_INT_H

#include <sys/queue.h>

#include "base/log.h"
#include "role/enroll_limit.h"
#include "role/enroll_server.h"
#include "transport/h3.h"

enum {
  ENROLL_PER_NETWORK = 32, /* connections of a /24 or /56 */
  ENROLL_BODY_MAX = 8192,  /* of a request: twice what a CSR may have */
};
/* Whoever comes has one question. */
#define ENROLL_STAY (20 * SEC)

/* One connection. */
struct enroll_session {
  TAILQ_ENTRY(enroll_session) all; /* the oldest first */
  struct enroll_server *server;
  struct h3 *h3;
  struct ztna_addr remote;
  size_t network;
  uint64_t ends_at;
  bool admitted, closing, refusal_logged;
};

struct enroll_counters {
  uint64_t n_looks; /* first handshakes of machines */
  uint64_t n_connections, refused_connections[REASON_N];
  uint64_t n_requests, refused_requests[REASON_N];
  uint64_t n_issued, n_renewed;
};

struct enroll_server {
  struct enroll_server_options o;
  struct quic *quic;
  uint64_t now;
  bool stopping;
  TAILQ_HEAD(, enroll_session) sessions;
  uint16_t of_network[ENROLL_LIMIT_BUCKETS]; /* connections */
  struct enroll_limit limit;
  struct enroll_counters n;
  struct log_limit connections_log, requests_log;
  struct cert_ca ca; /* the first certificate's */
};

bool enroll_server_may_log(struct enroll_server *e, struct log_limit *l);
bool enroll_server_revokes(const struct enroll_server *e,
                           const struct identity *peer);
void enroll_server_request(struct enroll_session *s, struct h3_req *req);

#endif
