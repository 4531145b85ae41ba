/* relay_keys.c - see relay_keys.h. */
#include "relay_keys.h"

#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "base/log.h"
#include "base/utc.h"
#include "host/clock.h"
#include "transport/seal.h"

/* The beginning of a key's hash: enough for people to see whether two relays
 * have the same, of no use to who wants the key. */
static void name_key(char id[9], const uint8_t key[QUIC_RETRY_KEY_LEN]) {
  uint8_t hash[SEAL_HASH];
  seal_hash(hash, key, QUIC_RETRY_KEY_LEN);
  hex_print(hash, 4, id);
}

static int take(struct relay_keys *k) {
  struct retry_keys keys;
  int rc = retry_keys_load(&keys, k->file, k->error);
  k->is_bad = rc < 0;
  if (rc < 0) return rc;
  relay_set_retry_keys(k->relay, keys.key, keys.n);
  k->n = keys.n;
  for (size_t i = 0; i < keys.n; i++) name_key(k->ids[i], keys.key[i]);
  k->loaded_at = (int64_t)(clock_wall() / SEC);
  retry_keys_wipe(&keys);
  return 0;
}

int relay_keys_load(struct relay_keys *k, const char *file,
                    struct relay *relay) {
  k->file = file;
  k->relay = relay;
  int rc = file ? take(k) : 0;
  if (rc < 0) fprintf(stderr, "%s\n", k->error);
  return rc;
}

/* --- again */

void relay_keys_reload(struct relay_keys *k) {
  if (!k->file) return;
  if (take(k) == 0) {
    k->n_reloads++;
    log_info("relay: retry keys reloaded file=%s keys=%zu first=%s", k->file,
             k->n, k->ids[0]);
    return;
  }
  k->n_failures++;
  log_err("relay: %s", k->error);
  log_err("relay: not reloaded, the former retry keys stay in force file=%s",
          k->file);
}

static void on_change(void *ctx) {
  struct relay_keys *k = ctx;
  host_enter(k->role);
  relay_keys_reload(k);
}

void relay_keys_start(struct relay_keys *k, struct host_role *role,
                      uv_loop_t *loop) {
  k->role = role;
  if (k->file) k->watch = watch_new(loop, k->file, on_change, k);
}

void relay_keys_stop(struct relay_keys *k) {
  watch_free(k->watch);
  k->watch = NULL;
}

/* --- asked by people */

json_t *relay_keys_status(const struct relay_keys *k) {
  char at[UTC_STRLEN];
  if (!k->file) return json_null();
  json_t *ids = json_array();
  for (size_t i = 0; i < k->n; i++)
    json_array_append_new(ids, json_string(k->ids[i]));
  json_t *j = json_pack("{s:s, s:s, s:o, s:b, s:I, s:I}", "file", k->file,
                        "loaded_at", utc_print(k->loaded_at, at), "keys", ids,
                        "ok", !k->is_bad, "reloads", (json_int_t)k->n_reloads,
                        "failures", (json_int_t)k->n_failures);
  json_object_set_new(j, "last_error",
                      k->is_bad ? json_string(k->error) : json_null());
  return j;
}

void relay_keys_metrics(const struct relay_keys *k, struct sbuf *out) {
  if (!k->file) return;
  sbuf_printf(
      out,
      "# HELP ztna_relay_retry_keys_ok 1 when the file of Retry keys as it is "
      "now is in force\n"
      "# TYPE ztna_relay_retry_keys_ok gauge\n"
      "ztna_relay_retry_keys_ok %d\n"
      "# HELP ztna_relay_retry_keys keys in force\n"
      "# TYPE ztna_relay_retry_keys gauge\n"
      "ztna_relay_retry_keys %zu\n"
      "# HELP ztna_relay_retry_keys_loaded_seconds when they were loaded, "
      "since 1970\n"
      "# TYPE ztna_relay_retry_keys_loaded_seconds gauge\n"
      "ztna_relay_retry_keys_loaded_seconds %lld\n"
      "# HELP ztna_relay_retry_keys_reloads_total times others were taken "
      "over\n"
      "# TYPE ztna_relay_retry_keys_reloads_total counter\n"
      "ztna_relay_retry_keys_reloads_total %llu\n"
      "# HELP ztna_relay_retry_keys_reload_failures_total times the file was "
      "bad\n"
      "# TYPE ztna_relay_retry_keys_reload_failures_total counter\n"
      "ztna_relay_retry_keys_reload_failures_total %llu\n",
      !k->is_bad, k->n, (long long)k->loaded_at,
      (unsigned long long)k->n_reloads, (unsigned long long)k->n_failures);
}
