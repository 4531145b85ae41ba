/* test_sandbox.c - what code that was subverted can still do: each test enters
 * a role's sandbox in a process of its own, as the role does, and tries. */
#include "unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../platform/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RELAXED 1 /* as in platform/linux/sandbox_int.h */
#else
#define RELAXED 0
#endif

enum { N_ROLES = SANDBOX_ENROLL + 1, DIED = 1000, WAIT_S = 10 };

static struct {
  char dir[64], config[96], state[96], outside[64];
  const char *user;
  bool keep_net_admin, off;
  bool no_seccomp, no_landlock;
  struct sandbox_report report; /* of the last entered in this process */
} t;

/* --- in the sandbox, and what came of it */

static void enter(enum sandbox_role role) {
  const struct sandbox_path paths[] = {{t.config, false}, {t.state, true}};
  const struct sandbox_plan plan = {.role = role,
                                    .keep_net_admin = t.keep_net_admin,
                                    .user = t.user,
                                    .capabilities = !t.off,
                                    .seccomp = !t.off && !t.no_seccomp,
                                    .landlock = !t.off && !t.no_landlock,
                                    .paths = paths,
                                    .n_paths = 2};

  alarm(WAIT_S);
  sandbox_begin();
  sandbox_enter(&plan, &t.report);
}

