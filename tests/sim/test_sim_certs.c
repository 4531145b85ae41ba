/* test_sim_certs.c - certificates that are exchanged, run out or are revoked
 * while everybody runs: paths are made anew beside the old ones, people notice
 * nothing, and who is not let in any more is out at once. */
#include <stdlib.h>
#include <string.h>

#include "role/connector_int.h"
#include "sim/tcp_world.h"
#include "unit/unit.h"

#define RENEWED "ztna_agent_routes_renewed_total"
#define DIRECT_RENEWED "ztna_agent_direct_renewed_total"
#define HOUR (3600 * SEC)

static const struct sim_config relayed = {
    .seed = 41, .n_agents = 1, .n_connectors = 1, .tcp = true};
static const struct sim_config direct = {.seed = 42,
                                         .n_agents = 1,
                                         .n_connectors = 1,
                                         .tcp = true,
                                         .direct = true,
                                         .agent_class = "port-restricted",
                                         .connector_class = "sym-random"};

static struct app *app_of(struct sim *w) { return &w->agents[0].app; }

static uint64_t agent_counts(struct sim *w, const char *name) {
  return sim_agent_counter(w, 0, name, NULL);
}

/* --- what the agent says --- */

static json_t *status_of(struct sim *w) {
  char *text = ztna_agent_status(w->agents[0].core);
  json_t *j = json_loads(text, 0, NULL);

  free(text);
  return j;
}

static int failovers(struct sim *w) {
  json_t *j = status_of(w);
  json_t *link = json_array_get(json_object_get(j, "links"), 0);
  int n = (int)json_integer_value(json_object_get(link, "failovers"));

  json_decref(j);
  return n;
}

/* Live paths of this kind; NULL: of any. */
static int n_paths(struct sim *w, const char *kind) {
  json_t *j = status_of(w), *p;
  json_t *link = json_array_get(json_object_get(j, "links"), 0);
  size_t i;
  int n = 0;

  json_array_foreach(json_object_get(link, "paths"), i, p) {
    const char *k = json_string_value(json_object_get(p, "kind"));

    n +=
        json_is_true(json_object_get(p, "live")) && (!kind || !strcmp(k, kind));
  }
  json_decref(j);
  return n;
}

static bool has_direct(struct sim *w, void *ud) {
  return n_paths(w, "direct") == 1;
}

static bool has_one_of_each(struct sim *w, void *ud) {
  return n_paths(w, "direct") == (w->cfg.direct ? 1 : 0) &&
         n_paths(w, "relay") == 1;
}

/* --- worlds --- */

static struct sim *steady(const struct sim_config *cfg, uint64_t every) {
  struct sim *w = ready(cfg);

  app_steady(app_of(w), "echo", false, every);
  sim_run(w, SEC);
  if (cfg->direct) assert_true(sim_until(w, has_direct, NULL, 10 * SEC));
  sim_run(w, SEC);
  return w;
}

static void print_unanswered(const struct app *a) {
  for (uint32_t i = 0; i < a->n_asks; i++)
    if (!a->asks[i].got_at)
      print_error("  unanswered: asked at %.3f s\n",
                  (double)a->asks[i].sent_at / (double)SEC);
}

static void assert_nothing_lost(struct sim *w) {
  struct app *a = app_of(w);

  app_steady(a, "echo", false, 0);
  sim_run(w, SEC);
  print_unanswered(a);
  assert_int_equal(a->n_got, a->n_asks);
  assert_int_equal(a->n_errors, 0);
  assert_true(app_is_clean(a));
}

/* --- exchanged --- */

