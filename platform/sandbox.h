/* sandbox.h - what a running role gives up once its sockets, files and devices
 * are open, so that code which was subverted gets no further: its user, its
 * capabilities, most system calls, most of the file system. What the system
 * cannot do is left out and said; nothing here keeps a role from starting. */
#ifndef ZTNA_PLATFORM_SANDBOX_H
#define ZTNA_PLATFORM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

enum sandbox_role {
  SANDBOX_RELAY,
  SANDBOX_CONNECTOR,
  SANDBOX_AGENT,
  SANDBOX_ENROLL
};
/* It looks no names up and opens no sockets: others come to it. */
static inline bool sandbox_is_asked(enum sandbox_role r) {
  return r == SANDBOX_RELAY || r == SANDBOX_ENROLL;
}

/* A file that is opened again later, or a directory. What replaces a file is
 * another one, so its directory is what stays within reach. */
struct sandbox_path {
  const char *name;
  bool write; /* files are made, written and removed beneath it, or beside it */
};

struct sandbox_plan {
  enum sandbox_role role;
  bool keep_net_admin; /* for a TUN's addresses and routes */
  const char *user;    /* to become when root starts it; NULL or "": stay */
  bool capabilities, seccomp, landlock; /* false: leave as it is */
  const struct sandbox_path *paths;
  size_t n_paths;
};

enum { SANDBOX_WHY = 256 };

/* why: what exactly, or why it is not in force. */
struct sandbox_layer {
  bool in_force;
  char why[SANDBOX_WHY];
};

struct sandbox_report {
  struct sandbox_layer user;         /* an ordinary one */
  struct sandbox_layer capabilities; /* none, or CAP_NET_ADMIN alone */
  struct sandbox_layer no_new_privileges;
  struct sandbox_layer seccomp;
  struct sandbox_layer landlock;
  struct sandbox_layer core_dumps; /* in force: there are none */
};

/* Before any key is read: no core dumps, files that are made are private, and
 * libraries use no system calls that would be gone later. */
void sandbox_begin(void);
/* After sandbox_begin, while there is one thread only: capabilities and
 * Landlock are a thread's own, and its children's. */
void sandbox_enter(const struct sandbox_plan *plan, struct sandbox_report *r);

#endif