/* What try returned (0 to 255), or DIED and the signal that ended it. */
static int in_sandbox(enum sandbox_role role, int (*try)(void)) {
  int status;
  pid_t child = fork();

  assert_true(child >= 0);
  if (child == 0) {
    enter(role);
    _exit(try());
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? DIED + WTERMSIG(status) : WEXITSTATUS(status);
}

/* 0: it worked; else the error. */
static int err_of(long rc) { return rc < 0 ? errno : 0; }

static void each_role(int (*try)(void), int want) {
  for (int role = 0; role < N_ROLES; role++)
    assert_int_equal(in_sandbox((enum sandbox_role)role, try), want);
}

static void each_role_fails(int (*try)(void)) {
  for (int role = 0; role < N_ROLES; role++) {
    int rc = in_sandbox((enum sandbox_role)role, try);
    assert_true(rc == EPERM || rc == EACCES);
  }
}

/* --- files */

/* Older kernels, and those that were started without it. */
static void need_landlock(void) {
  if (syscall(444, NULL, 0, 1) < 1) skip();
}

static int open_shadow(void) { return err_of(open("/etc/shadow", O_RDONLY)); }
static int open_outside(void) { return err_of(open(t.outside, O_RDONLY)); }
static int make_outside(void) {
  return err_of(open("/tmp/ztna-sandbox-escaped", O_WRONLY | O_CREAT, 0600));
}
static int write_config(void) { return err_of(open(t.config, O_WRONLY)); }
static int truncate_config(void) {
  return err_of(syscall(SYS_truncate, t.config, 0L));
}
static int link_out(void) {
  char name[128];

  snprintf(name, sizeof(name), "%s/link", t.state);
  return err_of(symlink("/etc/shadow", name));
}

static void no_other_file_is_opened(void **state) {
  need_landlock();
  each_role_fails(open_shadow);
  each_role_fails(open_outside);
}

static void nothing_is_written_beside_the_state(void **state) {
  need_landlock();
  each_role_fails(make_outside);
  each_role_fails(write_config);
  each_role_fails(truncate_config);
  each_role_fails(link_out);
}

/* --- programs and processes */

static int run_shell(void) {
  char *const args[] = {"sh", "-c", "exit 0", NULL};
  return err_of(execve("/bin/sh", args, args + 3));
}
static int trace_parent(void) {
  return err_of(ptrace(PTRACE_ATTACH, getppid(), 0, 0));
}
static int kill_parent(void) { return err_of(kill(getppid(), 0)); }
static int fork_again(void) {
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  return err_of(child);
}
static int become_root(void) { return err_of(syscall(SYS_setuid, 0)); }

static void no_program_is_run(void **state) {
  each_role(run_shell, DIED + SIGSYS);
}

static void no_process_is_traced(void **state) {
  if (RELAXED)
    each_role_fails(trace_parent); /* by Landlock */
  else
    each_role(trace_parent, DIED + SIGSYS);
}

static void no_process_is_started_or_signalled(void **state) {
  each_role_fails(kill_parent);
  if (!RELAXED) each_role_fails(fork_again);
  each_role_fails(become_root);
}

/* --- memory */

static int map_code(void) {
  void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
  return p == MAP_FAILED ? errno : 0;
}
static int make_code(void) {
  void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return err_of(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static void nothing_that_was_written_is_run(void **state) {
  if (RELAXED) skip();
  each_role_fails(map_code);
  each_role_fails(make_code);
}

/* --- sockets */

static int open_packet(void) {
  return err_of(socket(AF_PACKET, SOCK_RAW, 0x0300));
}
static int open_raw(void) {
  return err_of(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}
static int open_unix(void) { return err_of(socket(AF_UNIX, SOCK_DGRAM, 0)); }
static int open_vsock(void) { return err_of(socket(40, SOCK_STREAM, 0)); }
static int open_alg(void) { return err_of(socket(38, SOCK_SEQPACKET, 0)); }
static int open_sctp(void) { return err_of(socket(AF_INET, SOCK_STREAM, 132)); }
static int open_netfilter(void) {
  return err_of(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}
static int open_udp(void) { return err_of(socket(AF_INET, SOCK_DGRAM, 0)); }
static int open_tcp(void) { return err_of(socket(AF_INET6, SOCK_STREAM, 0)); }
static int open_ping(void) {
  return err_of(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
}
static int listen_tcp(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(18431)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) return errno;
  return err_of(listen(fd, 1));
}
static int listen_anywhere(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  return fd < 0 ? errno : err_of(listen(fd, 1));
}
static int attach_filter(void) {
  struct sock_filter pass = {BPF_RET | BPF_K, 0, 0, 0xffff};
  struct sock_fprog prog = {1, &pass};
  int fd = socket(AF_INET, SOCK_DGRAM, 0);

  return fd < 0 ? errno
                : err_of(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog,
                                    sizeof(prog)));
}

static void no_new_kind_of_socket_is_made(void **state) {
  each_role_fails(open_packet);
  each_role_fails(open_raw);
  each_role_fails(open_unix);
  each_role_fails(open_vsock);
  each_role_fails(open_alg);
  each_role_fails(open_sctp);
  each_role_fails(open_netfilter);
}

static void a_relay_makes_no_socket_at_all(void **state) {
  assert_int_equal(in_sandbox(SANDBOX_RELAY, open_udp), EPERM);
  assert_int_equal(in_sandbox(SANDBOX_RELAY, open_tcp), EPERM);
}

static void an_enrolment_service_makes_no_socket_either(void **state) {
  assert_int_equal(in_sandbox(SANDBOX_ENROLL, open_udp), EPERM);
  assert_int_equal(in_sandbox(SANDBOX_ENROLL, open_tcp), EPERM);
  assert_int_equal(in_sandbox(SANDBOX_ENROLL, open_ping), EPERM);
}

static void only_a_connector_pings(void **state) {
  assert_int_equal(in_sandbox(SANDBOX_RELAY, open_ping), EPERM);
  assert_int_equal(in_sandbox(SANDBOX_AGENT, open_ping), EPERM);
}

static void no_port_is_opened(void **state) {
  each_role_fails(listen_tcp);
  each_role_fails(listen_anywhere);
}

static void no_filter_of_packets_is_attached(void **state) {
  each_role_fails(attach_filter);
}

/* --- the kernel */

static int do_mount(void) { return err_of(mount("x", "/", "tmpfs", 0, NULL)); }
static int do_unshare(void) { return err_of(unshare(CLONE_NEWUSER)); }
static int do_setns(void) { return err_of(setns(0, 0)); }
static int do_bpf(void) { return err_of(syscall(SYS_bpf, 0, NULL, 0)); }
static int do_uring(void) { return err_of(syscall(425, 1, NULL)); }
static int do_keyctl(void) { return err_of(syscall(SYS_keyctl, 0, 0)); }
static int do_module(void) {
  return err_of(syscall(SYS_init_module, NULL, 0, ""));
}
static int do_userfault(void) { return err_of(syscall(SYS_userfaultfd, 0)); }

static void who_asks_the_kernel_for_more_dies(void **state) {
  int (*const calls[])(void) = {do_mount, do_unshare, do_setns,  do_bpf,
                                do_uring, do_keyctl,  do_module, do_userfault};

  for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
    each_role(calls[i], DIED + SIGSYS);
}

/* --- each layer alone: what one has missed the other one stops */

static void without_landlock_system_calls_are_kept(void **state) {
  t.no_landlock = true;
  each_role(run_shell, DIED + SIGSYS);
  each_role(do_mount, DIED + SIGSYS);
  each_role_fails(open_packet);
  each_role_fails(open_unix);
  each_role_fails(open_netfilter);
  each_role(open_outside, 0); /* files are Landlock's */
  t.no_landlock = false;
}

static void without_seccomp_files_are_kept(void **state) {
  need_landlock();
  t.no_seccomp = true;
  each_role_fails(open_shadow);
  each_role_fails(open_outside);
  each_role_fails(make_outside);
  each_role_fails(write_config);
  each_role_fails(run_shell);
  each_role_fails(trace_parent);
  each_role(open_unix, 0); /* sockets are seccomp's */
  t.no_seccomp = false;
}

/* --- what a role goes on doing; each step has a number of its own */

static int files(void) {
  char a[128], b[128], text[8];
  int fd, watch = inotify_init1(IN_CLOEXEC);

  if (inotify_add_watch(watch, t.dir, IN_MOVED_TO) < 0) return 1;
  fd = open(t.config, O_RDONLY);
  if (fd < 0 || read(fd, text, 3) != 3) return 2;
  snprintf(a, sizeof(a), "%s/a", t.state);
  snprintf(b, sizeof(b), "%s/b", t.state);
  fd = open(a, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, "x\n", 2) != 2 || fsync(fd) < 0) return 3;
  if (rename(a, b) < 0 || unlink(b) < 0) return 4;
  if (open("/dev/urandom", O_RDONLY) < 0) return 5;
  return 0;
}

static void *in_thread(void *arg) {
  struct addrinfo *all, hints = {.ai_socktype = SOCK_DGRAM};

  if (getaddrinfo("localhost", NULL, &hints, &all)) return NULL;
  freeaddrinfo(all);
  return arg;
}

static int network(void) {
  struct sockaddr_in a = {.sin_family = AF_INET,
                          .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
      on = 1;
  int tcp = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  void *done = NULL;
  pthread_t thread;

  if (udp < 0 || tcp < 0 || bind(udp, (struct sockaddr *)&a, sizeof(a)) < 0)
    return 1;
  if (setsockopt(udp, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0) return 2;
  a.sin_port = htons(9);
  if (connect(udp, (struct sockaddr *)&a, sizeof(a)) < 0) return 3;
  if (socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) < 0) return 4;
  if (!if_nametoindex("lo")) return 5;
  if (pthread_create(&thread, NULL, in_thread, &a)) return 6;
  pthread_join(thread, &done);
  if (!done) return 7;
  return fopen("/proc/net/route", "r") ? 0 : 8;
}

static void every_role_reads_its_files_and_writes_its_state(void **state) {
  each_role(files, 0);
}

static void agent_and_connector_go_on_talking(void **state) {
  assert_int_equal(in_sandbox(SANDBOX_AGENT, network), 0);
  assert_int_equal(in_sandbox(SANDBOX_CONNECTOR, network), 0);
}

/* --- privileges */

static int privileges(void) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct v[2];
  struct rlimit core;

  if (syscall(SYS_capget, &head, v) < 0) return 1;
  if (v[1].permitted || v[1].effective || v[0].inheritable) return 2;
  if (v[0].permitted != v[0].effective) return 3;
  if (syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, &core) < 0 || core.rlim_max)
    return 4;
  if (!t.report.no_new_privileges.in_force || !t.report.core_dumps.in_force ||
      !t.report.seccomp.in_force)
    return 5;
  return v[0].permitted == 1U << CAP_NET_ADMIN ? 12 : v[0].permitted ? 6 : 0;
}

static int uid_of(void) { return geteuid() == 0 ? 0 : geteuid() == 65534; }
static int new_files(void) {
  struct stat st;
  char name[128];

  snprintf(name, sizeof(name), "%s/new", t.state);
  fstat(open(name, O_WRONLY | O_CREAT, 0666), &st);
  unlink(name);
  return (st.st_mode & 077) != 0;
}
static int why_user(void) {
  return t.report.user.in_force ? 1 : !strstr(t.report.user.why, t.user);
}
static int all_off(void) {
  return t.report.seccomp.in_force || t.report.landlock.in_force ||
         t.report.capabilities.in_force ||
         !strstr(t.report.seccomp.why, "switched off") ||
         socket(AF_UNIX, SOCK_DGRAM, 0) < 0;
}

static void no_capability_is_left(void **state) { each_role(privileges, 0); }

static void an_agent_with_a_tun_keeps_one(void **state) {
  if (geteuid() != 0) skip();
  t.keep_net_admin = true;
  assert_int_equal(in_sandbox(SANDBOX_AGENT, privileges), CAP_NET_ADMIN);
  t.user = "nobody";
  assert_int_equal(in_sandbox(SANDBOX_AGENT, privileges), CAP_NET_ADMIN);
}

static void root_becomes_the_user(void **state) {
  if (geteuid() != 0) skip();
  t.user = "nobody";
  each_role(uid_of, 1);
  each_role_fails(become_root);
}

/* Else a policy or a list of revoked certificates would not be read again. */
static void root_stays_when_the_user_may_not_read_the_files(void **state) {
  if (geteuid() != 0) skip();
  t.user = "nobody";
  assert_int_equal(chmod(t.config, 0600), 0);
  each_role(uid_of, 0);
  each_role(why_user, 0);
}

/* Else an enrolment service could use no token. */
static void root_stays_when_the_user_may_not_mark_tokens(void **state) {
  if (geteuid() != 0) skip();
  t.user = "nobody";
  assert_int_equal(chmod(t.state, 0700), 0);
  assert_int_equal(in_sandbox(SANDBOX_ENROLL, uid_of), 0);
  assert_int_equal(in_sandbox(SANDBOX_ENROLL, why_user), 0);
  assert_int_equal(in_sandbox(SANDBOX_RELAY, uid_of), 1);
}

static void a_user_that_is_missing_is_told(void **state) {
  if (geteuid() != 0) skip();
  t.user = "no-such-user";
  each_role(why_user, 0);
  each_role(privileges, 0);
}

static void new_files_are_private(void **state) { each_role(new_files, 0); }

static int effective(void) {
  struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct v[2];

  syscall(SYS_capget, &head, v);
  return uid_of() == 1 && v[0].effective >> CAP_NET_RAW & 1;
}

static void another_user_may_keep_capabilities(void **state) {
  if (geteuid() != 0) skip();
  t.off = true;
  t.user = "nobody";
  each_role(effective, 1);
}

static void what_is_switched_off_says_so(void **state) {
  t.off = true;
  each_role(all_off, 0);
}

/* --- fixture */

static void put(const char *name, mode_t mode) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, mode);

  assert_true(fd >= 0);
  assert_int_equal(write(fd, "one", 3), 3);
  assert_int_equal(fchmod(fd, mode), 0);
  close(fd);
}

