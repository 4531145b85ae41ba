/* test_flows.c - the table against a list that is searched from end to end. */
#include "unit/unit.h"

#include "base/time.h"
#include "part/flows.h"

enum { CAP = 100, KEYS = 300, STEPS = 200000 };
#define IDLE (120 * SEC)

struct model {
  struct flow_key keys[CAP];
  uint64_t last_at[CAP], order[CAP]; /* order: of the last use, rising */
  bool used[CAP];
  uint64_t n_uses;
  uint32_t n;
};

/* Few addresses and ports, so that many keys differ in one member only. */
static struct flow_key key_of(uint32_t n) {
  struct flow_key k = {.owner = n % 5, .proto = n % 2 ? 17 : 1};

  k.src = test_addr(n % 3 ? "10.0.0.1:1000" : "[fd00::1]:1000");
  k.dst = test_addr(n % 3 ? "10.0.0.2:53" : "[fd00::2]:53");
  k.src.port = (uint16_t)(1000 + n / 30);
  k.dst.ip[15 * !(n % 3)] ^= (uint8_t)(n / 7 % 4);
  k.src.ip[3] ^= (uint8_t)(n / 11);
  return k;
}

static bool same_key(const struct flow_key *a, const struct flow_key *b) {
  return a->owner == b->owner && a->proto == b->proto &&
         ztna_addr_equal(&a->src, &b->src) && ztna_addr_equal(&a->dst, &b->dst);
}

static void model_use(struct model *m, uint32_t i, uint64_t now) {
  m->last_at[i] = now;
  m->order[i] = ++m->n_uses;
}

static uint32_t model_find(const struct model *m, const struct flow_key *k) {
  for (uint32_t i = 0; i < CAP; i++)
    if (m->used[i] && same_key(&m->keys[i], k)) return i;
  return FLOWS_NONE;
}

/* owner -1: any */
static uint32_t model_oldest(const struct model *m, int owner) {
  uint32_t best = FLOWS_NONE;

  for (uint32_t i = 0; i < CAP; i++)
    if (m->used[i] && (owner < 0 || m->keys[i].owner == (uint32_t)owner) &&
        (best == FLOWS_NONE || m->order[i] < m->order[best]))
      best = i;
  return best;
}

static void step_find_or_add(struct flows *t, struct model *m, uint64_t r,
                             uint64_t now) {
  struct flow_key k = key_of((uint32_t)(r % KEYS));
  uint32_t want = model_find(m, &k), i = flows_find(t, &k, now);

  assert_int_equal(i, want);
  if (i == FLOWS_NONE && r & UINT64_C(1) << 40) {
    i = flows_add(t, &k, now);
    if (m->n == CAP) {
      assert_int_equal(i, FLOWS_NONE);
      return;
    }
    assert_true(i < CAP && !m->used[i]);
    m->used[i] = true;
    m->keys[i] = k;
    m->n++;
    assert_int_equal(flows_at(t, i)->context, 0);
    assert_null(flows_at(t, i)->ud);
    flows_at(t, i)->context = i + 7;
  }
  if (i != FLOWS_NONE) model_use(m, i, now);
}

static void step_del(struct flows *t, struct model *m, uint32_t i) {
  if (i == FLOWS_NONE || !m->used[i]) return;
  flows_del(t, i);
  m->used[i] = false;
  m->n--;
}

static void check(struct flows *t, const struct model *m, uint64_t now) {
  uint32_t oldest = model_oldest(m, -1);
  bool idle = oldest != FLOWS_NONE && now >= m->last_at[oldest] + IDLE;

  assert_int_equal(flows_count(t), m->n);
  assert_int_equal(flows_deadline(t),
                   oldest == FLOWS_NONE ? NEVER : m->last_at[oldest] + IDLE);
  assert_int_equal(flows_idle(t, now), idle ? oldest : FLOWS_NONE);
  for (int owner = 0; owner < 6; owner++)
    assert_int_equal(flows_oldest(t, (uint32_t)owner), model_oldest(m, owner));
}