/* Echoes every 10 ms, both directions of TCP, and somebody who types. */
static void exchange_under_load(const struct sim_config *cfg,
                                void (*renew)(struct sim *w), uint64_t within) {
  struct sim *w = steady(cfg, 10 * MS);
  struct vnet_host *h = w->agents[0].node.host;
  struct tcp_app *down, *up, *keys;
  uint64_t routes = agent_counts(w, RENEWED);
  uint64_t n = agent_counts(w, DIRECT_RENEWED);
  int lost = failovers(w);

  h->up.pipe = vnet_pipe(w->net, 20 * MBIT, 4 << 20);
  h->down.pipe = vnet_pipe(w->net, 20 * MBIT, 4 << 20);
  down = open_to(w, TCP_PORT, TCP_SOURCE, 0, 40 << 20);
  up = open_to(w, TCP_PORT, TCP_SINK, 20 << 20, 0);
  keys = tcp_keys(w, 0, "echo", 50 * MS);
  sim_run(w, SEC);
  renew(w);
  sim_run(w, within);
  assert_false(tcp_is_complete(down) || tcp_is_complete(up));
  assert_int_equal(agent_counts(w, RENEWED), routes + 1);
  assert_int_equal(agent_counts(w, DIRECT_RENEWED), n + cfg->direct);
  assert_completes(w, down, 120 * SEC);
  assert_completes(w, up, 120 * SEC);
  assert_in_range(down->end.longest_pause, 0, 700 * MS); /* in a full queue */
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_true(sim_until(w, has_one_of_each, NULL, 70 * SEC));
  assert_int_equal(agent_counts(w, "ztna_agent_tcp_lost_total"), 0);
  assert_int_equal(failovers(w), lost);
  assert_nothing_lost(w);
  sim_free(w);
}

static void renew_agent(struct sim *w) { sim_agent_renew(w, 0); }

static void
an_agent_s_new_certificate_moves_a_relayed_path_without_loss(void **state) {
  exchange_under_load(&relayed, renew_agent, 3 * SEC);
}

static void
an_agent_s_new_certificate_moves_a_direct_path_without_loss(void **state) {
  exchange_under_load(&direct, renew_agent, 3 * SEC);
}

/* As one that does not say that its certificate was exchanged. */
static void exchange_silently(struct sim *w) {
  struct sim_connector *c = &w->connectors[0];
  struct tls *former = c->tls;
  static const char *const any[] = {"*", NULL};
  int64_t now = tls_now();

  c->tls = pki_tls_at(w->pki, ROLE_CONNECTOR, c->name, any, now - 60,
                      now + w->cfg.life);
  c->core->o.tls = c->tls;
  quic_set_tls(c->core->quic, c->tls);
  tls_free(former);
}

/* The agent cannot know before: it tries in time. */
static void check_met_in_time(void (*exchange)(struct sim *w)) {
  struct sim_config cfg = direct;
  struct sim *w;

  cfg.life = 600;
  w = steady(&cfg, 100 * MS);
  cfg.life = w->cfg.life = 86400;
  sim_agent_renew(w, 0);
  sim_relay_renew(w);
  sim_run(w, SEC);
  exchange(w);
  sim_run(w, 700 * SEC);
  assert_int_equal(failovers(w), 0);
  assert_false(sim_logged(w, "certificate-expired"));
  assert_nothing_lost(w);
  sim_free(w);
}

static void renew_connector(struct sim *w) { sim_connector_renew(w, 0); }

static void a_connector_s_new_certificate_is_met_when_it_says_so(void **state) {
  check_met_in_time(renew_connector);
}

static void a_connector_s_new_certificate_is_met_in_time(void **state) {
  check_met_in_time(exchange_silently);
}

/* --- certificates of a short life --- */

static uint64_t draw(struct sim *w, uint64_t from, uint64_t to) {
  return from + seeded_u64(&w->rnd) % (to - from);
}

/* Each at two thirds of its life or a little before (host/renewal.h). */
static void live(struct sim *w, uint64_t for_ns) {
  uint64_t every = (uint64_t)w->cfg.life * SEC * 2 / 3, until = w->now + for_ns;
  uint64_t at[3] = {w->now + every / 3, w->now + every / 2, w->now + every};

  while (w->now < until) {
    int k = at[0] <= at[1] && at[0] <= at[2] ? 0 : at[1] <= at[2] ? 1 : 2;

    sim_run(w, (at[k] < until ? at[k] : until) - w->now);
    if (w->now >= until) break;
    at[k] += every - draw(w, 0, every * 3 / 20);
    if (k == 0)
      sim_agent_renew(w, 0);
    else if (k == 1)
      sim_connector_renew(w, 0);
    else
      sim_relay_renew(w);
  }
}

static void short_lived(const struct sim_config *base, int64_t life,
                        uint64_t for_ns, uint64_t every) {
  struct sim_config cfg = *base;
  struct tcp_app *keys;
  struct sim *w;
  int lost;

  cfg.life = life;
  w = steady(&cfg, every);
  lost = failovers(w);
  keys = tcp_keys(w, 0, "echo", 10 * every);
  live(w, for_ns);
  assert_int_equal(failovers(w), lost);
  tcp_keys_end(keys);
  assert_completes(w, keys, 5 * SEC);
  assert_int_equal(agent_counts(w, "ztna_agent_tcp_lost_total"), 0);
  assert_nothing_lost(w);
  sim_free(w);
}

