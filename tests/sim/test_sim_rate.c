/* test_sim_rate.c - how much TCP a line carries: with loss, beside a kernel's
 * CUBIC, and what a key stroke waits for. */
#include "sim/cubic.h"
#include "sim/tcp_world.h"

static struct tcp_app *bulk(struct sim *w, bool up) {
  return up ? open_to(w, TCP_PORT, TCP_SINK, UINT64_C(1) << 40, 0)
            : open_to(w, TCP_PORT, TCP_SOURCE, 0, UINT64_C(1) << 40);
}

static uint64_t bytes_of(const struct tcp_app *a, bool up) {
  const struct tcp_skin *k = &a->end.skin->w->connectors[0].tcp;

  return up ? k->n_got : a->end.got;
}

static int rate_under(bool up, double loss, uint64_t seed) {
  struct line l = narrow(seed, 1, loss);
  struct tcp_app *a = bulk(l.w, up);
  uint64_t from;
  int rate;

  sim_run(l.w, SEC);
  from = bytes_of(a, up);
  sim_run(l.w, MEASURED * SEC);
  rate = (int)((bytes_of(a, up) - from) * 8 / MEASURED / MBIT);
  assert_true(tcp_is_clean(l.w));
  sim_free(l.w);
  return rate;
}

static void rates(double loss, int at_least) {
  for (int up = 0; up < 2; up++)
    for (uint64_t seed = 1; seed <= (loss > 0 ? 2 : 1); seed++) {
      int rate = rate_under(up, loss, seed);

      print_message("# loss %.0f %%, %s: %d Mbit/s\n", loss * 100,
                    up ? "up" : "down", rate);
      assert_in_range(rate, at_least, 200);
    }
}

static void one_percent_loss_leaves_100_mbits(void **state) {
  rates(0, 150);
  rates(0.01, 100);
}

static void five_percent_loss_leaves_50_mbits(void **state) { rates(0.05, 50); }

/* --- beside CUBIC --- */

struct rival {
  struct vnet_host *from, *to;
  struct cubic *c;
};

static struct rival rival_new(struct line *l, bool up) {
  struct rival r;

  r.from = vnet_add(l->w->net, "198.51.50.1:1", NULL, 15 * MS / 2);
  r.to = vnet_add(l->w->net, "198.51.50.2:1", NULL, 5 * MS / 2);
  if (up)
    r.from->up.pipe = l->up;
  else
    r.to->down.pipe = l->down;
  r.c = cubic_new(r.from, r.to);
  return r;
}

/* Neither gets less than a fifth of an equal share; seen: 13 to 80 %. */
enum { CUBIC_LEAST = 10, CUBIC_MOST = 90 };

/* Percent of what both get, that is CUBIC's. */
static int cubic_share(bool up, double queue) {
  struct line l = narrow(7, queue, 0);
  struct tcp_app *a = bulk(l.w, up);
  struct cubic_stats before, after;
  struct rival r;
  uint64_t from;
  double ours, theirs;

  sim_run(l.w, 2 * SEC);
  r = rival_new(&l, up);
  sim_run(l.w, 10 * SEC);
  from = bytes_of(a, up);
  cubic_stats(r.c, &before);
  sim_run(l.w, 15 * SEC);
  cubic_stats(r.c, &after);
  ours = (double)(bytes_of(a, up) - from) * 8 / 15 / 1e6;
  theirs = (double)(after.bytes - before.bytes) * 8 / 15 / 1e6;
  print_message("# queue %.1f BDP, %s: %.0f Mbit/s beside CUBIC's %.0f\n",
                queue, up ? "up" : "down", ours, theirs);
  sim_free(l.w);
  cubic_free(r.c);
  return (int)(100 * theirs / (ours + theirs));
}

static void a_bottleneck_is_shared_with_cubic(void **state) {
  static const double queues[] = {0.5, 1, 2};

  if (SANITIZED) skip();
  for (int up = 0; up < 2; up++)
    for (size_t i = 0; i < N_OF(queues); i++)
      assert_in_range(cubic_share(up, queues[i]), CUBIC_LEAST, CUBIC_MOST);
}

/* --- a key stroke beside a bulk transfer --- */

struct keys {
  uint64_t median, p99; /* ns */
  uint64_t queue;       /* the longest wait in the bottleneck */
};

static struct keys key_strokes(bool busy, bool up) {
  struct line l = narrow(9, 1, 0);
  struct tcp_app *a;
  struct keys k;

  if (busy) bulk(l.w, up);
  sim_run(l.w, 2 * SEC);
  l.up->longest = l.down->longest = 0;
  a = tcp_keys(l.w, 0, "echo", 17 * MS);
  sim_run(l.w, 3 * MEASURED * SEC);
  assert_true(a->n_echoed > 3 * MEASURED * 50);
  assert_true(tcp_is_clean(l.w));
  k = (struct keys){tcp_keys_quantile(a, 500), tcp_keys_quantile(a, 990),
                    l.up->longest + l.down->longest};
  print_message("# key strokes %s: median %.1f ms, p99 %.1f, queue %.1f\n",
                !busy ? "alone"
                : up  ? "beside an upload"
                      : "beside a download",
                (double)k.median / 1e6, (double)k.p99 / 1e6,
                (double)k.queue / 1e6);
  sim_free(l.w);
  return k;
}

/* What waits in the bottleneck's queue a key stroke waits for as well, and
 * while BBR makes its window smaller nothing may be sent at all. The streams
 * beside it add nothing. */
static void a_key_stroke_does_not_wait_for_a_bulk_transfer(void **state) {
  struct keys alone = key_strokes(false, false);

  for (int up = 0; up < 2; up++) {
    struct keys k = key_strokes(true, up);

    assert_in_range(k.median, alone.median, alone.median + k.queue + MS);
    assert_in_range(k.p99, alone.p99, alone.p99 + k.queue + 15 * MS);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(one_percent_loss_leaves_100_mbits),
      TEST(five_percent_loss_leaves_50_mbits),
      TEST(a_bottleneck_is_shared_with_cubic),
      TEST(a_key_stroke_does_not_wait_for_a_bulk_transfer),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
