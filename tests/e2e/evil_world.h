/* evil_world.h - the hostile peers of the simulator (sim/evil.c, sim/liar.c) on
 * a real socket and the real clock, against the real programs: what they know
 * as the simulated world is one node, one socket and certificates in files. */
#ifndef ZTNA_TESTS_EVIL_WORLD_H
#define ZTNA_TESTS_EVIL_WORLD_H

#include "sim/world.h"

/* dir: of the certificates; local: of the socket; relay: whom agents and
 * connectors dial. Ends the process when something is not there. */
struct sim *evil_world(const char *dir, const char *local, const char *relay);
/* DIR/ROLE-NAME.pem and .key, trusting DIR/ca.pem. */
struct tls *evil_tls(enum role role, const char *name);

#endif
