/* test_identity_file.c - files of identity that are exchanged while a role
 * runs, rightly and wrongly. Real files, real time: each waits 5 s at most. */
#include "unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "host/clock.h"
#include "host/identity_file.h"
#include "transport/cert.h"

enum { DAY = 86400, PATIENCE = 1000, LIMIT = 5000 };

static const char spiffe[] = "spiffe://example.org/agent/a";

struct fixture {
  uv_loop_t loop;
  uv_timer_t limit;
  char dir[64], names[4][96];
  struct sbuf ca, ca_key;
  struct config config;
  struct identity_file *f;
  int n_taken, n_errors, n_debugs;
  bool refuse;
  char serial[65], said[512];
};

static struct fixture *now;

/* --- files */

static void put(const char *name, const char *bytes, size_t len, mode_t mode) {
  char fresh[128];
  snprintf(fresh, sizeof(fresh), "%s.new", name);
  FILE *f = fopen(fresh, "w");

  assert_non_null(f);
  assert_int_equal(fwrite(bytes, 1, len, f), len);
  fclose(f);
  chmod(fresh, mode);
  rename(fresh, name);
}

struct pair {
  struct sbuf cert, key;
};

static struct pair make(struct fixture *x, const char *who, int64_t from,
                        int64_t until) {
  int64_t at = tls_now();
  const struct cert_spec spec = {
      .spiffe = who, .not_before = at + from, .not_after = at + until};
  struct pair p = {0};

  assert_int_equal(cert_make_leaf(&spec, x->ca.s, x->ca.len, x->ca_key.s,
                                  x->ca_key.len, &p.cert, &p.key),
                   0);
  return p;
}

static void put_cert(struct fixture *x, const struct pair *p) {
  put(x->names[0], p->cert.s, p->cert.len, 0644);
}

static void put_key(struct fixture *x, const struct pair *p) {
  put(x->names[1], p->key.s, p->key.len, 0600);
}

static void drop(struct pair *p) {
  sbuf_done(&p->cert);
  cert_forget(&p->key);
}

static void put_both(struct fixture *x, const char *who, int64_t from,
                     int64_t until) {
  struct pair p = make(x, who, from, until);

  put_key(x, &p);
  put_cert(x, &p);
  drop(&p);
}

static void put_crl(struct fixture *x, uint64_t number) {
  struct sbuf crl = {0};
  int64_t at = tls_now();
  const struct cert_revoked r = {"aa", at};

  assert_int_equal(cert_make_crl(&r, 1, at, at + DAY, number, x->ca.s,
                                 x->ca.len, x->ca_key.s, x->ca_key.len, &crl),
                   0);
  put(x->names[3], crl.s, crl.len, 0644);
  sbuf_done(&crl);
}

/* --- the role */

static int on_take(void *ctx, struct tls *tls, const struct ztna_identity *own,
                   char *why, size_t room) {
  struct fixture *x = ctx;

  assert_non_null(own->key);
  assert_string_equal(tls_identity(tls)->spiffe, spiffe);
  if (x->refuse) {
    snprintf(why, room, "not today");
    return ZTNA_EREFUSED;
  }
  snprintf(x->serial, sizeof(x->serial), "%s", tls_identity(tls)->serial);
  x->n_taken++;
  uv_stop(&x->loop);
  return 0;
}

static const struct identity_file_ops ops = {.take = on_take};

static void on_log(void *ctx, enum log_level level, const char *line) {
  if (level == LOG_LEVEL_DEBUG) now->n_debugs++;
  if (level != LOG_LEVEL_ERR) return;
  now->n_errors++;
  snprintf(now->said, sizeof(now->said), "%s", line);
  uv_stop(&now->loop);
}

static void on_limit(uv_timer_t *t) { uv_stop(t->loop); }

/* Until something was taken or refused, or ms have passed. */
static void wait_ms(struct fixture *x, unsigned ms) {
  uv_update_time(&x->loop);
  uv_timer_start(&x->limit, on_limit, ms, 0);
  uv_run(&x->loop, UV_RUN_DEFAULT);
  uv_timer_stop(&x->limit);
}

/* --- life */

static int load(struct fixture *x) {
  struct sbuf said = {0};
  char text[600];

  snprintf(text, sizeof(text),
           "{\"identity\": {\"cert\": \"%s\", \"key\": \"%s\", \"ca\": "
           "\"%s\", \"crl\": \"%s\"}}",
           x->names[0], x->names[1], x->names[2], x->names[3]);
  int rc = config_parse(&x->config, "/c.json", text, strlen(text),
                        CONFIG_IDENTITY, NULL, &said);
  assert_int_equal(said.len, 0);
  sbuf_done(&said);
  return rc;
}

