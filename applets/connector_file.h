/* connector_file.h - the configuration file of a running connector: read again
 * when it changes or SIGHUP comes. A file with mistakes changes nothing. */
#ifndef ZTNA_APPLETS_CONNECTOR_FILE_H
#define ZTNA_APPLETS_CONNECTOR_FILE_H

#include <jansson.h>

#include "applet.h"
#include "host/connector_host.h"
#include "host/identity_file.h"
#include "host/watch.h"

struct connector_file {
  const struct applet_call *call; /* its config is kept up to date */
  struct identity_file *identity;
  struct connector_host *host;
  struct watch *watch;
  bool is_bad;        /* the file; error says why */
  uint64_t loaded_at; /* what is in force */
  uint64_t n_reloads, n_failures, n_mistakes;
  char error[512];     /* the first mistake */
  struct sbuf restart; /* what changed since the start and is not in force */
};

/* Adds a line for each service that the certificate does not name. */
void connector_file_judge(const struct applet_call *call,
                          const struct config *c, const struct tls *tls,
                          struct sbuf *out);
/* The host has started. All is lent; the files of identity are followed, too.
 */
void connector_file_start(struct connector_file *f,
                          const struct applet_call *call,
                          struct identity_file *identity,
                          struct connector_host *host, uv_loop_t *loop);
/* Before the loop ends. Zeroed is fine. */
void connector_file_stop(struct connector_file *f);

json_t *connector_file_status(const struct connector_file *f);
void connector_file_metrics(const struct connector_file *f, struct sbuf *out);

#endif
