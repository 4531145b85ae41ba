/* sandbox_seccomp.c - the system calls that are left. Numbers and arguments is
 * all that a filter sees, no names behind pointers: files are Landlock's. */
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "sandbox_calls.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef CLONE_NEWCGROUP
#define CLONE_NEWCGROUP 0x02000000
#endif

/* An int's upper half is whatever was in the register. */
#define IS(arg, value) SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, 0xffffffff, value)
#define HAS(arg, mask, value) SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value)

struct filter {
  scmp_filter_ctx ctx;
  int rc; /* the first failure */
};

/* A call that this machine does not have is none to judge. */
static void rule(struct filter *f, uint32_t action, const char *name,
                 unsigned n, const struct scmp_arg_cmp *args) {
  int nr = seccomp_syscall_resolve_name(name);
  int rc;

  if (nr == __NR_SCMP_ERROR || f->rc < 0) return;
  rc = seccomp_rule_add_array(f->ctx, action, nr, n, args);
  if (rc < 0 && rc != -EDOM && rc != -EEXIST) f->rc = rc;
}

#define ALLOW(f, name, ...)                                            \
  do {                                                                 \
    const struct scmp_arg_cmp args[] = {__VA_ARGS__};                  \
    rule(f, SCMP_ACT_ALLOW, name, sizeof(args) / sizeof(*args), args); \
  } while (0)

static void each(struct filter *f, uint32_t action, const char *const *names) {
  for (; *names; names++) rule(f, action, *names, 0, NULL);
}

/* --- by their arguments */

static void memory(struct filter *f) { /* nothing that was written is run */
  ALLOW(f, "mmap", HAS(2, PROT_EXEC, 0));
  ALLOW(f, "mmap2", HAS(2, PROT_EXEC, 0));
  ALLOW(f, "mprotect", HAS(2, PROT_EXEC, 0));
}

static void itself(struct filter *f) {
  ALLOW(f, "tgkill", IS(0, (unsigned)getpid())); /* abort */
  ALLOW(f, "prlimit64", IS(0, 0), SCMP_A2(SCMP_CMP_EQ, 0));
  ALLOW(f, "prctl", IS(0, PR_SET_NAME));
}

/* clone3 hides its flags behind a pointer; the C library falls back. */
static void threads(struct filter *f) {
  const unsigned thread = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
  const unsigned spaces = CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWNET |
                          CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                          CLONE_NEWCGROUP | CLONE_NEWTIME;

  rule(f, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
  if (!SANDBOX_SANITIZER) ALLOW(f, "clone", HAS(0, thread | spaces, thread));
}

static void socket_of(struct filter *f, int family, int type, int protocol) {
  const unsigned kind = (unsigned)~(SOCK_NONBLOCK | SOCK_CLOEXEC);

  ALLOW(f, "socket", IS(0, (unsigned)family), HAS(1, kind, (unsigned)type),
        IS(2, (unsigned)protocol));
}

static void sockets(struct filter *f, const struct sandbox_plan *plan,
                    const struct sandbox_names *names) {
  static const int families[] = {AF_INET, AF_INET6};

  for (int i = 0; i < 2; i++) {
    socket_of(f, families[i], SOCK_DGRAM, 0);
    socket_of(f, families[i], SOCK_DGRAM, IPPROTO_UDP);
    socket_of(f, families[i], SOCK_STREAM, 0);
    socket_of(f, families[i], SOCK_STREAM, IPPROTO_TCP);
  }
  if (plan->role == SANDBOX_CONNECTOR) {
    socket_of(f, AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
    socket_of(f, AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6);
  }
  socket_of(f, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  socket_of(f, AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE);
  if (names->sockets) socket_of(f, AF_UNIX, SOCK_STREAM, 0);
}

static void options(struct filter *f) {
  for (const struct sandbox_option *o = sandbox_options; o->level || o->name;
       o++)
    ALLOW(f, "setsockopt", IS(1, (unsigned)o->level), IS(2, (unsigned)o->name));
  for (const unsigned *i = sandbox_ioctls; *i; i++)
    ALLOW(f, "ioctl", IS(1, *i));
}

/* --- the whole */

static void fill(struct filter *f, const struct sandbox_plan *plan,
                 const struct sandbox_names *names) {
  each(f, SCMP_ACT_ALLOW, sandbox_calls_all);
  memory(f);
  itself(f);
  threads(f);
  options(f);
  if (SANDBOX_SANITIZER) each(f, SCMP_ACT_ALLOW, sandbox_calls_sanitizer);
  if (names->used) {
    each(f, SCMP_ACT_ALLOW, sandbox_calls_names);
    sockets(f, plan, names);
  }
  each(f, SCMP_ACT_KILL_PROCESS, sandbox_calls_fatal);
}

/* Mitigations that the kernel switches on for filtered processes cost a tenth
 * and more; they are against programs that run foreign code. */
static int load(struct filter *f, const struct sandbox_plan *plan,
                const struct sandbox_names *names) {
  f->ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (!f->ctx) return -ENOMEM;
  seccomp_attr_set(f->ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_SSB, 1);
  seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  seccomp_attr_set(f->ctx, SCMP_FLTATR_CTL_TSYNC, 1);
  seccomp_attr_set(f->ctx, SCMP_FLTATR_API_SYSRAWRC, 1);
  fill(f, plan, names);
  return f->rc < 0 ? f->rc : seccomp_load(f->ctx);
}

void sandbox_seccomp(const struct sandbox_plan *plan,
                     const struct sandbox_names *names,
                     struct sandbox_layer *l) {
  struct filter f = {0};
  int rc;

  if (!plan->seccomp) {
    SAY(l, "switched off by sandbox.seccomp");
    return;
  }
  rc = load(&f, plan, names);
  if (f.ctx) seccomp_release(f.ctx);
  l->in_force = rc == 0;
  if (rc == -ENOSYS || rc == -EINVAL)
    SAY(l, "this kernel has no seccomp filters");
  else if (rc < 0)
    SAY(l, "%s", strerror(-rc));
  else
    SAY(l, SANDBOX_SANITIZER ? "relaxed: this build traces itself to find leaks"
                             : "system calls by a list");
}
