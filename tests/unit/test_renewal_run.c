/* test_renewal_run.c - a renewal in a real loop, with files, and a service on
 * loopback that may lie. */
#include "enroll_liar.h"

#include <jansson.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utc.h"
#include "host/clock.h"
#include "host/file_write.h"
#include "host/renewal.h"
#include "transport/tls.h"

static const char name[] = "spiffe://example.org/agent/a";

static struct {
  struct ew_ca ca, next;
  struct host *host;
  /* the service */
  struct tls *tls;
  struct quic *quic;
  int n_requests;
  void (*answer)(struct h3_req *r, const struct sbuf *csr);
  /* the machine */
  char dir[64], cert[96], key[96], cas[96], server[64];
  struct identity_config id;
  struct renewal *renewal;
  uint64_t until, look_at;
  bool to_the_end; /* nothing is waited for but that */
} t;

static int64_t now_s(void) { return (int64_t)(clock_wall() / SEC); }

/* --- the service */

static void sign(const struct sbuf *csr, int64_t to, struct sbuf *cert) {
  const struct cert_spec spec = {
      .spiffe = name, .not_before = now_s() - 300, .not_after = to};
  assert_int_equal(cert_sign_csr(&spec, csr->s, csr->len, t.ca.cert.s,
                                 t.ca.cert.len, t.ca.key.s, t.ca.key.len, cert),
                   0);
}

static void answer_well(struct h3_req *r, const struct sbuf *csr) {
  struct sbuf cert = {0};
  sign(csr, now_s() + 3000, &cert);
  ew_reply(r, &cert, &t.ca.cert);
  sbuf_done(&cert);
}

static void answer_with_next_ca(struct h3_req *r, const struct sbuf *csr) {
  struct sbuf cert = {0}, both = {0};
  sign(csr, now_s() + 3000, &cert);
  sbuf_printf(&both, "%s%s", t.ca.cert.s, t.next.cert.s);
  ew_reply(r, &cert, &both);
  sbuf_done(&cert);
  sbuf_done(&both);
}

static void answer_for_another_key(struct h3_req *r, const struct sbuf *csr) {
  struct ew_leaf l;
  ew_leaf_make(&l, &t.ca, name, now_s() - 300, now_s() + 3000);
  ew_reply(r, &l.cert, &t.next.cert);
  ew_leaf_done(&l);
}

static void put_leaf(int64_t from, int64_t to);

static void answer_too_late(struct h3_req *r, const struct sbuf *csr) {
  put_leaf(now_s() - 300, now_s() + 5000);
  answer_well(r, csr);
}

static void on_request(struct h3 *s, void *ud, struct h3_req *r) {
  size_t len;
  const char *body = h3_body(r, &len);
  json_t *o = json_loadb(body, len, 0, NULL);
  const char *csr = json_string_value(json_object_get(o, "csr"));
  struct sbuf text = {0};
  assert_string_equal(h3_path(r), "/v1/renew");
  assert_string_equal(quic_peer(h3_conn(s))->spiffe, name);
  sbuf_add(&text, csr, strlen(csr));
  t.n_requests++;
  t.answer(r, &text);
  sbuf_done(&text);
  json_decref(o);
}

static const struct h3_ops h3_ops = {.on_request = on_request};

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  struct h3 *s = h3_new(true, NULL, &h3_ops, NULL);
  h3_attach(s, c);
  return s;
}

static void udp_in(void *ctx, uint64_t now, const struct dgram *d) {
  quic_dgram_in(t.quic, now, d);
}

/* Also ends the loop when something was tried, or enough time is past. */
static void tick(void *ctx, uint64_t now) {
  json_t *o = renewal_status(t.renewal);
  bool tried = !json_is_null(json_object_get(o, "last"));
  json_decref(o);
  quic_tick(t.quic, now);
  t.look_at = now + 5 * MS;
  if ((tried && !t.to_the_end) || now >= t.until) host_stop(t.host, 0);
}

static int next(void *ctx, uint64_t now, struct dgram *v, int max) {
  return quic_next(t.quic, now, v, max);
}

static uint64_t deadline(const void *ctx) {
  return time_min(quic_deadline(t.quic), time_min(t.until, t.look_at));
}

static const struct loop_role verbs = {
    .udp_in = udp_in, .tick = tick, .next = next, .deadline = deadline};

static void make_service(void) {
  struct quic_config c = {.rng = &clock_rng,
                          .retry = QUIC_RETRY_NEVER,
                          .accept_ops = h3_server_ops(),
                          .accept_params = h3_params(true),
                          .on_accept = on_accept};
  struct udp *udp = udp_new();
  struct ztna_addr local = test_addr("127.0.0.1:0");
  struct ew_leaf l;
  char why[256], at[ZTNA_ADDR_STRLEN];
  ew_leaf_make(&l, &t.ca, "spiffe://example.org/enroll/ca", now_s() - 300,
               now_s() + 3000);
  const struct ztna_identity own = {.cert = l.cert.s,
                                    .cert_len = l.cert.len,
                                    .key = l.key.s,
                                    .key_len = l.key.len,
                                    .ca = t.ca.cert.s,
                                    .ca_len = t.ca.cert.len};
  if (tls_new(&t.tls, &own, why, sizeof(why)) < 0) fail_msg("%s", why);
  ew_leaf_done(&l);
  c.tls = t.tls;
  t.quic = quic_new(&c);
  assert_int_equal(udp_bind(udp, &local), 0);
  local = udp_local(udp, 0);
  snprintf(t.server, sizeof(t.server), "%s", ztna_addr_print(&local, at));
  assert_non_null(host_add(t.host, &verbs, NULL, udp));
}

