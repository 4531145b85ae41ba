/* test_identity_ends.c - what is warned of before it runs out, when, and in
 * which words. */
#include "unit.h"

#include "host/identity_ends.h"
#include "transport/tls.h"

enum { NOW = 1900000000, MINUTE = 60, HOUR = 3600, DAY = 86400 };

static uint64_t seed = 1;
static struct rng rng;

static int set_up(void **unused) {
  rng = test_rng(&seed);
  return tls_global_init(&rng, NULL);
}

static int tear_down(void **unused) {
  tls_global_done();
  return 0;
}

static struct identity_end lives(const char *kind, int64_t life) {
  return (struct identity_end){
      .kind = kind, .name = "x", .from = NOW, .until = NOW + life};
}

/* --- when */

static void a_long_life_is_warned_of_two_weeks_before(void **unused) {
  struct identity_end e = lives("certificate", 365 * DAY);

  assert_int_equal(identity_end_warns_at(&e), e.until - 14 * DAY);
  e = lives("ca", INT64_C(3650) * DAY);
  assert_int_equal(identity_end_warns_at(&e), e.until - 14 * DAY);
}

static void a_short_life_is_warned_of_in_its_last_third(void **unused) {
  struct identity_end e = lives("certificate", 6 * HOUR);

  assert_int_equal(identity_end_warns_at(&e), e.until - 2 * HOUR);
  e = lives("crl", 30 * DAY);
  assert_int_equal(identity_end_warns_at(&e), e.until - 10 * DAY);
}

static void
a_renewed_certificate_is_warned_of_when_that_is_overdue(void **unused) {
  struct identity_end e = lives("certificate", 60 * DAY);

  e.renewed = true;
  assert_int_equal(identity_end_warns_at(&e), NOW + 50 * DAY);
}

static void a_list_without_an_end_is_never_warned_of(void **unused) {
  struct identity_end e = lives("crl", 0);

  e.until = INT64_MAX;
  assert_true(identity_end_warns_at(&e) == INT64_MAX);
}

/* --- how often */

struct told {
  int n, n_over;
  char last[ENDS_WORDS];
};

static void on_tell(void *ctx, bool is_over, const char *words) {
  struct told *t = ctx;

  t->n++;
  if (is_over) t->n_over++;
  snprintf(t->last, sizeof(t->last), "%s", words);
}

/* As a program that sleeps as long as it may. */
static struct told live(struct identity_ends *e, int64_t from, int64_t to) {
  struct told t = {0};

  for (int64_t now = from; now < to;) {
    int64_t next = identity_ends_next(e, now);

    identity_ends_tell(e, now, on_tell, &t);
    next = identity_ends_next(e, now);
    assert_true(next > now && next <= now + HOUR);
    now = next;
  }
  return t;
}

static struct identity_ends one(int64_t life) {
  struct identity_ends e = {.n = 1};

  e.v[0] = lives("certificate", life);
  return e;
}

static void a_warning_comes_each_day_and_in_the_last_each_hour(void **unused) {
  struct identity_ends e = one(365 * DAY);
  int64_t end = e.v[0].until;

  assert_int_equal(live(&e, end - 20 * DAY, end - 14 * DAY).n, 0);
  assert_in_range(live(&e, end - 14 * DAY, end - DAY).n, 13, 14);
  assert_in_range(live(&e, end - DAY, end).n, 23, 25);
  struct told t = live(&e, end + 1, end + DAY);
  assert_in_range(t.n, 23, 25);
  assert_int_equal(t.n, t.n_over);
}

static void what_ends_is_told_in_words(void **unused) {
  struct identity_ends e = one(365 * DAY);
  struct told t =
      live(&e, e.v[0].until - 6 * DAY - 1, e.v[0].until - 6 * DAY + 1);

  assert_int_equal(t.n, 1);
  assert_string_equal(t.last, "the own certificate ends in 6 days, at "
                              "2031-03-17T17:46:40Z: replace identity.cert");
  e.v[0].kind = "crl";
  snprintf(e.v[0].name, sizeof(e.v[0].name), "ztna CA a");
  char words[ENDS_WORDS];
  assert_string_equal(
      identity_end_words(&e.v[0], e.v[0].until + 1, words),
      "the list of revoked certificates of \"ztna CA a\" ran out at "
      "2031-03-17T17:46:40Z: who was revoked since is let in; make it anew: "
      "ztna cert crl");
}

static void what_was_told_is_not_told_again_after_an_exchange(void **unused) {
  struct identity_ends e = one(365 * DAY), same = one(365 * DAY),
                       other = one(366 * DAY);
  int64_t now = e.v[0].until - 3 * DAY;
  struct told t = {0};

  identity_ends_tell(&e, now, on_tell, &t);
  identity_ends_keep(&same, &e);
  identity_ends_tell(&same, now + 1, on_tell, &t);
  assert_int_equal(t.n, 1);
  identity_ends_keep(&other, &e);
  identity_ends_tell(&other, now + 1, on_tell, &t);
  assert_int_equal(t.n, 2);
}

/* --- out of files */

static struct sbuf ca, old, key, leaf, leaf_key, crl;

