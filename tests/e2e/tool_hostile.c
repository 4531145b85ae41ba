/* tool_hostile.c - a peer that keeps none of the rules, for the end-to-end
 * tests:
 *
 *   expired DIR ROLE NAME     issues a certificate that ran out an hour ago
 *   dial ADDR CERT KEY [no-cert] [no-alpn] [alpn=X] [resume]
 *                             a client; says how it went in one line
 *   call ADDR CERT KEY METHOD PATH [BODY]
 *                             one request of a good client; the answer
 *   serve ADDR CERT KEY CA [ALPN]
 *                             a relay that is whatever its certificate says
 *   flood TO FROM N           N first flights, from addresses counted up from
 *                             FROM
 *   mitm, replay              see hostile_mitm.c, hostile_replay.c
 *   initials, stun, spray     see hostile_flood.c
 *   manners                   see hostile_h3.c
 *   amplify                   see hostile_amplify.c
 *   visit, connects           see hostile_visit.c
 *   garbage, mirror, scan     see hostile_raw.c */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e/hostile.h"
#include "host/clock.h"
#include "transport/cert.h"
#include "transport/h3.h"

void hostile_prepare(const char *cert, size_t cert_len, const char *key,
                     size_t key_len);

/* It gives nothing back before it ends. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "detect_leaks=0"; }

struct ztna_addr hostile_addr(const char *text) {
  struct ztna_addr a = {0};

  if (ztna_addr_parse(&a, text) == 0) return a;
  fprintf(stderr, "not an address: %s\n", text);
  exit(2);
}

struct file {
  char s[65536];
  size_t len;
};

static struct file *file_of(const char *name) {
  struct file *f = calloc(1, sizeof(*f));
  FILE *in = fopen(name, "r");

  if (in) f->len = fread(f->s, 1, sizeof(f->s) - 1, in);
  if (!f->len) {
    perror(name);
    exit(2);
  }
  fclose(in);
  return f;
}

/* --- expired --- */

static void write_file(const char *dir, const char *stem, const char *end,
                       const struct sbuf *b) {
  char name[512];
  FILE *out;

  snprintf(name, sizeof(name), "%s/%s.%s", dir, stem, end);
  umask(077);
  out = fopen(name, "w");
  if (!out || fwrite(b->s, 1, b->len, out) != b->len || fclose(out)) exit(1);
}

static int make_expired(char **v) {
  char name[512], uri[256], stem[128];
  int64_t now = (int64_t)(clock_wall() / SEC);
  struct cert_spec s = {
      .spiffe = uri, .not_before = now - 7200, .not_after = now - 3600};
  struct file *ca, *key;
  struct sbuf cert, own;

  snprintf(name, sizeof(name), "%s/ca.pem", v[0]);
  ca = file_of(name);
  snprintf(name, sizeof(name), "%s/ca.key", v[0]);
  key = file_of(name);
  snprintf(uri, sizeof(uri), "spiffe://example.org/%s/%s", v[1], v[2]);
  snprintf(stem, sizeof(stem), "%s-%s", v[1], v[2]);
  sbuf_init(&cert, 0);
  sbuf_init(&own, 0);
  if (cert_make_leaf(&s, ca->s, ca->len, key->s, key->len, &cert, &own) < 0)
    return 1;
  write_file(v[0], stem, "pem", &cert);
  write_file(v[0], stem, "key", &own);
  return 0;
}

/* --- an endpoint on a socket --- */

struct end {
  struct quic *q;
  struct h3 *h3;
  int fd;
  bool over, quiet;
  int status;
  const char *method, *path, *body; /* what it asks for */
};

int hostile_socket(const struct ztna_addr *local) {
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(local, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

  if (fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0) return fd;
  perror("bind");
  exit(2);
}

static void drain(struct end *e) {
  struct sockaddr_storage ss;
  struct dgram v[64];
  int n;

  while ((n = quic_next(e->q, clock_now(), v, 64)) > 0)
    for (int i = 0; i < n; i++)
      for (uint32_t at = 0; at < v[i].len; at += v[i].seg) {
        uint32_t left = v[i].len - at;
        size_t len = ztna_addr_to_sockaddr(&v[i].remote, &ss);

        sendto(e->fd, v[i].data + at, left < v[i].seg ? left : v[i].seg, 0,
               (struct sockaddr *)&ss, (socklen_t)len);
      }
}

static void take(struct end *e, const struct ztna_addr *local) {
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);
  struct ztna_addr from;
  uint8_t buf[2048];
  ssize_t n =
      recvfrom(e->fd, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len);

  if (n > 0 && ztna_addr_from_sockaddr(&from, &ss) == 0)
    quic_udp_in(e->q, clock_now(), &from, local, 0, buf, (size_t)n);
}