/* --- the machine */

static void put_file(const char *file, mode_t mode, const struct sbuf *b) {
  char why[FILE_WHY];
  unlink(file);
  assert_int_equal(file_create(file, mode, b->s, b->len, why), 0);
}

/* As if it had been got at its beginning. */
static void put_leaf(int64_t from, int64_t to) {
  const struct timespec times[2] = {{.tv_sec = from}, {.tv_sec = from}};
  struct ew_leaf l;
  ew_leaf_make(&l, &t.ca, name, from, to);
  put_file(t.cert, 0640, &l.cert);
  put_file(t.key, 0600, &l.key);
  assert_int_equal(utimensat(AT_FDCWD, t.cert, times, 0), 0);
  ew_leaf_done(&l);
}

static char *content(const char *file) {
  char *bytes, why[FILE_WHY];
  size_t len;
  assert_int_equal(file_read(file, 1 << 20, &bytes, &len, why), 0);
  return bytes;
}

static void run(uint64_t for_ns) {
  t.until = clock_now() + for_ns;
  t.renewal = renewal_new(t.host, &t.id);
  assert_non_null(t.renewal);
  host_run(t.host);
}

static bool last_was_well(const char **text) {
  static char said[1024];
  json_t *o = renewal_status(t.renewal), *last = json_object_get(o, "last");
  bool ok = json_is_true(json_object_get(last, "ok"));
  const char *s = json_string_value(json_object_get(last, "text"));
  snprintf(said, sizeof(said), "%s", s ? s : "");
  if (text) *text = said;
  json_decref(o);
  return ok;
}

static bool fits(void) {
  char *cert = content(t.cert), *key = content(t.key), *ca = content(t.cas);
  const struct ztna_identity own = {.cert = cert,
                                    .cert_len = strlen(cert),
                                    .key = key,
                                    .key_len = strlen(key),
                                    .ca = ca,
                                    .ca_len = strlen(ca)};
  struct tls *tls;
  char why[256];
  bool ok = tls_new(&tls, &own, why, sizeof(why)) == 0;
  if (ok) tls_free(tls);
  free(cert);
  free(key);
  free(ca);
  return ok;
}

static int begin(void **state) {
  memset(&t, 0, sizeof(t));
  snprintf(t.dir, sizeof(t.dir), "/tmp/ztna-renewal-XXXXXX");
  if (!mkdtemp(t.dir)) return -1;
  snprintf(t.cert, sizeof(t.cert), "%s/a.pem", t.dir);
  snprintf(t.key, sizeof(t.key), "%s/a.key", t.dir);
  snprintf(t.cas, sizeof(t.cas), "%s/ca.pem", t.dir);
  ew_ca_make(&t.ca, "ztna CA example.org");
  ew_ca_make(&t.next, "ztna CA next");
  put_file(t.cas, 0644, &t.ca.cert);
  t.answer = answer_well;
  t.host = host_new();
  make_service();
  t.id = (struct identity_config){
      .cert = t.cert, .key = t.key, .ca = t.cas, .enroll = t.server};
  return 0;
}

static int end(void **state) {
  char fresh[128];
  host_free(t.host);
  renewal_free(t.renewal);
  quic_free(t.quic);
  tls_free(t.tls);
  ew_ca_done(&t.ca);
  ew_ca_done(&t.next);
  snprintf(fresh, sizeof(fresh), "%s.new", t.cert);
  rmdir(fresh);
  unlink(t.cert);
  unlink(t.key);
  unlink(t.cas);
  return rmdir(t.dir); /* nothing else was left */
}

/* --- */

static void certificate_past_two_thirds_is_replaced(void **state) {
  struct stat ca_was, ca_is;
  put_leaf(now_s() - 1000, now_s() + 100);
  char *key = content(t.key), *cert = content(t.cert);
  stat(t.cas, &ca_was);
  run(8 * SEC);
  assert_true(last_was_well(NULL));
  assert_int_equal(t.n_requests, 1);
  assert_true(fits());
  char *key_is = content(t.key), *cert_is = content(t.cert);
  assert_string_equal(key, key_is);
  assert_string_not_equal(cert, cert_is);
  assert_int_equal(file_mode(t.cert), 0640);
  stat(t.cas, &ca_is); /* not written at all */
  assert_int_equal(ca_was.st_ino, ca_is.st_ino);
  free(key);
  free(cert);
  free(key_is);
  free(cert_is);
}