static void an_hour_s_life_is_enough_for_a_day_relayed(void **state) {
  short_lived(&relayed, 3600, 24 * HOUR, 6 * SEC);
}

static void an_hour_s_life_is_enough_for_a_day_direct(void **state) {
  short_lived(&direct, 3600, 24 * HOUR, 6 * SEC);
}

static void a_minute_s_life_is_enough_for_ten_relayed(void **state) {
  short_lived(&relayed, 60, 600 * SEC, 50 * MS);
}

static void a_minute_s_life_is_enough_for_ten_direct(void **state) {
  short_lived(&direct, 60, 600 * SEC, 50 * MS);
}

/* Paths are made anew by what is about to end, and again a moment later. */
static void ten_seconds_life_is_enough_for_five_minutes_relayed(void **state) {
  short_lived(&relayed, 10, 300 * SEC, 50 * MS);
}

static void ten_seconds_life_is_enough_for_five_minutes_direct(void **state) {
  short_lived(&direct, 10, 300 * SEC, 50 * MS);
}

/* A path that is not on its way out showed what the connector has no more. */
static bool shows_a_former_one(struct sim *w) {
  const struct connector *c = w->connectors[0].core;

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++) {
      const struct quic_conn *q = path_conn(c->links[i]->ways.v[k]->path);

      if (c->links[i]->ways.v[k] == c->links[i]->ways.chosen && q &&
          quic_is_outdated(q))
        return true;
    }
  return false;
}

/* One that is at fault, or wants to keep its agents busy. Its last word counts.
 */
static void
a_connector_that_renews_without_end_is_not_followed_each_time(void **state) {
  struct sim *w = steady(&direct, 50 * MS);
  uint64_t n;

  for (int i = 0; i < 300; i++) {
    sim_connector_renew(w, 0);
    sim_run(w, 100 * MS);
  }
  assert_in_range(agent_counts(w, RENEWED), 4, 7);
  assert_in_range(agent_counts(w, DIRECT_RENEWED), 4, 7);
  n = agent_counts(w, RENEWED);
  sim_run(w, 6 * SEC);
  assert_int_equal(agent_counts(w, RENEWED), n + 1);
  assert_false(shows_a_former_one(w));
  sim_run(w, 60 * SEC);
  assert_int_equal(agent_counts(w, RENEWED), n + 1);
  assert_nothing_lost(w);
  sim_free(w);
}

/* --- not let in any more --- */

/* The agent reads a list that names these certificates; none: an empty one. */
static void list_at_agent(struct sim *w, const struct tls *const *v, size_t n) {
  struct sim_agent *g = &w->agents[0];
  struct ztna_identity id = pki_identity(&g->pem);
  struct sbuf crl = {0};
  char why[200] = "";

  pki_list(w->pki, v, n, &crl);
  id.crl = crl.s;
  id.crl_len = crl.len;
  assert_int_equal(
      ztna_agent_set_identity(g->core, &id, w->now, why, sizeof(why)), 0);
  sbuf_done(&crl);
}

static void revoke_connector(struct sim *w, int i) {
  const struct tls *v[] = {w->connectors[i].tls};

  list_at_agent(w, v, 1);
}

/* services[0] as the agent's status has it. */
static json_t *service_of(json_t *status) {
  json_t *j;
  size_t i;

  json_array_foreach(json_object_get(status, "services"), i, j) {
    if (!strcmp(json_string_value(json_object_get(j, "id")), "echo")) return j;
  }
  return NULL;
}

static bool says(struct sim *w, const char *object, const char *key,
                 const char *value) {
  json_t *j = status_of(w), *o = service_of(j);
  const char *text;
  bool yes;

  if (object) o = json_object_get(o, object);
  text = json_string_value(json_object_get(o, key));
  yes = text && !strcmp(text, value);
  json_decref(j);
  return yes;
}

static bool is_open(struct sim *w, void *ud) {
  return says(w, NULL, "use", "open");
}

static bool is_refused(struct sim *w, void *ud) {
  return says(w, NULL, "reason", ud);
}

