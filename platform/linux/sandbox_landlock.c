/* sandbox_landlock.c - which files, and that no TCP port is opened. Landlock
 * only ever grants: what no rule names is out of reach. By its system calls and
 * with numbers of our own, since headers are older than kernels. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox_int.h"

enum {
  NR_CREATE_RULESET = 444, /* the same on all machines */
  NR_ADD_RULE,
  NR_RESTRICT_SELF,
  ASK_VERSION = 1, /* a flag of the first */
  PATH_BENEATH = 1,
};

/* Rights, by the version that brought them. */
#define FS_WRITE_FILE (1ULL << 1)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_REG (1ULL << 8)
#define FS_TRUNCATE (1ULL << 14) /* version 3 */
#define FS_VERSION_1 ((1ULL << 13) - 1)
#define FS_REFER (1ULL << 13)     /* 2 */
#define FS_IOCTL_DEV (1ULL << 15) /* 5 */
#define NET_BIND_TCP 1ULL         /* 4 */
#define NET_CONNECT_TCP 2ULL      /* 4 */
#define SCOPE_ABSTRACT_UNIX 1ULL  /* 6 */
#define SCOPE_SIGNAL 2ULL         /* 6 */

#define FOR_READING (FS_READ_FILE | FS_READ_DIR)
#define FOR_WRITING \
  (FOR_READING | FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_TRUNCATE)
#define OF_FILES (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset_attr {
  uint64_t fs, net, scoped;
};

struct path_attr {
  uint64_t rights;
  int32_t parent;
} __attribute__((packed));

struct ruleset {
  int fd, version;
  uint64_t fs;
};

static uint64_t fs_of(int version) {
  return FS_VERSION_1 | (version >= 2 ? FS_REFER : 0) |
         (version >= 3 ? FS_TRUNCATE : 0) | (version >= 5 ? FS_IOCTL_DEV : 0);
}

/* Sockets that listen are open already; a relay begins no connection. */
static int ruleset_make(struct ruleset *s, const struct sandbox_plan *plan) {
  struct ruleset_attr a = {.fs = fs_of(s->version)};
  size_t len = s->version >= 6   ? sizeof(a)
               : s->version >= 4 ? offsetof(struct ruleset_attr, scoped)
                                 : offsetof(struct ruleset_attr, net);

  a.net = NET_BIND_TCP | (sandbox_is_asked(plan->role) ? NET_CONNECT_TCP : 0);
  a.scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL;
  s->fs = a.fs;
  s->fd = (int)syscall(NR_CREATE_RULESET, &a, len, 0);
  return s->fd;
}

static void allow_fd(const struct ruleset *s, int fd, uint64_t rights) {
  struct stat st;
  struct path_attr a = {.rights = rights & s->fs, .parent = fd};

  if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)) a.rights &= OF_FILES;
  syscall(NR_ADD_RULE, s->fd, PATH_BENEATH, &a, 0);
}

/* What is not there needs no rule. */
static void allow(const struct ruleset *s, const char *name, uint64_t rights) {
  int fd = open(name, O_PATH | O_CLOEXEC);

  if (fd < 0) return;
  allow_fd(s, fd, rights);
  close(fd);
}

static void allow_directory_of(const struct ruleset *s, const char *name,
                               uint64_t rights) {
  char copy[PATH_MAX];

  snprintf(copy, sizeof(copy), "%s", name);
  allow(s, dirname(copy), rights);
}

static bool is_directory(const char *name) {
  struct stat st;
  return stat(name, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where a link leads to as well: that is where tools replace files. */
static void allow_path(const struct ruleset *s, const struct sandbox_path *p) {
  uint64_t rights = p->write ? FOR_WRITING : FOR_READING;
  char real[PATH_MAX];

  if (is_directory(p->name)) {
    allow(s, p->name, rights);
    return;
  }
  allow_directory_of(s, p->name, rights);
  if (realpath(p->name, real)) allow_directory_of(s, real, rights);
}

/* resolv.conf is replaced when the network changes, so an ordinary user, from
 * whom file modes keep what is secret there, gets all of /etc. Root gets the
 * files as they are now, and the directory that a link leads to. */
static void allow_names(const struct ruleset *s) {
  static const char *const files[] = {
      "/etc/resolv.conf", "/etc/hosts",     "/etc/nsswitch.conf",
      "/etc/host.conf",   "/etc/gai.conf",  "/etc/services",
      "/etc/protocols",   "/etc/localtime", "/etc/ld.so.cache"};
  char real[PATH_MAX];

  for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
    allow(s, files[i], FS_READ_FILE);
  if (geteuid() != 0) allow(s, "/etc", FOR_READING);
  if (realpath("/etc/resolv.conf", real) && strncmp(real, "/etc/", 5) != 0)
    allow_directory_of(s, real, FOR_READING);
  allow(s, "/proc", FS_READ_FILE); /* net/route: where the router is */
}

static void add_rules(const struct ruleset *s, const struct sandbox_plan *plan,
                      const struct sandbox_names *names) {
  allow(s, "/dev/null", FS_READ_FILE | FS_WRITE_FILE);
  allow(s, "/dev/urandom", FS_READ_FILE);
  if (names->used) allow_names(s);
  if (SANDBOX_SANITIZER) allow(s, "/proc", FOR_READING);
  for (size_t i = 0; i < plan->n_paths; i++) allow_path(s, &plan->paths[i]);
}

static void say_why_not(struct sandbox_layer *l, int err) {
  if (err == ENOSYS)
    SAY(l, "this kernel has no Landlock (5.13 does)");
  else if (err == EOPNOTSUPP)
    SAY(l, "this kernel was started without Landlock (lsm=landlock,...)");
  else
    SAY(l, "%s", strerror(err));
}

void sandbox_landlock(const struct sandbox_plan *plan,
                      const struct sandbox_names *names,
                      struct sandbox_layer *l) {
  struct ruleset s = {.fd = -1};

  if (!plan->landlock) {
    SAY(l, "switched off by sandbox.landlock");
    return;
  }
  s.version = (int)syscall(NR_CREATE_RULESET, NULL, 0, ASK_VERSION);
  if (s.version < 1 || ruleset_make(&s, plan) < 0) {
    say_why_not(l, errno);
    return;
  }
  add_rules(&s, plan, names);
  l->in_force = syscall(NR_RESTRICT_SELF, s.fd, 0) == 0;
  if (l->in_force)
    SAY(l, "version %d", s.version);
  else
    say_why_not(l, errno);
  close(s.fd);
}
