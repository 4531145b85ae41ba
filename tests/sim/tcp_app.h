/* tcp_app.h - the TCP programs of a simulated world: those of the person, whose
 * sockets the agent splices (ztna_agent_sock_*), and the backends behind a
 * connector (connector_sock_*). Both ends know what the other sends: a
 * connection begins with 16 bytes that say who it is and what the backend is to
 * do, every byte follows from that and its position, and each end judges what
 * it gets. */
#ifndef ZTNA_TESTS_TCP_APP_H
#define ZTNA_TESTS_TCP_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ztna/sock.h>

struct sim;

enum {
  TCP_APPS = 512,   /* connections that an agent's programs may make, in all */
  TCP_SOCKS = 4096, /* numbers, of an agent or a connector */
  TCP_HEAD = 16,
  TCP_KEYS = 4096,
};

/* Where backends listen, and what happens there. */
enum tcp_port {
  TCP_PORT = 80, /* does what it is told */
  TCP_PORT_SLOW, /* the same, connected after 300 ms */
  TCP_PORT_REFUSES,
  TCP_PORT_UNREACHABLE,
  TCP_PORT_SILENT, /* no answer to SYN */
  TCP_PORT_CLOSES, /* accepts and closes */
};

enum tcp_do {
  TCP_ECHO,    /* sends what it gets */
  TCP_SOURCE,  /* sends n bytes, ends */
  TCP_SINK,    /* takes everything, ends behind the end */
  TCP_ANSWER,  /* sends n bytes when it has got the end */
  TCP_RESET,   /* sends n bytes, resets */
  TCP_TRICKLE, /* n bytes, one a second, ends */
};

struct tcp_skin;

/* One end of a connection. */
struct tcp_end {
  struct tcp_skin *skin;
  uint32_t sock;
  bool backend, open;
  bool may_give; /* READ was said, and there was room since */
  bool to_take;  /* WRITE was said */
  bool sleeps;   /* reads nothing */
  uint8_t agent; /* whose connection it is, */
  uint32_t id;   /* and which of its */
  enum tcp_do what;
  uint64_t n; /* for the backend to send */
  /* out: at most limit bytes, then the end unless it stays open */
  uint64_t sent, limit;
  bool stays_open, fin_said;
  /* in */
  uint64_t got, n_wrong;
  uint8_t head[TCP_HEAD];
  bool got_fin, got_reset;
  uint64_t last_at, longest_pause; /* between bytes; ns */
  uint32_t times; /* this slot was used: an older timer is void */
};

/* A connection of a person's program. */
struct tcp_app {
  struct tcp_end end;
  bool connected, refused;
  char why[32]; /* of a refusal, or of an abort */
  uint64_t asked_at, connected_at, first_at, fin_at;
  uint64_t down; /* bytes that are to come */
  /* key strokes: each is echoed */
  uint64_t every;
  uint32_t n_keys, n_echoed;
  uint64_t key_at[TCP_KEYS], key_rtt[TCP_KEYS];
};

/* The sockets of a process. */
struct tcp_skin {
  struct sim *w;
  bool backends; /* of a connector */
  int number;    /* of the agent or connector */
  struct tcp_end *by_sock[TCP_SOCKS];
  uint64_t n_connects;
  /* a connector's */
  struct tcp_end ends[TCP_SOCKS];
  uint64_t n_wrong, n_resets, n_fins; /* that backends saw */
  uint64_t n_got;
  bool sleep; /* backends read nothing */
  /* an agent's */
  struct tcp_app *apps[TCP_APPS];
  int n_apps;
};

void tcp_skin_init(struct tcp_skin *k, struct sim *w, bool backends,
                   int number);
/* The process was killed: its sockets are gone. */
void tcp_skin_killed(struct tcp_skin *k);
void tcp_skin_done(struct tcp_skin *k);
/* Does what the core wants done; true when it wanted something. */
bool tcp_skin_drain(struct tcp_skin *k);

/* A program connects to echo's port and sends the head and `up` bytes; the
 * backend is told to send n, if that is its job. NULL: the agent took it not.
 */
struct tcp_app *tcp_open(struct sim *w, int agent, const char *service,
                         enum tcp_port port, enum tcp_do what, uint64_t up,
                         uint64_t n);
/* The same with a key stroke every so often; the connection stays open. */
struct tcp_app *tcp_keys(struct sim *w, int agent, const char *service,
                         uint64_t every);
/* No more key strokes, and the end. */
void tcp_keys_end(struct tcp_app *a);
/* The n bytes that it sends next; judges what it got. (For programs behind
 * another skin: kernel.h.) */
void tcp_end_fill(const struct tcp_end *e, uint8_t *to, size_t n);
void tcp_end_judge(struct tcp_end *e, const uint8_t *data, size_t len);
/* Wakes a reader, ends it, resets it. */
void tcp_end_wake(struct tcp_end *e);
void tcp_wake(struct tcp_app *a);
void tcp_shut(struct tcp_app *a);
void tcp_reset(struct tcp_app *a);

/* It got exactly what it was to get, its end too, and nothing else happened. */
bool tcp_is_complete(const struct tcp_app *a);
/* No connection of any program, nor any backend, got a wrong byte. */
bool tcp_is_clean(const struct sim *w);
/* Of the key strokes echoed so far: of 1000, so many took less (ns). */
uint64_t tcp_keys_quantile(struct tcp_app *a, unsigned per_mille);

#endif
