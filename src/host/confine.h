/* confine.h - the sandbox of a running role (platform/sandbox.h) as configured,
 * and what came of it. There is one per process. */
#ifndef ZTNA_HOST_CONFINE_H
#define ZTNA_HOST_CONFINE_H

#include <jansson.h>

#include "host/config.h"

/* Before any key is read. */
void confine_begin(void);
/* Once sockets and devices are open, and before host_run: names are looked up
 * in threads only from there on. What is to belong to the user, or begins a
 * thread (the audit log), comes after it. role: its CONFIG_ bit. file: of the
 * configuration, or NULL. Files that the configuration names stay within reach,
 * with their directories. has_tun: an agent's. Each layer that is not in force
 * is logged. */
void confine(const struct config *c, unsigned role, const char *file,
             bool has_tun);
/* {"user": {"in_force": true, "detail": "ztna"}, ...} */
json_t *confine_status(void);

#endif
