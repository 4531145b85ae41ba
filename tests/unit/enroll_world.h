/* enroll_world.h - a real enrolment service and HTTP/3 clients in one process,
 * in virtual time. Without cmocka: a fuzz target uses it as well. */
#ifndef ZTNA_TEST_ENROLL_WORLD_H
#define ZTNA_TEST_ENROLL_WORLD_H

#undef NDEBUG
#include <assert.h>

#include <jansson.h>

#include "base/time.h"
#include "role/enroll_server.h"
#include "sim/seeded.h"
#include "transport/h3.h"

enum { ENROLL_NOW = 1900000000, ENROLL_CLIENTS = 80, ENROLL_MAX_CONNS = 64 };

struct enroll_world;

struct enroll_peer {
  struct enroll_world *w;
  struct quic *q;
  struct tls *tls;
  struct h3 *h3; /* NULL: no connection */
  struct ztna_addr addr;
  bool ready, ended, spoofed;
  struct quic_end end;
  int status; /* of the last answer; 0: none yet, or the stream was reset */
  bool answered;
  json_t *body;
};

struct enroll_world {
  struct seeded rnd;
  struct sbuf ca, ca_key, key, csr; /* a CA; a machine's key and request */
  struct tls *tls;
  struct enroll_server *server;
  struct ztna_addr addr;
  uint64_t now;
  struct enroll_peer peers[ENROLL_CLIENTS];
  size_t n_peers;
  /* What the store of tokens says, and was asked. */
  enum reason verdict;
  const char *detail;
  enum role role;
  int64_t lifetime;
  const char *dns;
  const char *revoked; /* identity that the policy revokes; or NULL */
  int n_taken, n_issued;
  uint8_t id[TOKEN_ID_LEN], secret[TOKEN_SECRET_LEN];
  uint8_t taken_for[CERT_SPKI_HASH_LEN];
  char issued[IDENTITY_SPIFFE_MAX + 1], former[65];
  char log[1 << 16];
};

void enroll_world_begin(struct enroll_world *w);
void enroll_world_end(struct enroll_world *w);
/* Until then, or nothing more happens before it. */
void enroll_world_run(struct enroll_world *w, uint64_t for_ns);
/* The server's certificate; crl may be NULL. */
struct tls *enroll_world_tls(struct enroll_world *w, const struct sbuf *crl);
/* Seconds since 1970. */
int64_t enroll_world_unix(void);

/* No certificate. Not dialled yet. */
struct enroll_peer *enroll_stranger(struct enroll_world *w, const char *addr);
/* With a certificate of this CA; spiffe: all of it. */
struct enroll_peer *enroll_known(struct enroll_world *w, const char *addr,
                                 const char *spiffe, int64_t from, int64_t to);
/* False: refused, or ended. */
bool enroll_dial(struct enroll_peer *p);
/* Only its first packets come; the answers go to somebody else. */
void enroll_spoof(struct enroll_peer *p);
void enroll_bye(struct enroll_peer *p);
/* The status; 0 without an answer. */
int enroll_ask(struct enroll_peer *p, const char *method, const char *path,
               const char *body, size_t len);
/* {"token": 48 digits, "csr": the world's}. */
int enroll_by_token(struct enroll_peer *p);
int enroll_renew(struct enroll_peer *p);
/* "reason" or another text of the last answer; "" without. */
const char *enroll_text(const struct enroll_peer *p, const char *name);

#endif