/* Until questions are answered again, counted in ms. */
static unsigned gap_after(struct sim *w, uint64_t since) {
  struct app *a = app_of(w);
  uint64_t first = NEVER;

  for (uint32_t i = 0; i < a->n_asks; i++)
    if (a->asks[i].got_at && a->asks[i].sent_at > since)
      first = time_min(first, a->asks[i].got_at);
  return (unsigned)((first - since) / MS);
}

static int user_of(struct sim *w) { return w->connectors[0].n_asked ? 0 : 1; }

static void revoked_with_another_there(const struct sim_config *base) {
  struct sim_config cfg = *base;
  struct tcp_app *down;
  uint64_t at, asked;
  struct sim *w;
  int first;

  cfg.n_connectors = 2;
  w = steady(&cfg, 10 * MS);
  first = user_of(w);
  down = open_to(w, TCP_PORT, TCP_TRICKLE, 0, 60);
  sim_run(w, SEC);
  revoke_connector(w, first);
  at = w->now;
  sim_run(w, 100 * MS);
  asked = w->connectors[first].n_asked;
  assert_true(down->end.got_reset);
  assert_string_equal(down->why, "revoked");
  sim_run(w, 5 * SEC);
  assert_int_equal(w->connectors[first].n_asked, asked);
  assert_in_range(gap_after(w, at), 0, 500);
  assert_true(says(w, NULL, "use", "open"));
  assert_true(sim_logged(w, "reason=revoked"));
  assert_true(app_is_clean(app_of(w)));
  sim_free(w);
}

static void
a_revoked_connector_s_services_go_on_elsewhere_at_once(void **state) {
  revoked_with_another_there(&relayed);
}

static void a_revoked_connector_is_left_on_direct_paths_too(void **state) {
  revoked_with_another_there(&direct);
}

static unsigned count(const char *log, const char *text) {
  unsigned n = 0;

  for (; (log = strstr(log, text)); log++) n++;
  return n;
}

/* Nobody else serves it: people read why, and nobody is hammered. */
static void the_only_connector_s_revocation_is_told(void **state) {
  struct sim *w = steady(&relayed, 10 * MS);
  char connector[] = "spiffe://example.org/connector/connector-0";
  uint64_t at;

  revoke_connector(w, 0);
  assert_true(sim_until(w, is_refused, "revoked", SEC));
  assert_true(says(w, "not_let_in", "connector", connector));
  assert_true(says(w, "not_let_in", "reason", "revoked"));
  sim_log_clear(w);
  sim_run(w, 120 * SEC);
  assert_in_range(count(w->log, "path ended"), 1, 10);
  assert_in_range(count(w->log, "service refused"), 2, 20);
  list_at_agent(w, NULL, 0);
  at = w->now;
  sim_run(w, 2 * SEC);
  assert_in_range(gap_after(w, at), 0, 1000);
  assert_false(says(w, "not_let_in", "connector", connector));
  sim_free(w);
}

/* Everybody reads a list that names the agent. */
static void revoke_agent(struct sim *w) {
  pki_revoke(w->pki, &w->agents[0].pem);
  sim_relay_read(w);
  sim_connector_read(w, 0);
}

static bool is_not_ready(struct sim *w, void *ud) {
  const char *why;

  return !ztna_agent_ready(w->agents[0].core, &why) && !strcmp(why, ud);
}

static void an_agent_that_is_revoked_is_told(const struct sim_config *cfg) {
  struct sim *w = steady(cfg, 10 * MS);
  struct tcp_app *down = open_to(w, TCP_PORT, TCP_TRICKLE, 0, 60);
  uint64_t before;

  sim_run(w, SEC);
  revoke_agent(w);
  assert_true(sim_until(w, is_not_ready, "revoked", SEC));
  sim_run(w, SEC);
  assert_true(down->end.got_reset);
  assert_string_equal(down->why, "revoked");
  assert_int_equal(n_paths(w, NULL), 0);
  before = w->connectors[0].n_asked;
  sim_log_clear(w);
  sim_run(w, 300 * SEC);
  assert_int_equal(w->connectors[0].n_asked, before);
  assert_true(is_not_ready(w, "revoked"));
  assert_in_range(count(w->log, "agent: relay lost"), 5, 40);
  assert_in_range(count(w->log, "agent: path"), 0, 10);
  sim_free(w);
}

