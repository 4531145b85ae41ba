/* evil_world.c - see evil_world.h. It defines what sim/world.c, net.c and pki.c
 * define for the simulator, so these stay out of the program. */
#include "e2e/evil_world.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"

enum { LATER = 8192, DGRAM = 2048 };

/* What a relay says again, when its time has come. */
struct later {
  uint64_t at;
  struct ztna_addr to;
  size_t len;
  uint8_t data[DGRAM];
};

static struct {
  struct sim w;
  struct vnet_host host;
  struct ztna_addr local, relay;
  const char *dir;
  int fd;
  struct later *later;
  size_t n_later;
} real;

static void die(const char *what) {
  perror(what);
  exit(2);
}

/* --- certificates --- */

static char *file_text(const char *name, size_t *len) {
  char path[512], *text = calloc(1, 65536);
  FILE *in;

  snprintf(path, sizeof(path), "%s/%s", real.dir, name);
  in = fopen(path, "r");
  if (!in || !text) die(path);
  *len = fread(text, 1, 65535, in);
  fclose(in);
  return text;
}

struct tls *evil_tls(enum role role, const char *name) {
  char pem[256], key[256], why[256];
  struct ztna_identity own = {0};
  struct tls *t = NULL;

  snprintf(pem, sizeof(pem), "%s-%s.pem", role_name(role), name);
  snprintf(key, sizeof(key), "%s-%s.key", role_name(role), name);
  own.cert = file_text(pem, &own.cert_len);
  own.key = file_text(key, &own.key_len);
  own.ca = file_text("ca.pem", &own.ca_len);
  if (tls_new(&t, &own, why, sizeof(why)) == 0) return t;
  fprintf(stderr, "%s: %s\n", pem, why);
  exit(2);
}

struct tls *pki_tls(struct pki *p, enum role role, const char *name,
                    const char *const *names) {
  return evil_tls(role, name);
}

/* --- the socket --- */

static void put(const struct ztna_addr *to, const uint8_t *data, size_t len) {
  struct sockaddr_storage ss;
  socklen_t n = (socklen_t)ztna_addr_to_sockaddr(to, &ss);

  sendto(real.fd, data, len, 0, (struct sockaddr *)&ss, n);
}

struct vnet_host *vnet_add(struct vnet *n, const char *v4, const char *v6,
                           uint64_t delay) {
  return &real.host;
}

void vnet_send(struct vnet_host *h, const struct dgram *d) {
  for (uint32_t at = 0; at < d->len; at += d->seg) {
    uint32_t left = d->len - at;

    put(&d->remote, d->data + at, left < d->seg ? left : d->seg);
  }
}

void vnet_inject(struct vnet *n, const struct ztna_addr *from,
                 const struct ztna_addr *to, const uint8_t *data, size_t len,
                 uint64_t delay) {
  struct later *l;

  if (real.n_later == LATER || len > DGRAM) return;
  l = &real.later[real.n_later++];
  *l = (struct later){.at = clock_now() + delay, .to = *to, .len = len};
  memcpy(l->data, data, len);
}

static void say_later(uint64_t now) {
  for (size_t i = 0; i < real.n_later;) {
    struct later *l = &real.later[i];

    if (l->at > now) {
      i++;
      continue;
    }
    put(&l->to, l->data, l->len);
    *l = real.later[--real.n_later];
  }
}

static void take(struct sim_node *n) {
  uint8_t buf[DGRAM];
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  ssize_t got;

  while ((got = recvfrom(real.fd, buf, sizeof(buf), MSG_DONTWAIT,
                         (struct sockaddr *)&ss, &len)) >= 0) {
    struct dgram d = {.data = buf,
                      .len = (uint32_t)got,
                      .seg = (uint16_t)got,
                      .local = real.local};

    if (got > 0 && ztna_addr_from_sockaddr(&d.remote, &ss) == 0)
      n->udp_in(n, &d);
    len = sizeof(ss);
  }
}

/* --- the world --- */

void sim_add(struct sim *w, struct sim_node *n) {
  n->w = w;
  w->nodes[w->n_nodes++] = n;
}

void sim_remove(struct sim_node *n) { n->w->n_nodes = 0; }

static void turn(struct sim *w) {
  struct pollfd p = {.fd = real.fd, .events = POLLIN};
  struct sim_node *n = w->nodes[0];

  n->drain(n);
  poll(&p, 1, 2);
  w->now = clock_now();
  take(n);
  n->tick(n);
  say_later(w->now);
  n->drain(n);
}

bool sim_until(struct sim *w, bool (*is)(struct sim *w, void *ud), void *ud,
               uint64_t for_ns) {
  uint64_t end = clock_now() + for_ns;

  while (!is(w, ud)) {
    if (clock_now() >= end) return false;
    turn(w);
  }
  return true;
}

static bool never(struct sim *w, void *ud) { return false; }

void sim_run(struct sim *w, uint64_t for_ns) {
  sim_until(w, never, NULL, for_ns);
}

struct ztna_addr sim_relay_addr(const struct sim *w) {
  return real.relay;
}

/* As relay_json of lib.sh has them. */
struct ztna_addr sim_service_addr(const char *service, bool v6) {
  struct ztna_addr a = {0};

  ztna_addr_parse(&a, v6 ? "fd5a:10::2" : "10.100.0.2");
  if (strcmp(service, "echo")) a.ip[v6 ? 15 : 3] = 3;
  return a;
}

static int open_socket(const struct ztna_addr *at) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(at, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM, 0), room = 4 << 20;

  if (fd < 0 || bind(fd, (struct sockaddr *)&ss, len) < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
  return fd;
}

struct sim *evil_world(const char *dir, const char *local, const char *relay) {
  struct sim *w = &real.w;

  if (ztna_addr_parse(&real.local, local) < 0 ||
      ztna_addr_parse(&real.relay, relay) < 0) {
    fprintf(stderr, "want addresses, got %s, %s\n", local, relay);
    exit(2);
  }
  real.dir = dir;
  real.fd = open_socket(&real.local);
  real.later = calloc(LATER, sizeof(*real.later));
  if (!real.later) die("memory");
  seeded_init(&w->rnd, rng_u64(&clock_rng));
  w->now = clock_now();
  w->relay.node.host = &real.host;
  return w;
}