static void next_time_is_that_of_the_new_certificate(void **state) {
  put_leaf(now_s() - 1000, now_s() + 100);
  int64_t at = now_s() + 2000;
  run(8 * SEC);
  json_t *o = renewal_status(t.renewal);
  char early[UTC_STRLEN], late[UTC_STRLEN];
  const char *said = json_string_value(json_object_get(o, "asks_at"));
  assert_true(strcmp(said, utc_print(at - 300 - 2, early)) >= 0);
  assert_true(strcmp(said, utc_print(at + 10, late)) <= 0);
  json_decref(o);
}

static void fresh_certificate_is_left_alone(void **state) {
  put_leaf(now_s() - 1000, now_s() + 3000);
  run(200 * MS);
  assert_int_equal(t.n_requests, 0);
  assert_false(last_was_well(NULL));
}

static void another_list_of_cas_is_taken_over(void **state) {
  put_leaf(now_s() - 1000, now_s() + 100);
  t.answer = answer_with_next_ca;
  run(8 * SEC);
  assert_true(last_was_well(NULL));
  char *ca = content(t.cas);
  assert_non_null(strstr(ca, t.ca.cert.s));
  assert_non_null(strstr(ca, t.next.cert.s));
  assert_int_equal(file_mode(t.cas), 0644);
  free(ca);
}

static void liar_changes_no_file_and_is_told_of(void **state) {
  const char *said;
  put_leaf(now_s() - 1000, now_s() + 100);
  char *cert = content(t.cert), *ca = content(t.cas);
  t.answer = answer_for_another_key;
  run(8 * SEC);
  assert_int_equal(t.n_requests, 1);
  assert_false(last_was_well(&said));
  assert_non_null(strstr(said, "none for this machine"));
  char *cert_is = content(t.cert), *ca_is = content(t.cas);
  assert_string_equal(cert, cert_is);
  assert_string_equal(ca, ca_is);
  free(cert);
  free(ca);
  free(cert_is);
  free(ca_is);
}

static void what_cannot_be_written_is_not_asked_for(void **state) {
  struct sbuf out = {0};
  const char *said;
  char fresh[128];
  snprintf(fresh, sizeof(fresh), "%s.new", t.cert);
  assert_int_equal(mkdir(fresh, 0700), 0);
  put_leaf(now_s() - 1000, now_s() + 100);
  run(8 * SEC);
  assert_int_equal(t.n_requests, 0);
  assert_false(last_was_well(&said));
  assert_non_null(
      strstr(said, "cannot be replaced: File exists; let the user"));
  renewal_metrics(t.renewal, &out);
  assert_non_null(strstr(out.s, "\nztna_renewal_ok 0\n"));
  assert_non_null(strstr(out.s, "\nztna_renewal_attempts_total 1\n"));
  assert_non_null(strstr(out.s, "\nztna_renewal_failures_total 1\n"));
  sbuf_done(&out);
}

/* By a person, or whoever else keeps the files. */
static void certificate_that_was_replaced_meanwhile_stays(void **state) {
  put_leaf(now_s() - 1000, now_s() + 100);
  t.answer = answer_too_late;
  run(8 * SEC);
  assert_int_equal(t.n_requests, 1);
  assert_false(last_was_well(NULL));
  assert_true(fits()); /* its key was replaced, too */
}

static int n_sockets(void) {
  DIR *d = opendir("/proc/self/fd");
  const struct dirent *e;
  char to[64];
  int n = 0;
  assert_non_null(d);
  while ((e = readdir(d))) {
    ssize_t len = readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1);
    n += len > 7 && !memcmp(to, "socket:", 7);
  }
  closedir(d);
  return n;
}

static void its_socket_is_there_for_the_attempt_only(void **state) {
  int n = n_sockets();
  put_leaf(now_s() - 1000, now_s() + 100);
  t.to_the_end = true;
  run(SEC);
  assert_true(last_was_well(NULL));
  assert_int_equal(n_sockets(), n);
}

/* A life of three seconds: asked once, not ten times in a row. */
static void short_life_is_renewed_once_in_time(void **state) {
  put_leaf(now_s() - 300, now_s() + 3);
  const struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
                                    {.tv_nsec = UTIME_NOW}};
  utimensat(AT_FDCWD, t.cert, times, 0);
  t.to_the_end = true;
  run(3500 * MS);
  assert_int_equal(t.n_requests, 1);
  assert_true(last_was_well(NULL));
}

int main(void) {
#define T(f) TEST_WITH(f, begin, end)
  const struct CMUnitTest tests[] = {
      T(certificate_past_two_thirds_is_replaced),
      T(next_time_is_that_of_the_new_certificate),
      T(fresh_certificate_is_left_alone),
      T(another_list_of_cas_is_taken_over),
      T(liar_changes_no_file_and_is_told_of),
      T(what_cannot_be_written_is_not_asked_for),
      T(certificate_that_was_replaced_meanwhile_stays),
      T(its_socket_is_there_for_the_attempt_only),
      T(short_life_is_renewed_once_in_time),
  };
  if (tls_global_init(&clock_rng, NULL) < 0) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