static void an_agent_that_is_revoked_is_told_relayed(void **state) {
  an_agent_that_is_revoked_is_told(&relayed);
}

static void an_agent_that_is_revoked_is_told_direct(void **state) {
  an_agent_that_is_revoked_is_told(&direct);
}

/* --- another CA --- */

enum { OLD = 1, NEW = 2 };

/* The certificate may be by either, these are trusted. */
static void trust(struct pki_pem *m, const struct sbuf ca[3], int which) {
  sbuf_done(&m->ca);
  if (which & OLD) sbuf_add(&m->ca, ca[OLD].s, ca[OLD].len);
  if (which & NEW) sbuf_add(&m->ca, ca[NEW].s, ca[NEW].len);
}

struct turn_over {
  struct sim *w;
  struct pki *old, *new;
  struct sbuf ca[3];
};

static void read_ca(struct pki *p, struct sbuf *to) {
  struct pki_pem m;

  pki_pem(p, ROLE_AGENT, "nobody", NULL, &m);
  sbuf_add(to, m.ca.s, m.ca.len);
  pki_pem_done(&m);
}

static void agent_trusts(struct turn_over *t, int which) {
  trust(&t->w->agents[0].pem, t->ca, which);
  sim_agent_read(t->w, 0);
}

static void connector_trusts(struct turn_over *t, int which) {
  trust(&t->w->connectors[0].pem, t->ca, which);
  sim_connector_read(t->w, 0);
}

static void relay_trusts(struct turn_over *t, int which) {
  trust(&t->w->relay.pem, t->ca, which);
  sim_relay_read(t->w);
}

static void all_trust(struct turn_over *t, int which) {
  relay_trusts(t, which);
  connector_trusts(t, which);
  agent_trusts(t, which);
}

/* Everybody trusts both; whoever is certified anew is so by the new one. */
static void turn_over_begin(struct turn_over *t, const struct sim_config *cfg) {
  memset(t, 0, sizeof(*t));
  t->w = steady(cfg, 10 * MS);
  t->old = t->w->pki;
  t->new = pki_new("example.org", SIM_EPOCH);
  read_ca(t->old, &t->ca[OLD]);
  read_ca(t->new, &t->ca[NEW]);
  all_trust(t, OLD | NEW);
  sim_run(t->w, 10 * SEC);
  t->w->pki = t->new;
}

static void turn_over_end(struct turn_over *t) {
  sim_free(t->w);
  pki_free(t->old);
  sbuf_done(&t->ca[OLD]);
  sbuf_done(&t->ca[NEW]);
}

/* Without a word to those who have paths to it. */
static void certify(struct turn_over *t, enum role role, const char *name,
                    struct pki_pem *m) {
  const char *const names[] = {role == ROLE_RELAY ? t->w->relay.host : "*",
                               NULL};

  pki_pem_done(m);
  pki_pem(t->new, role, name, role == ROLE_AGENT ? NULL : names, m);
  trust(m, t->ca, OLD | NEW);
}

static void certify_relay(struct turn_over *t) {
  certify(t, ROLE_RELAY, t->w->relay.node.name, &t->w->relay.pem);
  sim_relay_read(t->w);
}

static void certify_connector(struct turn_over *t) {
  certify(t, ROLE_CONNECTOR, t->w->connectors[0].name,
          &t->w->connectors[0].pem);
  sim_connector_read(t->w, 0);
}

static void certify_agent(struct turn_over *t) {
  certify(t, ROLE_AGENT, t->w->agents[0].name, &t->w->agents[0].pem);
  sim_agent_read(t->w, 0);
}

/* The connector's new certificate is there, the agent does not know it yet. */
static void agent_takes_ca_away_early(const struct sim_config *cfg) {
  struct turn_over t;
  uint64_t at;

  turn_over_begin(&t, cfg);
  certify_relay(&t);
  certify_agent(&t);
  sim_run(t.w, 20 * SEC);
  certify_connector(&t);
  at = t.w->now;
  agent_trusts(&t, NEW);
  sim_run(t.w, 3 * SEC);
  assert_true(sim_logged(t.w, "reason=bad-certificate"));
  assert_false(sim_logged(t.w, "connector not let in"));
  assert_in_range(gap_after(t.w, at), 1, 500);
  assert_true(says(t.w, NULL, "use", "open"));
  turn_over_end(&t);
}