static int setup(void **state) {
  static const char *const names[] = {"a.pem", "a.key", "ca.pem", "crl"};
  struct fixture *x = calloc(1, sizeof(*x));
  int64_t at;
  struct tls *tls;
  char why[200];

  now = x;
  *state = x;
  assert_int_equal(tls_global_init(&clock_rng, NULL), 0);
  at = tls_now();
  strcpy(x->dir, "/tmp/ztna-identity-XXXXXX");
  assert_non_null(mkdtemp(x->dir));
  for (int i = 0; i < 4; i++)
    snprintf(x->names[i], sizeof(x->names[i]), "%s/%s", x->dir, names[i]);
  assert_int_equal(cert_make_ca("ztna CA example.org", at - DAY, at + 99 * DAY,
                                &x->ca, &x->ca_key),
                   0);
  put(x->names[2], x->ca.s, x->ca.len, 0644);
  put_crl(x, 1);
  put_both(x, spiffe, -DAY, 90 * DAY);
  assert_int_equal(load(x), 0);

  struct ztna_identity own = config_identity(&x->config.identity);
  assert_int_equal(tls_new(&tls, &own, why, sizeof(why)), 0);
  log_to(on_log, NULL);
  log_set_level(LOG_LEVEL_DEBUG);
  uv_loop_init(&x->loop);
  uv_timer_init(&x->loop, &x->limit);
  x->f = identity_file_new("agent", &x->config.identity, tls);
  assert_non_null(x->f);
  identity_file_start(x->f, &x->loop, &ops, x);
  return 0;
}

static int teardown(void **state) {
  struct fixture *x = *state;

  identity_file_stop(x->f);
  uv_close((uv_handle_t *)&x->limit, NULL);
  while (uv_run(&x->loop, UV_RUN_DEFAULT)) continue;
  assert_int_equal(uv_loop_close(&x->loop), 0);
  identity_file_free(x->f);
  log_to(NULL, NULL);
  for (int i = 0; i < 4; i++) unlink(x->names[i]);
  rmdir(x->dir);
  config_free(&x->config);
  sbuf_done(&x->ca);
  cert_forget(&x->ca_key);
  free(x);
  tls_global_done();
  return 0;
}

/* What status says: of `ok`, and of "error" when it is not. */
static void expect_status(struct fixture *x, bool ok, const char *error) {
  json_t *j = identity_file_status(x->f);
  const char *is = json_string_value(json_object_get(j, "error"));

  assert_int_equal(json_is_true(json_object_get(j, "ok")), ok);
  if (error)
    assert_non_null(strstr(is ? is : "", error));
  else
    assert_null(is);
  json_decref(j);
}

/* --- tests */

static void another_certificate_is_taken_over(void **state) {
  struct fixture *x = *state;
  struct tls *was = identity_file_tls(x->f);
  char serial[65];

  snprintf(serial, sizeof(serial), "%s", tls_identity(was)->serial);
  put_both(x, spiffe, -DAY, 80 * DAY);
  wait_ms(x, LIMIT);
  assert_int_equal(x->n_taken, 1);
  assert_ptr_not_equal(identity_file_tls(x->f), was);
  assert_string_equal(tls_identity(identity_file_tls(x->f))->serial, x->serial);
  assert_string_not_equal(x->serial, serial);
  expect_status(x, true, NULL);
  wait_ms(x, 500); /* each of the files is told of */
  assert_int_equal(x->n_taken, 1);
  assert_int_equal(x->n_errors, 0);
}

static void another_list_is_taken_over(void **state) {
  struct fixture *x = *state;
  struct sbuf out = {0};

  put_crl(x, 2);
  wait_ms(x, LIMIT);
  assert_int_equal(x->n_taken, 1);
  identity_file_metrics(x->f, &out);
  assert_non_null(strstr(out.s, "\nztna_identity_reloads_total 1\n"));
  assert_non_null(strstr(out.s, "\nztna_identity_ok 1\n"));
  assert_non_null(strstr(out.s, "\nztna_crl_expires_seconds "));
  sbuf_done(&out);
}

/* Which ran out: an error at once, not at the next hour. */
static void what_a_new_list_says_of_its_end_is_told(void **state) {
  struct fixture *x = *state;
  struct sbuf crl = {0};
  int64_t at = tls_now();

  assert_int_equal(cert_make_crl(NULL, 0, at - DAY, at - 5, 2, x->ca.s,
                                 x->ca.len, x->ca_key.s, x->ca_key.len, &crl),
                   0);
  put(x->names[3], crl.s, crl.len, 0644);
  wait_ms(x, LIMIT);
  assert_int_equal(x->n_taken, 1);
  if (!x->n_errors) wait_ms(x, LIMIT);
  assert_non_null(strstr(x->said, "the list of revoked certificates of \"ztna "
                                  "CA example.org\" ran out"));
  expect_status(x, true, NULL);
  sbuf_done(&crl);
}

