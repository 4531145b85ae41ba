/* connector_health.c - see connector_health.h. */
#include "role/connector_health.h"

#include <stdio.h>
#include <string.h>

#include "base/time.h"

void health_init(struct health *h, const struct health_rule *rule,
                 uint64_t now) {
  memset(h, 0, sizeof(*h));
  h->rule = *rule;
  h->since = now;
  h->state = rule->every ? HEALTH_STARTING : HEALTH_UP;
  h->next_at = rule->every ? now : NEVER;
}

bool health_rule_is(const struct health *h, const struct health_rule *rule) {
  return h->rule.every == rule->every && h->rule.timeout == rule->timeout &&
         h->rule.fail_after == rule->fail_after &&
         h->rule.pass_after == rule->pass_after;
}

void health_change(struct health *h, const struct health_rule *rule,
                   uint64_t now) {
  h->rule = *rule;
  h->running = false;
  h->n_row = 0;
  h->next_at = rule->every ? now : NEVER;
  if (rule->every || h->state == HEALTH_UP) return;
  h->state = HEALTH_UP;
  h->since = now;
}

void health_hurry(struct health *h, uint64_t now) {
  if (h->rule.every) h->next_at = now;
}

bool health_begin(struct health *h, uint64_t now) {
  if (h->running || now < h->next_at) return false;
  h->running = true;
  h->begun_at = now;
  h->next_at = now + h->rule.every;
  return true;
}

static void become(struct health *h, uint64_t now, int state) {
  h->state = state;
  h->since = now;
  h->n_row = 0;
}

/* The first result decides at once: nothing is known that it would have to
 * outweigh. */
static uint32_t needed(const struct health *h) {
  uint32_t n = h->state == HEALTH_UP ? h->rule.fail_after : h->rule.pass_after;

  return h->state == HEALTH_STARTING || !n ? 1 : n;
}

bool health_end(struct health *h, uint64_t now, const char *error) {
  bool up = health_is_up(h);

  if (!h->running) return false;
  h->running = false;
  h->took = now - h->begun_at;
  snprintf(h->error, sizeof(h->error), "%s", error ? error : "");
  if (error)
    h->n_failed++;
  else
    h->n_passed++;
  if (h->state != HEALTH_STARTING && up == !error) {
    h->n_row = 0;
    return false;
  }
  if (++h->n_row < needed(h)) {
    /* Is it true? Soon known. */
    if (up && h->next_at > h->begun_at + h->rule.every / 2)
      h->next_at = h->begun_at + h->rule.every / 2;
    return false;
  }
  become(h, now, error ? HEALTH_DOWN : HEALTH_UP);
  return up != health_is_up(h);
}

bool health_tick(struct health *h, uint64_t now, bool *changed) {
  char text[64];

  *changed = false;
  if (!h->running || now < h->begun_at + h->rule.timeout) return false;
  snprintf(text, sizeof(text), "no answer within %llu ms",
           (unsigned long long)(h->rule.timeout / MS));
  *changed = health_end(h, now, text);
  return true;
}

uint64_t health_deadline(const struct health *h) {
  return h->running ? h->begun_at + h->rule.timeout : h->next_at;
}

bool health_is_up(const struct health *h) { return h->state == HEALTH_UP; }

const char *health_name(const struct health *h) {
  return health_is_up(h) ? "up" : "down";
}

void health_status(const struct health *h, uint64_t now, json_t *into) {
  json_object_set_new(into, "health", json_string(health_name(h)));
  if (!h->rule.every) return;
  json_object_set_new(into, "health_since_ms",
                      json_integer((json_int_t)((now - h->since) / MS)));
  if (h->state == HEALTH_STARTING)
    json_object_set_new(into, "error", json_string("not checked yet"));
  else
    json_object_set_new(into, "error", json_string(h->error));
  json_object_set_new(into, "check_ms",
                      json_real((double)h->took / (double)MS));
  json_object_set_new(into, "checks_passed",
                      json_integer((json_int_t)h->n_passed));
  json_object_set_new(into, "checks_failed",
                      json_integer((json_int_t)h->n_failed));
}
