/* relay_keys.h - the Retry keys of a running relay: read again when their file
 * changes or SIGHUP comes. A file with a mistake changes nothing. */
#ifndef ZTNA_APPLETS_RELAY_KEYS_H
#define ZTNA_APPLETS_RELAY_KEYS_H

#include <jansson.h>

#include "base/sbuf.h"
#include "host/loop.h"
#include "host/retry_keys.h"
#include "host/watch.h"
#include "role/relay.h"

struct relay_keys {
  const char *file; /* lent; NULL: none is configured */
  struct relay *relay;
  struct host_role *role;
  struct watch *watch;
  size_t n;                     /* of what is in force */
  char ids[QUIC_RETRY_KEYS][9]; /* tell keys apart without telling them */
  int64_t loaded_at;            /* seconds since 1970 */
  bool is_bad;                  /* the file as it is now; error says why */
  char error[RETRY_KEYS_WHY];
  uint64_t n_reloads, n_failures;
};

/* Gives the relay the keys of its file (NULL: nothing to do). The mistake goes
 * to stderr. 0, ZTNA_ECONFIG or ZTNA_EIO. */
int relay_keys_load(struct relay_keys *k, const char *file,
                    struct relay *relay);
/* Watches the file from now on. */
void relay_keys_start(struct relay_keys *k, struct host_role *role,
                      uv_loop_t *loop);
/* Before the loop ends. Zeroed is fine. */
void relay_keys_stop(struct relay_keys *k);
/* SIGHUP. */
void relay_keys_reload(struct relay_keys *k);

json_t *relay_keys_status(const struct relay_keys *k);
void relay_keys_metrics(const struct relay_keys *k, struct sbuf *out);

#endif