static struct ztna_identity make_files(void) {
  static const struct cert_revoked revoked[] = {{"aa", NOW}, {"bb", NOW}};
  const struct cert_spec spec = {.spiffe = "spiffe://example.org/agent/a",
                                 .not_before = NOW,
                                 .not_after = NOW + 7 * DAY};

  assert_int_equal(
      cert_make_ca("ztna CA old", NOW - DAY, NOW + DAY, &old, &key), 0);
  cert_forget(&key);
  assert_int_equal(cert_make_ca("ztna CA new", NOW, NOW + 100 * DAY, &ca, &key),
                   0);
  assert_int_equal(
      cert_make_leaf(&spec, ca.s, ca.len, key.s, key.len, &leaf, &leaf_key), 0);
  assert_int_equal(cert_make_crl(revoked, 2, NOW, NOW + 3 * DAY, 1, ca.s,
                                 ca.len, key.s, key.len, &crl),
                   0);
  sbuf_add(&old, ca.s, ca.len);
  return (struct ztna_identity){.cert = leaf.s,
                                .cert_len = leaf.len,
                                .ca = old.s,
                                .ca_len = old.len,
                                .crl = crl.s,
                                .crl_len = crl.len};
}

static void forget_files(void) {
  struct sbuf *all[] = {&ca, &old, &leaf, &crl};

  for (size_t i = 0; i < N_OF(all); i++) sbuf_done(all[i]);
  cert_forget(&key);
  cert_forget(&leaf_key);
}

static void all_ends_of_the_files_are_known(void **unused) {
  struct ztna_identity own = make_files();
  struct identity_ends e;
  struct sbuf out = {0};

  assert_int_equal(identity_ends_read(&e, &own, false), 0);
  assert_int_equal(e.n, 4);
  assert_string_equal(e.v[0].name, "spiffe://example.org/agent/a");
  assert_string_equal(e.v[1].name, "ztna CA old");
  assert_int_equal(e.v[2].until, NOW + 100 * DAY);
  assert_int_equal(e.v[3].n_revoked, 2);

  json_t *j = json_object();
  identity_ends_status(&e, NOW + 2 * DAY, j);
  char *text = json_dumps(j, JSON_COMPACT);
  assert_string_equal(
      text,
      "{\"not_after\":\"2030-03-24T17:46:40Z\",\"expires_in_s\":432000,"
      "\"ca\":[{\"name\":\"ztna CA old\",\"in_force\":false,\"not_after\":"
      "\"2030-03-18T17:46:40Z\",\"expires_in_s\":-86400},{\"name\":\"ztna CA "
      "new\",\"in_force\":true,\"not_after\":\"2030-06-25T17:46:40Z\","
      "\"expires_in_s\":8467200}],\"crl\":[{\"issuer\":\"ztna CA new\","
      "\"revoked\":2,\"not_after\":\"2030-03-20T17:46:40Z\",\"expires_in_s\":"
      "86400,\"warning\":\"the list of revoked certificates of \\\"ztna CA "
      "new\\\" ends in 24 hours, at 2030-03-20T17:46:40Z: make it anew: ztna "
      "cert crl\"}]}");
  free(text);
  json_decref(j);

  identity_ends_metrics(&e, NOW + 2 * DAY, &out);
  assert_non_null(
      strstr(out.s, "\nztna_certificate_expires_seconds 1900604800"));
  assert_non_null(strstr(out.s, "\nztna_ca_expires_seconds 1908640000\n"));
  assert_non_null(strstr(out.s, "\nztna_crl_expires_seconds 1900259200\n"));
  sbuf_done(&out);
  forget_files();
}

static void a_ca_that_runs_out_is_noticed(void **unused) {
  struct ztna_identity own = make_files();
  struct identity_ends e;

  assert_int_equal(identity_ends_read(&e, &own, false), 0);
  assert_false(identity_ends_lost_ca(&e, NOW, NOW + DAY));
  assert_true(identity_ends_lost_ca(&e, NOW + DAY, NOW + DAY + 1));
  assert_false(identity_ends_lost_ca(&e, NOW + DAY + 1, NOW + DAY + 2));
  /* and asked for in time */
  assert_int_equal(identity_ends_next(&e, NOW + DAY - 5), NOW + DAY + 1);
  forget_files();
}

static void what_is_damaged_is_refused(void **unused) {
  struct ztna_identity own = make_files();
  struct identity_ends e;

  own.crl_len /= 2;
  assert_int_equal(identity_ends_read(&e, &own, false), ZTNA_EMALFORMED);
  own.crl = NULL;
  own.ca_len -= 100;
  assert_int_equal(identity_ends_read(&e, &own, false), ZTNA_EMALFORMED);
  forget_files();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_long_life_is_warned_of_two_weeks_before),
      TEST(a_short_life_is_warned_of_in_its_last_third),
      TEST(a_renewed_certificate_is_warned_of_when_that_is_overdue),
      TEST(a_list_without_an_end_is_never_warned_of),
      TEST(a_warning_comes_each_day_and_in_the_last_each_hour),
      TEST(what_ends_is_told_in_words),
      TEST(what_was_told_is_not_told_again_after_an_exchange),
      TEST(all_ends_of_the_files_are_known),
      TEST(a_ca_that_runs_out_is_noticed),
      TEST(what_is_damaged_is_refused),
  };

  return cmocka_run_group_tests(tests, set_up, tear_down);
}
