/* sandbox_user.c - an ordinary user, and capabilities. */
#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox_int.h"

/* --- capabilities */

struct caps {
  struct __user_cap_header_struct head;
  struct __user_cap_data_struct v[2];
};

/* By the system call: libcap would be one more library for ten lines. */
static int caps_get(struct caps *c) {
  memset(c, 0, sizeof(*c));
  c->head.version = _LINUX_CAPABILITY_VERSION_3;
  return (int)syscall(SYS_capget, &c->head, c->v);
}

static void keep_only(struct caps *c, bool net_admin) {
  uint32_t kept = net_admin ? 1U << CAP_NET_ADMIN : 0;

  c->v[0].permitted &= kept;
  c->v[0].effective = c->v[0].permitted;
  c->v[1].permitted = c->v[1].effective = 0;
  c->v[0].inheritable = c->v[1].inheritable = 0;
}

/* Who became another user has them, but not in force. */
static void keep_all(void) {
  struct caps c;

  if (caps_get(&c) < 0) return;
  c.v[0].effective = c.v[0].permitted;
  c.v[1].effective = c.v[1].permitted;
  syscall(SYS_capset, &c.head, c.v);
}

void sandbox_bound(const struct sandbox_plan *plan) {
  if (!plan->capabilities) return;
  for (int cap = 0; cap < 64; cap++)
    if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
      prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* fails for ordinary users */
}

void sandbox_capabilities(const struct sandbox_plan *plan,
                          struct sandbox_layer *l) {
  struct caps c;

  if (!plan->capabilities) {
    SAY(l, "switched off by sandbox.capabilities");
    keep_all();
    return;
  }
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  l->in_force = caps_get(&c) == 0;
  keep_only(&c, plan->keep_net_admin);
  l->in_force = l->in_force && syscall(SYS_capset, &c.head, c.v) == 0;
  if (!l->in_force)
    SAY(l, "%s", strerror(errno));
  else
    SAY(l,
        c.v[0].permitted ? "CAP_NET_ADMIN alone, for the TUN device" : "none");
}

/* --- the user */

static int become(const struct passwd *u) {
  if (initgroups(u->pw_name, u->pw_gid) < 0 ||
      setresgid(u->pw_gid, u->pw_gid, u->pw_gid) < 0 ||
      setresuid(u->pw_uid, u->pw_uid, u->pw_uid) < 0)
    return -1;
  return 0;
}

static bool is_closed(const struct sandbox_path *p) {
  char copy[PATH_MAX];

  snprintf(copy, sizeof(copy), "%s", p->name);
  if (access(p->name, p->write ? R_OK | W_OK : R_OK) < 0 && errno != ENOENT)
    return true;
  return p->write && access(dirname(copy), W_OK | X_OK) < 0;
}

static bool is_directory(const char *name) {
  struct stat st;
  return stat(name, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Tokens are marked in it all the time; what else is a directory is read at the
 * start, or holds nothing that is opened again. */
static bool is_out_of_reach(const struct sandbox_plan *plan,
                            const struct sandbox_path *p) {
  if (!is_directory(p->name)) return is_closed(p);
  return plan->role == SANDBOX_ENROLL && p->write &&
         access(p->name, R_OK | W_OK | X_OK) < 0;
}

/* The first file that the user could not open, or could not replace; NULL: all
 * can be. Asked in a process of its own: there is no way back from another
 * user. */
static const struct sandbox_path *not_for(const struct sandbox_plan *plan,
                                          const struct passwd *u) {
  int status = 0;
  pid_t child = fork();

  if (child < 0) return NULL;
  if (child == 0) {
    size_t i = become(u) < 0 ? plan->n_paths : 0;

    for (; i < plan->n_paths && i < 200; i++)
      if (is_out_of_reach(plan, &plan->paths[i])) _exit((int)i + 1);
    _exit(0);
  }
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!WIFEXITED(status) || !WEXITSTATUS(status)) return NULL;
  return &plan->paths[WEXITSTATUS(status) - 1];
}

/* Capabilities outlive the change: which of them stay is decided after it. */
static void change_to(const struct passwd *u, struct sandbox_layer *l) {
  prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  l->in_force = become(u) == 0;
  if (l->in_force)
    SAY(l, "%s", u->pw_name);
  else
    SAY(l, "root: cannot become %s: %s", u->pw_name, strerror(errno));
  prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0);
}

/* Policies, lists of revoked certificates and keys are read again while it
 * runs. That they could not be would be worse than the user. */
static void root(const struct sandbox_plan *plan, struct sandbox_layer *l) {
  const struct passwd *u;
  const struct sandbox_path *closed;

  if (!plan->user || !*plan->user) {
    SAY(l, "root: switched off by sandbox.user");
    return;
  }
  u = getpwnam(plan->user);
  if (!u || u->pw_uid == 0) {
    SAY(l, "root: there is no user %.60s on this machine", plan->user);
    return;
  }
  closed = not_for(plan, u);
  if (closed)
    SAY(l, "root: %.60s may not %s %.120s, which it would later: chown it",
        plan->user, closed->write ? "write" : "read", closed->name);
  else
    change_to(u, l);
}

void sandbox_user(const struct sandbox_plan *plan, struct sandbox_layer *l) {
  if (geteuid() == 0) {
    root(plan, l);
    return;
  }
  l->in_force = true;
  SAY(l, "uid %u, as it was started", (unsigned)geteuid());
}