static void
a_ca_taken_away_early_at_the_agent_costs_round_trips_relayed(void **state) {
  agent_takes_ca_away_early(&relayed);
}

static void
a_ca_taken_away_early_at_the_agent_costs_round_trips_direct(void **state) {
  agent_takes_ca_away_early(&direct);
}

/* The other way round. */
static void connector_takes_ca_away_early(const struct sim_config *cfg) {
  struct turn_over t;
  uint64_t at;

  turn_over_begin(&t, cfg);
  certify_relay(&t);
  certify_connector(&t);
  sim_run(t.w, 20 * SEC);
  certify_agent(&t);
  at = t.w->now;
  connector_trusts(&t, NEW);
  sim_run(t.w, 3 * SEC);
  assert_true(sim_logged(t.w, "reason=bad-certificate"));
  assert_in_range(gap_after(t.w, at), 1, 500);
  assert_false(sim_logged(t.w, "agent: service refused"));
  turn_over_end(&t);
}

static void
a_ca_taken_away_early_at_the_connector_costs_round_trips_relayed(void **state) {
  connector_takes_ca_away_early(&relayed);
}

static void
a_ca_taken_away_early_at_the_connector_costs_round_trips_direct(void **state) {
  connector_takes_ca_away_early(&direct);
}

/* Everybody at once, in the moment of the last certificate. */
static void all_take_ca_away_early(const struct sim_config *cfg) {
  struct turn_over t;
  uint64_t at;

  turn_over_begin(&t, cfg);
  certify_relay(&t);
  certify_agent(&t);
  sim_run(t.w, SEC);
  certify_connector(&t);
  sim_run(t.w, 20 * MS);
  at = t.w->now;
  all_trust(&t, NEW);
  sim_run(t.w, 5 * SEC);
  assert_in_range(gap_after(t.w, at), 1, 1000);
  assert_true(says(t.w, NULL, "use", "open"));
  turn_over_end(&t);
}

static void
a_ca_taken_away_early_everywhere_costs_round_trips_relayed(void **state) {
  all_take_ca_away_early(&relayed);
}

static void
a_ca_taken_away_early_everywhere_costs_round_trips_direct(void **state) {
  all_take_ca_away_early(&direct);
}

/* It has nothing else to show: asked once more, and out then. */
static void who_is_of_a_ca_that_went_is_out(const struct sim_config *cfg) {
  struct turn_over t;
  struct tcp_app *down;

  turn_over_begin(&t, cfg);
  certify_relay(&t);
  certify_agent(&t);
  sim_run(t.w, 20 * SEC);
  down = open_to(t.w, TCP_PORT, TCP_TRICKLE, 0, 60);
  sim_run(t.w, SEC);
  sim_log_clear(t.w);
  agent_trusts(&t, NEW);
  sim_run(t.w, SEC);
  assert_true(is_refused(t.w, "bad-certificate"));
  assert_true(says(t.w, "not_let_in", "reason", "bad-certificate"));
  assert_true(down->end.got_reset);
  assert_string_equal(down->why, "bad-certificate");
  sim_run(t.w, 60 * SEC);
  assert_in_range(count(t.w->log, "connector not let in"), 1, 8);
  certify_connector(&t);
  assert_true(sim_until(t.w, is_open, NULL, 35 * SEC));
  turn_over_end(&t);
}

static void who_is_of_a_ca_that_went_is_out_relayed(void **state) {
  who_is_of_a_ca_that_went_is_out(&relayed);
}

static void who_is_of_a_ca_that_went_is_out_direct(void **state) {
  who_is_of_a_ca_that_went_is_out(&direct);
}

static void end_joined_paths(struct sim *w) {
  struct connector *c = w->connectors[0].core;

  for (size_t i = 0; i < c->n_links; i++)
    for (size_t k = 0; c->links[i] && k < c->links[i]->ways.n; k++)
      if (way_is_there(c->links[i]->ways.v[k]))
        path_close(c->links[i]->ways.v[k]->path, REASON_BAD_CERTIFICATE);
}

/* It lets the agent in, and then does not. */
static void
a_connector_that_ends_all_paths_so_is_asked_ever_less(void **state) {
  struct sim *w = steady(&relayed, 10 * MS);

  sim_log_clear(w);
  for (int i = 0; i < 500; i++) {
    sim_run(w, 10 * MS);
    end_joined_paths(w);
  }
  assert_in_range(count(w->log, "agent: path ended"), 3, 12);
  assert_true(sim_until(w, is_open, NULL, 35 * SEC));
  sim_free(w);
}

