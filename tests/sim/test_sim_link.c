/* test_sim_link.c - the end of a path meets what is on its way to and from the
 * relay. */
#include "unit/unit.h"

#include "sim/evil.h"

static bool is_open(struct sim *w, void *ud) {
  const struct evil *e = ud;

  return e->live && e->context;
}

static bool is_registered(struct sim *w, void *ud) {
  return ((struct evil *)ud)->registered;
}

/* The connector closes a context, so that the agent asks the relay, and the
 * path, so that the agent gives the route back: the answer names a route that
 * is no more. */
static void
a_grant_of_a_route_that_was_given_back_is_asked_for_anew(void **state) {
  static const char *const any[] = {"*", NULL};
  struct sim_config cfg = {.seed = 1, .n_agents = 1};
  struct sim *w = sim_new(&cfg);
  struct evil *e =
      evil_new(w, ROLE_CONNECTOR, "trudy", any, "192.0.2.66:6666", NULL);

  evil_serve(e, "echo");
  assert_true(sim_until(w, is_registered, e, 5 * SEC));
  sim_run(w, SEC);
  assert_true(app_udp(&w->agents[0].app, "echo", false, 64));
  assert_true(sim_until(w, is_open, e, SEC));
  sim_run(w, 100 * MS);
  evil_say(e, json_pack("{s:s, s:i, s:s}", "type", "close", "context",
                        (int)e->context, "reason", "expired"));
  e->node.drain(&e->node);
  e->context = 0;
  path_close(e->path, REASON_IDLE);
  e->node.drain(&e->node);
  sim_log_clear(w);
  assert_true(sim_until(w, is_open, e, SEC));
  assert_false(sim_logged(w, "unsupported-version"));
  evil_free(e);
  sim_free(w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(a_grant_of_a_route_that_was_given_back_is_asked_for_anew),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
