/* tcp_world.h - what the tests of TCP through a whole installation share. */
#ifndef ZTNA_TESTS_TCP_WORLD_H
#define ZTNA_TESTS_TCP_WORLD_H

#include "unit/unit.h"

#include "sim/world.h"

static const struct sim_config plain = {
    .seed = 1, .n_agents = 1, .n_connectors = 1, .tcp = true};

static inline bool have_routes(struct sim *w, void *ud) {
  struct ztna_addr v[4];

  for (int i = 0; i < w->cfg.n_agents; i++)
    if (!ztna_agent_routes(w->agents[i].core, v, 4)) return false;
  return true;
}

static inline struct sim *ready(const struct sim_config *cfg) {
  struct sim *w = sim_new(cfg);

  assert_true(sim_until(w, have_routes, NULL, 5 * SEC));
  sim_run(w, 100 * MS);
  return w;
}

static inline struct tcp_app *open_to(struct sim *w, enum tcp_port port,
                                      enum tcp_do what, uint64_t up,
                                      uint64_t n) {
  struct tcp_app *a = tcp_open(w, 0, "echo", port, what, up, n);

  assert_non_null(a);
  return a;
}

static inline void explain(const struct tcp_app *a) {
  print_error("  agent %d, %d: does %d, sent %d of %d, got %d of %d, wrong %d, "
              "connected %d, refused %d, fin %d, reset %d, why %s\n",
              a->end.agent, (int)a->end.id, a->end.what, (int)a->end.sent,
              (int)a->end.limit, (int)a->end.got, (int)a->down,
              (int)a->end.n_wrong, a->connected, a->refused, a->end.got_fin,
              a->end.got_reset, a->why);
}

static inline bool is_complete(struct sim *w, void *ud) {
  return tcp_is_complete(ud);
}

static inline void assert_completes(struct sim *w, struct tcp_app *a,
                                    uint64_t within) {
  bool ok = sim_until(w, is_complete, a, within);

  if (!ok) explain(a);
  assert_true(ok);
  assert_true(tcp_is_clean(w));
}

/* --- a line of 200 Mbit/s at the agent, 20 ms there and back --- */

#define MBIT UINT64_C(1000000)
#define RATE (200 * MBIT)
#define BDP (RATE / 8 * 20 / 1000)

struct line {
  struct sim *w;
  struct vnet_pipe *up, *down;
};

/* Long enough to tell; sanitizers make packets dear. */
#ifdef __SANITIZE_ADDRESS__
enum { MEASURED = 3, SANITIZED = 1 };
#else
enum { MEASURED = 5, SANITIZED = 0 };
#endif

static inline struct line narrow(uint64_t seed, double queue, double loss) {
  struct sim_config cfg = plain;
  struct line l;
  struct vnet_host *h;

  cfg.seed = seed;
  cfg.delay = 5 * MS / 2;
  l.w = ready(&cfg);
  h = l.w->agents[0].node.host;
  h->up.pipe = l.up = vnet_pipe(l.w->net, RATE, (size_t)((double)BDP * queue));
  h->down.pipe = l.down =
      vnet_pipe(l.w->net, RATE, (size_t)((double)BDP * queue));
  h->up.loss = h->down.loss = loss;
  return l;
}

#endif
