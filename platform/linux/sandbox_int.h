/* sandbox_int.h - what the files sandbox*.c share. */
#ifndef ZTNA_PLATFORM_LINUX_SANDBOX_INT_H
#define ZTNA_PLATFORM_LINUX_SANDBOX_INT_H

#include "../sandbox.h"

/* AddressSanitizer looks for leaks from a second process that traces us. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZER 1
#else
#define SANDBOX_SANITIZER 0
#endif

#define SAY(layer, ...) snprintf((layer)->why, SANDBOX_WHY, __VA_ARGS__)

/* Roles that look up names; what their look-ups need beside DNS and files. */
struct sandbox_names {
  bool used;
  bool sockets; /* of AF_UNIX, to a service on this machine */
};

/* Loads what the C library would load at the first look-up: no code is mapped
 * later. */
struct sandbox_names sandbox_names_load(enum sandbox_role role);

void sandbox_user(const struct sandbox_plan *plan, struct sandbox_layer *l);
/* The bounding set must shrink while the user may, so before sandbox_user. */
void sandbox_bound(const struct sandbox_plan *plan);
void sandbox_capabilities(const struct sandbox_plan *plan,
                          struct sandbox_layer *l);
void sandbox_landlock(const struct sandbox_plan *plan,
                      const struct sandbox_names *names,
                      struct sandbox_layer *l);
void sandbox_seccomp(const struct sandbox_plan *plan,
                     const struct sandbox_names *names,
                     struct sandbox_layer *l);

#endif