/* --- without a relay --- */

/* Both ends' certificates run out and are exchanged meanwhile. */
static void a_direct_path_is_made_anew_without_a_relay(void **state) {
  struct sim_config cfg = direct;
  struct sim *w;

  cfg.life = 60;
  w = steady(&cfg, 20 * MS);
  sim_relay_stop(w);
  for (int i = 0; i < 6; i++) {
    sim_run(w, 20 * SEC);
    sim_connector_renew(w, 0);
    sim_run(w, 20 * SEC);
    sim_agent_renew(w, 0);
  }
  assert_in_range(agent_counts(w, DIRECT_RENEWED), 6, 20);
  assert_nothing_lost(w);
  sim_free(w);
}

static uint64_t asked(struct sim *w) { return w->connectors[0].n_asked; }

/* Nobody renews: what is there ends with the certificate, and says so. */
static void what_runs_out_ends(const struct sim_config *base) {
  struct sim_config cfg = *base;
  uint64_t before;
  const char *why;
  struct sim *w;

  cfg.life = 60;
  w = steady(&cfg, 20 * MS);
  open_to(w, TCP_PORT, TCP_TRICKLE, 0, 600);
  sim_run(w, 60 * SEC);
  before = asked(w);
  sim_run(w, 60 * SEC);
  assert_int_equal(asked(w), before);
  assert_int_equal(n_paths(w, NULL), 0);
  assert_true(sim_logged(w, "agent: path ended"));
  assert_true(sim_logged(w, "reason=certificate-expired"));
  assert_false(ztna_agent_ready(w->agents[0].core, &why));
  assert_string_equal(why, "certificate-expired");
  assert_true(app_is_clean(app_of(w)));
  sim_free(w);
}

static void what_runs_out_ends_relayed(void **state) {
  what_runs_out_ends(&relayed);
}

static void what_runs_out_ends_direct(void **state) {
  what_runs_out_ends(&direct);
}

/* --- any world --- */

/* Each role's turn: between a third and two thirds of a life. */
static uint64_t turn(struct sim *w) {
  uint64_t life = (uint64_t)w->cfg.life * SEC;

  return draw(w, life / 3, 2 * life / 3);
}

static void live_at_random(struct sim *w, uint64_t for_ns) {
  uint64_t until = w->now + for_ns, at[3];

  for (int i = 0; i < 3; i++) at[i] = w->now + turn(w);
  for (;;) {
    int k = at[0] <= at[1] && at[0] <= at[2] ? 0 : at[1] <= at[2] ? 1 : 2;

    if (at[k] >= until) break;
    sim_run(w, at[k] - w->now);
    at[k] += turn(w);
    if (k == 0)
      sim_agent_renew(w, 0);
    else if (k == 1)
      sim_connector_renew(w, 0);
    else
      sim_relay_renew(w);
  }
  sim_run(w, until - w->now);
}

static struct sim_config any_config(uint64_t seed) {
  static const char *const classes[] = {
      NULL, "public", "port-restricted", "full-cone", "sym-random", "cgn"};
  struct sim_config cfg = {
      .seed = seed, .n_agents = 1, .n_connectors = 1, .tcp = true};
  struct seeded r;

  seeded_init(&r, seed);
  cfg.life = (int64_t)(60 + seeded_u64(&r) % 120);
  cfg.n_relays = (int)(1 + seeded_u64(&r) % 2);
  cfg.delay = MS + seeded_u64(&r) % (30 * MS);
  cfg.agent_class = classes[seeded_u64(&r) % 6];
  cfg.connector_class =
      cfg.agent_class ? classes[1 + seeded_u64(&r) % 5] : NULL;
  cfg.direct = cfg.agent_class;
  return cfg;
}

/* What a line loses is lost: of echoes there and back. */
static bool few_are_lost(const struct app *a, double loss) {
  double most = loss ? 10 + 5 * loss * a->n_asks : 0;

  return a->n_asks - a->n_got <= most && app_is_clean(a);
}