static void a_key_may_come_before_its_certificate(void **state) {
  struct fixture *x = *state;
  struct pair p = make(x, spiffe, -DAY, 80 * DAY);

  put_key(x, &p);
  wait_ms(x, PATIENCE / 2);
  assert_int_equal(x->n_taken, 0);
  assert_int_equal(x->n_errors, 0);
  assert_true(x->n_debugs > 0);
  expect_status(x, true, NULL);
  put_cert(x, &p);
  wait_ms(x, LIMIT);
  assert_int_equal(x->n_taken, 1);
  assert_int_equal(x->n_errors, 0);
  drop(&p);
}

static void a_key_that_stays_alone_is_told_after_a_second(void **state) {
  struct fixture *x = *state;
  struct pair p = make(x, spiffe, -DAY, 80 * DAY);
  struct tls *was = identity_file_tls(x->f);
  struct sbuf out = {0};

  put_key(x, &p);
  wait_ms(x, LIMIT);
  assert_int_equal(x->n_errors, 1);
  assert_non_null(strstr(x->said, "the former stays in force: key: does not "
                                  "belong to cert"));
  assert_ptr_equal(identity_file_tls(x->f), was);
  expect_status(x, false, "key: does not belong to cert");
  identity_file_metrics(x->f, &out);
  assert_non_null(strstr(out.s, "\nztna_identity_ok 0\n"));
  assert_non_null(strstr(out.s, "\nztna_identity_reload_failures_total 1\n"));
  sbuf_done(&out);
  /* and is right when the certificate comes late */
  put_cert(x, &p);
  wait_ms(x, LIMIT);
  assert_int_equal(x->n_taken, 1);
  expect_status(x, true, NULL);
  drop(&p);
}

static void refused(struct fixture *x, const char *why) {
  struct tls *was = identity_file_tls(x->f);

  wait_ms(x, LIMIT);
  assert_int_equal(x->n_taken, 0);
  assert_int_equal(x->n_errors, 1);
  assert_ptr_equal(identity_file_tls(x->f), was);
  expect_status(x, false, why);
}

static void another_name_needs_a_restart(void **state) {
  put_both(*state, "spiffe://example.org/agent/b", -DAY, 80 * DAY);
  refused(*state, "is of spiffe://example.org/agent/b, and this runs as "
                  "spiffe://example.org/agent/a: restart it");
}

static void another_role_needs_a_restart(void **state) {
  put_both(*state, "spiffe://example.org/relay/a", -DAY, 80 * DAY);
  refused(*state, "is of spiffe://example.org/relay/a");
}

static void a_damaged_file_changes_nothing(void **state) {
  struct fixture *x = *state;

  put(x->names[2], "-----BEGIN CERTIFICATE-----\nMIIB", 32, 0644);
  refused(x, "ca: holds");
}

static void a_damaged_list_changes_nothing(void **state) {
  struct fixture *x = *state;

  put(x->names[3], "0\x82", 2, 0644);
  refused(x, "crl: ");
}

static void one_that_has_expired_changes_nothing(void **state) {
  put_both(*state, spiffe, -DAY, -5);
  refused(*state, "cert: has expired");
}

static void a_key_that_others_can_read_changes_nothing(void **state) {
  struct fixture *x = *state;
  struct pair p = make(x, spiffe, -DAY, 80 * DAY);

  put(x->names[1], p.key.s, p.key.len, 0644);
  put_cert(x, &p);
  drop(&p);
  refused(x, "key: others can read");
}

static void what_the_role_refuses_changes_nothing(void **state) {
  struct fixture *x = *state;

  x->refuse = true;
  put_both(x, spiffe, -DAY, 80 * DAY);
  refused(x, "not today");
}

static void a_signal_is_not_patient(void **state) {
  struct fixture *x = *state;
  struct pair p = make(x, spiffe, -DAY, 80 * DAY);

  put_key(x, &p);
  identity_file_reload(x->f);
  assert_int_equal(x->n_errors, 1);
  put_cert(x, &p);
  identity_file_reload(x->f);
  assert_int_equal(x->n_taken, 1);
  expect_status(x, true, NULL);
  identity_file_reload(x->f); /* the same again is nothing new */
  assert_int_equal(x->n_taken, 1);
  drop(&p);
}

#define ALONE(f) TEST_WITH(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      ALONE(another_certificate_is_taken_over),
      ALONE(another_list_is_taken_over),
      ALONE(what_a_new_list_says_of_its_end_is_told),
      ALONE(a_key_may_come_before_its_certificate),
      ALONE(a_key_that_stays_alone_is_told_after_a_second),
      ALONE(another_name_needs_a_restart),
      ALONE(another_role_needs_a_restart),
      ALONE(a_damaged_file_changes_nothing),
      ALONE(a_damaged_list_changes_nothing),
      ALONE(one_that_has_expired_changes_nothing),
      ALONE(a_key_that_others_can_read_changes_nothing),
      ALONE(what_the_role_refuses_changes_nothing),
      ALONE(a_signal_is_not_patient),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
