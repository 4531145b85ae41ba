/* control.c - see control.h. */
#ifdef __linux__
#include "bench/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hex.h"
#include "bench/bare.h"
#include "host/clock.h"
#include "host/file.h"
#include "host/udp.h"
#include "transport/cert.h"

enum { MAX = 4096, DOMAIN_LEN = 64 };

void netns_enter(const char *path) {
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (!path) return;
  if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
    bare_die("cannot enter the network namespace %s", path);
  close(fd);
}

/* --- identities */

static char *load(const char *dir, const char *name, size_t *len) {
  char path[512];
  snprintf(path, sizeof(path), "%s/%s", dir, name);
  FILE *f = fopen(path, "r");
  char *text = calloc(1, 16384);
  if (!f || !text) bare_die("cannot read %s", path);
  *len = fread(text, 1, 16383, f);
  fclose(f);
  return text;
}

void control_ca_load(struct control_ca *ca, const char *dir) {
  if (tls_global_init(&clock_rng, NULL) < 0) bare_die("no TLS");
  ca->cert = load(dir, "ca.pem", &ca->cert_len);
  ca->key = load(dir, "ca.key", &ca->key_len);
}

static struct tls *make_tls(const struct control_ca *ca, enum role role,
                            const char *name) {
  char spiffe[256], why[256];
  const char *dns = "connector.load.ztna";
  int64_t now = (int64_t)(clock_wall() / SEC);
  struct cert_spec spec = {.spiffe = spiffe,
                           .dns = &dns,
                           .n_dns = role == ROLE_CONNECTOR,
                           .not_before = now - 3600,
                           .not_after = now + 86400};
  struct sbuf cert = {0}, key = {0};
  struct tls *t = NULL;
  snprintf(spiffe, sizeof(spiffe), "spiffe://example.org/%s/%s",
           role_name(role), name);
  if (cert_make_leaf(&spec, ca->cert, ca->cert_len, ca->key, ca->key_len, &cert,
                     &key) < 0)
    bare_die("cannot make a certificate for %s", name);
  const struct ztna_identity own = {.cert = cert.s,
                                    .cert_len = cert.len,
                                    .key = key.s,
                                    .key_len = key.len,
                                    .ca = ca->cert,
                                    .ca_len = ca->cert_len};
  if (tls_new(&t, &own, why, sizeof(why)) < 0) bare_die("%s: %s", name, why);
  sbuf_done(&cert);
  cert_forget(&key);
  return t;
}

/* --- what the relay says */

static void request(struct control *c, const char *method, const char *path,
                    json_t *body, uplink_answer_fn fn) {
  if (!uplink_request(c->uplink, method, path, body, fn, c))
    bare_die("cannot ask the relay: %s", path);
  json_decref(body);
}

static void on_registered(void *ud, int status, json_t *body) {
  if (status != 200) bare_die("the relay refuses the connector: %d", status);
  ((struct control *)ud)->ready = true;
}

static void on_answered(void *ud, int status, json_t *body) {
  if (status != 204) bare_die("the relay refuses an answer: %d", status);
}

static void on_up(struct uplink *u, void *ud, json_t *self) {
  struct control *c = ud;
  if (c->role != ROLE_CONNECTOR) return;
  request(c, "PUT", "/v1/connector",
          json_pack("{s:s, s:[{s:s, s:[[s, i]], s:[s], s:i, s:s}]}", "instance",
                    c->instance, "services", "id", "load", "ports", "udp", 9,
                    "protocols", "udp", "weight", 1, "health", "up"),
          on_registered);
}

static void on_event(struct uplink *u, void *ud, const char *name, json_t *e) {
  struct control *c = ud;
  const char *route = json_string_value(json_object_get(e, "route"));
  char path[128];
  if (c->role == ROLE_AGENT) c->ready = true; /* the snapshot */
  if (strcmp(name, "route-request") || !route) return;
  snprintf(path, sizeof(path), "/v1/routes/%s/answer", route);
  request(c, "POST", path, json_pack("{s:b}", "ok", 1), on_answered);
}

static void on_down(struct uplink *u, void *ud, enum reason why,
                    const char *text) {
  fprintf(stderr, "control: lost: %s %s\n", reason_name(why), text);
  ((struct control *)ud)->ready = false;
}