static bool lives_through(uint64_t seed) {
  struct sim_config cfg = any_config(seed);
  double loss = seed % 3 ? 0 : 0.01;
  struct sim *w = ready(&cfg);
  struct app *a = app_of(w);
  struct tcp_app *keys, *down;
  bool ok;

  w->agents[0].node.host->up.loss = w->agents[0].node.host->down.loss = loss;
  app_steady(a, "echo", false, 100 * MS);
  sim_run(w, 2 * SEC);
  keys = tcp_keys(w, 0, "echo", 500 * MS);
  down = open_to(w, TCP_PORT, TCP_TRICKLE, 0, 3 * (uint64_t)cfg.life);
  live_at_random(w, 4 * (uint64_t)cfg.life * SEC);
  tcp_keys_end(keys);
  app_steady(a, "echo", false, 0);
  sim_run(w, SEC);
  ok = sim_until(w, is_complete, keys, 30 * SEC) &&
       sim_until(w, is_complete, down, 30 * SEC) && tcp_is_clean(w) &&
       few_are_lost(a, loss) && !sim_logged(w, "service refused");
  if (!ok) {
    print_error("seed %d: %d of %d echoes, loss %g, %s and %s\n", (int)seed,
                (int)a->n_got, (int)a->n_asks, loss,
                cfg.agent_class ? cfg.agent_class : "no box",
                cfg.connector_class ? cfg.connector_class : "no box");
    print_unanswered(a);
    explain(keys);
    explain(down);
  }
  sim_free(w);
  return ok;
}

static void any_world_lives_through_many_lives_of_certificates(void **state) {
  const char *seeds = getenv("ZTNA_SEEDS"), *one = getenv("ZTNA_SEED");
  int n = seeds ? atoi(seeds) : getenv("ZTNA_LONG") ? 100 : 8, n_bad = 0;

  if (one) {
    assert_true(lives_through(strtoull(one, NULL, 10)));
    return;
  }
  for (int i = 0; i < n; i++) n_bad += !lives_through(1000 + (uint64_t)i);
  assert_int_equal(n_bad, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(an_agent_s_new_certificate_moves_a_relayed_path_without_loss),
      TEST(an_agent_s_new_certificate_moves_a_direct_path_without_loss),
      TEST(a_connector_s_new_certificate_is_met_when_it_says_so),
      TEST(a_connector_s_new_certificate_is_met_in_time),
      TEST(an_hour_s_life_is_enough_for_a_day_relayed),
      TEST(an_hour_s_life_is_enough_for_a_day_direct),
      TEST(a_minute_s_life_is_enough_for_ten_relayed),
      TEST(a_minute_s_life_is_enough_for_ten_direct),
      TEST(ten_seconds_life_is_enough_for_five_minutes_relayed),
      TEST(ten_seconds_life_is_enough_for_five_minutes_direct),
      TEST(a_connector_that_renews_without_end_is_not_followed_each_time),
      TEST(a_revoked_connector_s_services_go_on_elsewhere_at_once),
      TEST(a_revoked_connector_is_left_on_direct_paths_too),
      TEST(the_only_connector_s_revocation_is_told),
      TEST(an_agent_that_is_revoked_is_told_relayed),
      TEST(an_agent_that_is_revoked_is_told_direct),
      TEST(a_ca_taken_away_early_at_the_agent_costs_round_trips_relayed),
      TEST(a_ca_taken_away_early_at_the_agent_costs_round_trips_direct),
      TEST(a_ca_taken_away_early_at_the_connector_costs_round_trips_relayed),
      TEST(a_ca_taken_away_early_at_the_connector_costs_round_trips_direct),
      TEST(a_ca_taken_away_early_everywhere_costs_round_trips_relayed),
      TEST(a_ca_taken_away_early_everywhere_costs_round_trips_direct),
      TEST(who_is_of_a_ca_that_went_is_out_relayed),
      TEST(who_is_of_a_ca_that_went_is_out_direct),
      TEST(a_connector_that_ends_all_paths_so_is_asked_ever_less),
      TEST(a_direct_path_is_made_anew_without_a_relay),
      TEST(what_runs_out_ends_relayed),
      TEST(what_runs_out_ends_direct),
      TEST(any_world_lives_through_many_lives_of_certificates),
  };

  if (getenv("ZTNA_TEST")) cmocka_set_test_filter(getenv("ZTNA_TEST"));
  return cmocka_run_group_tests(tests, NULL, NULL);
}