static int setup(void **state) {
  memset(&t, 0, sizeof(t));
  t.user = "";
  strcpy(t.dir, "/tmp/ztna-sandbox-XXXXXX");
  assert_non_null(mkdtemp(t.dir));
  chmod(t.dir, 0755);
  snprintf(t.config, sizeof(t.config), "%s/config.json", t.dir);
  snprintf(t.state, sizeof(t.state), "%s/state", t.dir);
  snprintf(t.outside, sizeof(t.outside), "%s-outside", t.dir);
  put(t.config, 0644);
  put(t.outside, 0644);
  assert_int_equal(mkdir(t.state, 0777), 0);
  chmod(t.state, 0777);
  return 0;
}

static int teardown(void **state) {
  unlink(t.config);
  unlink(t.outside);
  unlink("/tmp/ztna-sandbox-escaped");
  rmdir(t.state);
  return rmdir(t.dir);
}

#define T(name) TEST_WITH(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      T(no_other_file_is_opened),
      T(nothing_is_written_beside_the_state),
      T(no_program_is_run),
      T(no_process_is_traced),
      T(no_process_is_started_or_signalled),
      T(nothing_that_was_written_is_run),
      T(no_new_kind_of_socket_is_made),
      T(a_relay_makes_no_socket_at_all),
      T(an_enrolment_service_makes_no_socket_either),
      T(only_a_connector_pings),
      T(no_port_is_opened),
      T(no_filter_of_packets_is_attached),
      T(who_asks_the_kernel_for_more_dies),
      T(without_landlock_system_calls_are_kept),
      T(without_seccomp_files_are_kept),
      T(every_role_reads_its_files_and_writes_its_state),
      T(agent_and_connector_go_on_talking),
      T(no_capability_is_left),
      T(an_agent_with_a_tun_keeps_one),
      T(root_becomes_the_user),
      T(root_stays_when_the_user_may_not_read_the_files),
      T(root_stays_when_the_user_may_not_mark_tokens),
      T(a_user_that_is_missing_is_told),
      T(new_files_are_private),
      T(another_user_may_keep_capabilities),
      T(what_is_switched_off_says_so),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