static void turn(struct end *e, const struct ztna_addr *local, uint64_t until) {
  while (!e->over && clock_now() < until) {
    struct pollfd p = {.fd = e->fd, .events = POLLIN};

    drain(e);
    if (poll(&p, 1, 5) > 0) take(e, local);
    quic_tick(e->q, clock_now());
  }
  drain(e);
}

/* --- dial --- */

void hostile_identity(const char *cert, const char *key) {
  struct file *c = file_of(cert), *k = file_of(key);

  hostile_prepare(c->s, c->len, k->s, k->len);
}

static void on_answer(void *ud, struct h3_call *c, int status, const char *body,
                      size_t len) {
  struct end *e = ud;

  e->status = status;
  if (status && !e->quiet)
    printf("answer status=%d%s%.*s\n", status, e->body ? " body=" : "",
           e->body ? (int)len : 0, body);
  e->over = e->body;
}

static int on_ready(struct h3 *s, void *ud, const struct identity *peer) {
  struct end *e = ud;

  h3_call(s, e->method, e->path, e->body, e->body ? strlen(e->body) : 0,
          on_answer, NULL, e);
  return 0;
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  struct end *e = ud;

  e->over = true;
  if (e->quiet) return;
  printf("ended by=%s reason=%s text=\"%s\"%s\n", why->remote ? "peer" : "self",
         reason_name(why->reason), why->text,
         hostile.offered ? " ticket=offered" : "");
}

static const struct h3_ops client = {.on_ready = on_ready, .on_end = on_end};

static struct quic *endpoint(struct quic_config *cfg) {
  cfg->rng = &clock_rng;
  rng_fill(&clock_rng, cfg->secret, sizeof(cfg->secret));
  return quic_new(cfg);
}

/* Until it is over, 2 s at most. */
static void dial_with(struct end *e, char **argv) {
  struct ztna_addr any = {.family = 4};
  struct quic_config cfg = {0};
  struct quic_dial d = {.remote = hostile_addr(argv[0]),
                        .ops = h3_client_ops(),
                        .params = h3_params(false)};

  e->fd = hostile_socket(&any);
  hostile_identity(argv[1], argv[2]);
  e->q = endpoint(&cfg);
  e->h3 = h3_new(false, "relay", &client, e);
  d.ud = e->h3;
  h3_attach(e->h3, quic_dial(e->q, &d, clock_now()));
  turn(e, &any, clock_now() + 2 * SEC);
}

static int dial(int argc, char **argv) {
  struct end e = {.method = "GET", .path = "/v1/self"};

  for (int i = 3; i < argc; i++) {
    if (!strcmp(argv[i], "no-cert")) hostile.no_cert = true;
    if (!strcmp(argv[i], "resume")) hostile.resume = true;
    if (!strcmp(argv[i], "no-alpn")) hostile.alpn = "";
    if (!strncmp(argv[i], "alpn=", 5)) hostile.alpn = argv[i] + 5;
  }
  dial_with(&e, argv);
  if (!e.over) printf("open%s\n", hostile.offered ? " ticket=offered" : "");
  return 0;
}

static int call(int argc, char **argv) {
  struct end e = {
      .method = argv[3], .path = argv[4], .body = argc > 5 ? argv[5] : ""};

  dial_with(&e, argv);
  return !e.over;
}

bool hostile_call(char **argv) {
  struct end e = {.method = "GET", .path = "/v1/self", .body = "", .quiet = 1};
  struct ztna_addr any = {.family = 4};
  bool good;

  dial_with(&e, argv);
  good = e.status == 200;
  if (good) quic_close(h3_conn(e.h3), REASON_SHUTTING_DOWN, NULL);
  e.over = false;
  turn(&e, &any, clock_now() + 2 * MS);
  quic_free(e.q);
  close(e.fd);
  return good;
}