static void check_all(struct flows *t, const struct model *m) {
  for (uint32_t i = 0; i < CAP; i++) {
    struct flow *f = flows_at(t, i);

    assert_int_equal(f != NULL, m->used[i]);
    if (!f) continue;
    assert_true(same_key(&f->key, &m->keys[i]));
    assert_int_equal(f->last_at, m->last_at[i]);
    assert_int_equal(f->context, i + 7);
  }
  assert_null(flows_at(t, CAP));
  assert_null(flows_at(t, FLOWS_NONE));
}

static void it_does_what_a_list_would_do(void **state) {
  uint64_t seed = 42, now = SEC;
  struct rng rng = test_rng(&seed);
  struct flows *t = flows_new(CAP, 16, IDLE, &rng);
  struct model m = {0};

  for (int i = 0; i < STEPS; i++) {
    uint64_t r = test_random(&seed);
    /* Fills for a while, then drains for a while. */
    bool filling = i / 2000 % 2 == 0;
    uint32_t n = (uint32_t)(r >> 8) % CAP;

    if (r % 16 == 0) now += r >> 32 & 0xfff ? (r >> 20) % SEC : IDLE;
    if ((r >> 60) < (filling ? 10 : 4))
      step_find_or_add(t, &m, r >> 8, now);
    else if ((r >> 60) < (filling ? 11 : 10))
      step_del(t, &m, n);
    else if ((r >> 60) < 14 && m.used[n])
      flows_touch(t, n, now), model_use(&m, n, now);
    else
      step_del(t, &m, flows_idle(t, now));
    check(t, &m, now);
    if (i % 64 == 0) check_all(t, &m);
  }
  flows_free(t);
}

static void a_full_table_takes_no_more_until_one_goes(void **state) {
  uint64_t seed = 1;
  struct rng rng = test_rng(&seed);
  struct flows *t = flows_new(3, 16, IDLE, &rng);
  struct flow_key k = key_of(0);

  for (uint16_t i = 0; i < 3; i++) {
    k.src.port = i;
    assert_int_equal(flows_add(t, &k, i), i);
  }
  k.src.port = 3;
  assert_int_equal(flows_add(t, &k, 3), FLOWS_NONE);
  assert_int_equal(flows_count(t), 3);
  flows_del(t, 1);
  assert_int_equal(flows_add(t, &k, 3), 1); /* numbers stay below n */
  flows_free(t);
}

/* Its key tells the agents apart: equal addresses of two are two flows. */
static void owners_and_protocols_are_told_apart(void **state) {
  uint64_t seed = 1;
  struct rng rng = test_rng(&seed);
  struct flows *t = flows_new(8, 16, IDLE, &rng);
  struct flow_key a = key_of(1), b = a, c = a;

  b.owner++;
  c.proto++;
  assert_int_equal(flows_add(t, &a, 1), 0);
  assert_int_equal(flows_find(t, &b, 1), FLOWS_NONE);
  assert_int_equal(flows_find(t, &c, 1), FLOWS_NONE);
  assert_int_equal(flows_add(t, &b, 1), 1);
  assert_int_equal(flows_find(t, &a, 1), 0);
  assert_int_equal(flows_find(t, &b, 1), 1);
  flows_free(t);
}

static void an_empty_one_waits_for_nothing(void **state) {
  uint64_t seed = 1;
  struct rng rng = test_rng(&seed);
  struct flows *t = flows_new(8, 16, IDLE, &rng);

  assert_int_equal(flows_deadline(t), NEVER);
  assert_int_equal(flows_idle(t, NEVER - 1), FLOWS_NONE);
  assert_int_equal(flows_oldest(t, 0), FLOWS_NONE);
  flows_free(t);
  flows_free(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(it_does_what_a_list_would_do),
      TEST(a_full_table_takes_no_more_until_one_goes),
      TEST(owners_and_protocols_are_told_apart),
      TEST(an_empty_one_waits_for_nothing),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