static const struct uplink_events events = {on_up, on_event, on_down};

static void on_granted(void *ud, int status, json_t *body) {
  struct control *c = ud;
  json_t *h = json_object_get(body, "handles");
  if (status != 201 ||
      !hex_parse(c->own, HANDLE_LEN,
                 json_string_value(json_object_get(h, "agent"))) ||
      !hex_parse(c->peer, HANDLE_LEN,
                 json_string_value(json_object_get(h, "connector"))))
    bare_die("the relay gives no route: %d", status);
  c->has_route = true;
}

/* --- life */

void control_open(struct control *c, struct control_ca *ca, enum role role,
                  const char *name, const char *relay, const char *netns) {
  uint8_t raw[16];
  struct ztna_addr any, to = bare_addr(relay);
  ztna_addr_parse(&any, to.family == 4 ? "0.0.0.0:0" : "[::]:0");
  *c =
      (struct control){.role = role, .ca = ca, .tls = make_tls(ca, role, name)};
  struct quic_config q = {
      .tls = c->tls, .rng = &clock_rng, .retry = QUIC_RETRY_NEVER};
  rng_fill(&clock_rng, q.secret, sizeof(q.secret));
  rng_fill(&clock_rng, raw, sizeof(raw));
  hex_print(raw, sizeof(raw), c->instance);
  netns_enter(netns);
  c->udp = udp_new();
  c->quic = quic_new(&q);
  struct uplink_options o = {.quic = c->quic,
                             .rng = &clock_rng,
                             .relay = relay,
                             .trust_domain = tls_identity(c->tls)->trust_domain,
                             .ev = &events,
                             .ud = c};
  c->uplink = uplink_new(&o);
  if (!c->udp || !c->quic || !c->uplink || udp_bind(c->udp, &any) < 0)
    bare_die("cannot make a control connection");
  uplink_set_addrs(c->uplink, &to, 1, clock_now());
  uplink_tick(c->uplink, clock_now());
}

void control_ask(struct control *c) {
  request(c, "POST", "/v1/grants",
          json_pack("{s:s, s:s}", "service", "load", "instance", c->instance),
          on_granted);
}

void control_close(struct control *c) {
  quic_free(c->quic);
  uplink_free(c->uplink);
  udp_free(c->udp);
  tls_free(c->tls);
}

static void drain(struct control *c) {
  struct dgram v[16];
  int n;
  while ((n = quic_next(c->quic, clock_now(), v, 16)) > 0)
    udp_send(c->udp, v, n);
}

static void feed(struct control *c, const struct dgram *d) {
  for (uint32_t off = 0; off < d->len; off += d->seg) {
    uint32_t left = d->len - off;
    quic_udp_in(c->quic, clock_now(), &d->remote, &d->local, d->ecn,
                d->data + off, left < d->seg ? left : d->seg);
  }
}

static void turn(struct control *c) {
  struct dgram v[UDP_BATCH];
  int n;
  while ((n = udp_recv(c->udp, v, UDP_BATCH)) > 0)
    for (int i = 0; i < n; i++) feed(c, &v[i]);
  if (clock_now() >= quic_deadline(c->quic)) quic_tick(c->quic, clock_now());
  uplink_tick(c->uplink, clock_now());
  drain(c);
}

static bool all(const struct control *v, int n,
                bool (*done)(const struct control *c)) {
  if (!done) return false;
  for (int i = 0; i < n; i++)
    if (!done(&v[i])) return false;
  return true;
}

bool control_run(struct control *v, int n, unsigned ms,
                 bool (*done)(const struct control *c)) {
  static struct pollfd p[MAX];
  uint64_t end = clock_now() + ms * MS;
  if (n > MAX) bare_die("too many connections");
  for (int i = 0; i < n; i++)
    p[i] = (struct pollfd){.fd = udp_fd(v[i].udp, 0), .events = POLLIN};
  for (int i = 0; i < n; i++) turn(&v[i]);
  while (clock_now() < end && !all(v, n, done)) {
    bool some = poll(p, (nfds_t)n, 5) > 0;
    for (int i = 0; i < n; i++)
      if (p[i].revents || !some) turn(&v[i]);
  }
  return all(v, n, done);
}

#endif