/* --- serve --- */

static const struct h3_ops server = {0};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct h3 *s = h3_new(true, NULL, &server, ud);

  h3_attach(s, c);
  return s;
}

static int serve(int argc, char **v) {
  struct quic_ops ops = *h3_server_ops();
  struct ztna_addr at = hostile_addr(v[0]);
  struct file *cert = file_of(v[1]), *key = file_of(v[2]), *ca = file_of(v[3]);
  struct quic_config cfg = {.accept_ops = &ops,
                            .accept_params = h3_params(true),
                            .on_accept = on_accept};
  struct end e = {.fd = hostile_socket(&at)};
  char why[256];

  if (argc > 4) ops.alpn = v[4];
  const struct ztna_identity own = {.cert = cert->s,
                                    .cert_len = cert->len,
                                    .key = key->s,
                                    .key_len = key->len,
                                    .ca = ca->s,
                                    .ca_len = ca->len};
  if (tls_new(&cfg.tls, &own, why, sizeof(why)) < 0) {
    fprintf(stderr, "%s\n", why);
    return 1;
  }
  e.q = endpoint(&cfg);
  turn(&e, &at, NEVER);
  return 0;
}

/* --- flood --- */

struct quic *hostile_dial(const struct ztna_addr *relay) {
  static struct end nobody = {.quiet = true};
  struct quic_config cfg = {0};
  struct quic_dial d = {
      .remote = *relay, .ops = h3_client_ops(), .params = h3_params(false)};
  struct quic *q = endpoint(&cfg);
  struct h3 *s = h3_new(false, "relay", &client, &nobody);

  d.ud = s;
  h3_attach(s, quic_dial(q, &d, clock_now()));
  return q;
}

static int flood(char **v) {
  struct ztna_addr to = hostile_addr(v[0]), from = hostile_addr(v[1]);
  int n = atoi(v[2]), fd = raw_open();

  hostile.no_cert = true;
  hostile_prepare(NULL, 0, NULL, 0);
  for (int i = 0; i < n; i++) {
    struct quic *q = hostile_dial(&to);
    struct dgram g[8];

    for (int k = quic_next(q, clock_now(), g, 8); k-- > 0;)
      for (uint32_t at = 0; at < g[k].len; at += g[k].seg) {
        uint32_t left = g[k].len - at;

        raw_send(fd, &from, &to, g[k].data + at,
                 left < g[k].seg ? left : g[k].seg);
      }
    from.port++;
    from.ip[3] = (uint8_t)(from.ip[3] < 250 ? from.ip[3] + 1 : 20);
  }
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";

  argc -= 2, argv += 2;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (tls_global_init(&clock_rng, NULL) < 0) return 1;
  if (!strcmp(what, "expired") && argc == 3) return make_expired(argv);
  if (!strcmp(what, "dial") && argc >= 3) return dial(argc, argv);
  if (!strcmp(what, "call") && argc >= 5) return call(argc, argv);
  if (!strcmp(what, "serve") && argc >= 4) return serve(argc, argv);
  if (!strcmp(what, "flood") && argc == 3) return flood(argv);
  if (!strcmp(what, "garbage") && argc == 3) return raw_garbage(argc, argv);
  if (!strcmp(what, "mirror") && argc == 5) return raw_mirror(argc, argv);
  if (!strcmp(what, "mitm") && argc == 3) return mitm(argv);
  if (!strcmp(what, "replay") && argc >= 3) return replay(argc, argv);
  if (!strcmp(what, "initials") && argc == 3) return flood_initials(argv);
  if (!strcmp(what, "stun") && argc == 3) return flood_stun(argv);
  if (!strcmp(what, "spray") && argc == 6) return flood_spray(argv);
  if (!strcmp(what, "manners") && argc >= 6) return manners(argc, argv);
  if (!strcmp(what, "amplify") && argc == 2) return amplify(argv);
  if (!strcmp(what, "visit") && argc == 3) return visit(argv);
  if (!strcmp(what, "connects") && argc == 5) return connects(argv);
  if (!strcmp(what, "scan") && argc >= 2) return raw_scan(argc, argv);
  fprintf(stderr, "see tool_hostile.c\n");
  return 2;
}
