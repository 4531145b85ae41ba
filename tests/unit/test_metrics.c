/* test_metrics.c - metrics as Prometheus reads them, and the text buffer. */
#include "unit.h"

#include "base/metrics.h"
#include "base/reason.h"

struct counters {
  uint64_t forwarded, routes;
  uint64_t drops[REASON_N];
};

static const struct metric table[] = {
    {"ztna_forwarded_total", "Packets sent on.", METRIC_COUNTER,
     offsetof(struct counters, forwarded)},
    {"ztna_routes", "Routes there are.", METRIC_GAUGE,
     offsetof(struct counters, routes)},
    {"ztna_drops_total", "Packets dropped.", METRIC_REASONS,
     offsetof(struct counters, drops)},
    {0},
};

static void metrics_print_as_prometheus_text(void **state) {
  struct counters c = {.forwarded = UINT64_MAX, .routes = 3};
  struct sbuf out = {0};
  c.drops[REASON_WRONG_SOURCE] = 42;
  metrics_print(&out, table, &c);
  static const char head[] = "# HELP ztna_forwarded_total Packets sent on.\n"
                             "# TYPE ztna_forwarded_total counter\n"
                             "ztna_forwarded_total 18446744073709551615\n"
                             "# HELP ztna_routes Routes there are.\n"
                             "# TYPE ztna_routes gauge\n"
                             "ztna_routes 3\n"
                             "# HELP ztna_drops_total Packets dropped.\n"
                             "# TYPE ztna_drops_total counter\n"
                             "ztna_drops_total{reason=\"none\"} 0\n"
                             "ztna_drops_total{reason=\"no-such-service\"} 0\n";
  assert_false(out.failed);
  assert_memory_equal(out.s, head, strlen(head));
  assert_non_null(
      strstr(out.s, "ztna_drops_total{reason=\"wrong-source\"} 42\n"));
  char tail[100]; /* every reason has its line, the last one too */
  snprintf(tail, sizeof(tail), "ztna_drops_total{reason=\"%s\"} 0\n",
           reason_name(REASON_N - 1));
  assert_string_equal(out.s + out.len - strlen(tail), tail);
  sbuf_done(&out);
}

static void a_buffer_grows_as_text_comes(void **state) {
  struct sbuf b;
  sbuf_init(&b, 0);
  for (int i = 0; i < 1000; i++) sbuf_printf(&b, "%03d,", i);
  sbuf_add(&b, "end\0!", 5);
  assert_false(b.failed);
  assert_int_equal(b.len, 4005);
  assert_memory_equal(b.s, "000,001,", 8);
  assert_memory_equal(b.s + 3996, "999,end\0!", 10); /* and the NUL */
  sbuf_done(&b);
}

static void zeroed_storage_is_an_empty_buffer(void **state) {
  struct sbuf b = {0};
  sbuf_add(&b, "", 0);
  sbuf_printf(&b, "%s", "");
  assert_null(b.s);
  sbuf_printf(&b, "x");
  assert_string_equal(b.s, "x");
  sbuf_done(&b);
  assert_null(b.s);
  sbuf_printf(&b, "y");
  assert_string_equal(b.s, "y");
  sbuf_done(&b);
}

static void what_does_not_fit_is_left_out_whole_and_latches(void **state) {
  struct sbuf b;
  sbuf_init(&b, 10);
  sbuf_add(&b, "12345", 5);
  sbuf_printf(&b, "%s", "67890");
  assert_false(b.failed);
  sbuf_printf(&b, "%s", "x");
  assert_true(b.failed);
  assert_string_equal(b.s, "1234567890");
  sbuf_done(&b);

  sbuf_init(&b, 10);
  sbuf_printf(&b, "12345678%s", "901");
  sbuf_add(&b, "a", 1);
  assert_true(b.failed);
  assert_int_equal(b.len, 0);
  sbuf_done(&b);
}

static void without_a_bound_it_is_16_mib(void **state) {
  struct sbuf b = {0};
  char *text = calloc(1, 16 << 20);
  sbuf_add(&b, text, 16 << 20);
  assert_false(b.failed);
  sbuf_add(&b, text, 1);
  assert_true(b.failed);
  sbuf_done(&b);
  free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(metrics_print_as_prometheus_text),
      TEST(a_buffer_grows_as_text_comes),
      TEST(zeroed_storage_is_an_empty_buffer),
      TEST(what_does_not_fit_is_left_out_whole_and_latches),
      TEST(without_a_bound_it_is_16_mib),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
