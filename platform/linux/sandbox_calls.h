/* sandbox_calls.h - which system calls a running role makes, by name: a library
 * or machine that lacks one passes over it. */
#ifndef ZTNA_PLATFORM_LINUX_SANDBOX_CALLS_H
#define ZTNA_PLATFORM_LINUX_SANDBOX_CALLS_H

#include "sandbox_int.h"

/* Whatever their arguments; NULL ends each list. */
extern const char *const sandbox_calls_all[];   /* every role */
extern const char *const sandbox_calls_names[]; /* agent and connector: sockets,
                                                   threads */
extern const char *const sandbox_calls_sanitizer[];
/* Only an attack makes these: they end the process. */
extern const char *const sandbox_calls_fatal[];

struct sandbox_option {
  int level, name;
};

/* Socket options that may be set; level 0, name 0 ends it. */
extern const struct sandbox_option sandbox_options[];
extern const unsigned sandbox_ioctls[]; /* 0 ends it */

#endif
