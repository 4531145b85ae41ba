/* control.h - control connections to a real relay, many in one process, for
 * measurements: each has its own identity, endpoint and UDP socket, which the
 * load generator may then use as well (a relay checks where packets come from).
 * Mistakes end the program with a sentence. */
#ifndef BENCH_CONTROL_H
#define BENCH_CONTROL_H

#include "codec/handle.h"
#include "role/uplink.h"

struct control_ca { /* ca.pem and ca.key of a directory */
  char *cert, *key;
  size_t cert_len, key_len;
};

struct control {
  struct udp *udp;
  struct quic *quic;
  struct tls *tls;
  struct uplink *uplink;
  struct control_ca *ca;
  enum role role;
  char instance[33];
  bool ready; /* agent: its events began; connector: registered */
  bool has_route;
  uint8_t own[HANDLE_LEN], peer[HANDLE_LEN]; /* of an agent's route */
};

void control_ca_load(struct control_ca *ca, const char *dir);

/* Dials relay ("ADDR:PORT") from a socket of the network namespace (a path,
 * NULL: this one). A connector offers the service `load`. */
void control_open(struct control *c, struct control_ca *ca, enum role role,
                  const char *name, const char *relay, const char *netns);
/* An agent asks for a route to `load`. */
void control_ask(struct control *c);
void control_close(struct control *c);

/* Works for n connections; until ms have passed or `done` says so of all. */
bool control_run(struct control *v, int n, unsigned ms,
                 bool (*done)(const struct control *c));

/* The calling thread's sockets are of that namespace from here on. */
void netns_enter(const char *path);

#endif
