/* sandbox_calls.c - see sandbox_calls.h. */
#include "sandbox_calls.h"

#include <asm/ioctls.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* Where two names do the same, newer machines, or those of 32 bits, have only
 * the second. */
const char *const sandbox_calls_all[] = {
    /* memory; mmap and mprotect by their arguments */
    "brk", "munmap", "mremap", "madvise", "mincore",
    /* waiting, time, events */
    "epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl", "epoll_create1",
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6",
    "pselect6_time64", "timerfd_settime", "timerfd_settime64", "nanosleep",
    "clock_nanosleep", "clock_nanosleep_time64", "clock_gettime",
    "clock_gettime64", "clock_getres", "gettimeofday", "time", "eventfd2",
    "pipe2", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
    "restart_syscall", "futex", "futex_time64", "sched_yield", "membarrier",
    /* sockets that are there */
    "recvmmsg", "recvmmsg_time64", "recvmsg", "recvfrom", "recv", "sendmmsg",
    "sendmsg", "sendto", "send", "accept", "accept4", "getsockname",
    "getpeername", "getsockopt", "shutdown",
    /* files */
    "read", "readv", "pread64", "write", "writev", "pwrite64", "close", "open",
    "openat", "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64",
    "newfstatat", "fstatat64", "statx", "fstatfs", "lseek", "_llseek", "access",
    "faccessat", "faccessat2", "readlink", "readlinkat", "getcwd", "getdents64",
    "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat",
    "ftruncate", "ftruncate64", "fsync", "fdatasync", "fchmod", "fchown",
    "fchown32", "flock", "fcntl", "fcntl64", "dup", "dup3", "umask",
    /* the process itself */
    "exit", "exit_group", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
    "sigaltstack", "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid",
    "getegid", "getrusage", "getrandom", "uname", "sysinfo",
    "sched_getaffinity", "rseq", "set_robust_list", "capget", NULL};

const char *const sandbox_calls_names[] = {"connect",
                                           "bind",
                                           "set_tid_address",
                                           "sched_getparam",
                                           "sched_getscheduler",
                                           NULL};

/* Leaks are looked for by a second process, at the end. */
const char *const sandbox_calls_sanitizer[] = {"ptrace",
                                               "getdents",
                                               "clone",
                                               "wait4",
                                               "prctl",
                                               "process_vm_readv",
                                               "kill",
                                               "getpgrp",
                                               "tgkill",
                                               "prlimit64",
                                               "mmap",
                                               "mprotect",
                                               "sched_setaffinity",
                                               NULL};

const char *const sandbox_calls_fatal[] = {
    /* other programs, other processes */
    "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev",
    "pidfd_getfd", "kcmp",
    /* other views of the system */
    "mount", "umount", "umount2", "move_mount", "open_tree", "fsopen",
    "fsmount", "fsconfig", "fspick", "mount_setattr", "pivot_root", "chroot",
    "setns", "unshare", "open_by_handle_at",
    /* the kernel, and what has been its door */
    "bpf", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key",
    "init_module", "finit_module", "delete_module", "create_module",
    "kexec_load", "kexec_file_load", "modify_ldt", "personality", "vmsplice",
    /* the machine */
    "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog",
    "iopl", "ioperm", "settimeofday", "clock_settime", "clock_adjtime",
    "adjtimex", "stime", "sethostname", "setdomainname", "vhangup", NULL};

/* No packet filter, no program of the caller's: the kernel compiles those. */
const struct sandbox_option sandbox_options[] = {
    {SOL_SOCKET, SO_REUSEADDR},
    {SOL_SOCKET, SO_BROADCAST},
    {SOL_SOCKET, SO_KEEPALIVE},
    {SOL_SOCKET, SO_LINGER},
    {SOL_SOCKET, SO_RCVBUF},
    {SOL_SOCKET, SO_SNDBUF},
    {SOL_SOCKET, SO_RCVTIMEO},
    {SOL_SOCKET, SO_SNDTIMEO},
    {IPPROTO_IP, IP_TOS},
    {IPPROTO_IP, IP_TTL},
    {IPPROTO_IP, IP_PKTINFO},
    {IPPROTO_IP, IP_RECVTOS},
    {IPPROTO_IP, IP_RECVERR},
    {IPPROTO_IP, IP_MTU_DISCOVER},
    {IPPROTO_IP, IP_MULTICAST_IF},
    {IPPROTO_IP, IP_MULTICAST_TTL},
    {IPPROTO_IPV6, IPV6_V6ONLY},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO},
    {IPPROTO_IPV6, IPV6_RECVTCLASS},
    {IPPROTO_IPV6, IPV6_TCLASS},
    {IPPROTO_IPV6, IPV6_RECVERR},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER},
    {IPPROTO_TCP, TCP_NODELAY},
    {IPPROTO_TCP, TCP_CORK},
    {IPPROTO_TCP, TCP_KEEPIDLE},
    {IPPROTO_TCP, TCP_KEEPINTVL},
    {IPPROTO_TCP, TCP_KEEPCNT},
    {IPPROTO_TCP, TCP_USER_TIMEOUT},
    {IPPROTO_UDP, UDP_SEGMENT},
    {IPPROTO_UDP, UDP_GRO},
    {0, 0},
};

const unsigned sandbox_ioctls[] = {FIONREAD,     FIONBIO,     TCGETS,
                                   SIOCGIFINDEX, SIOCGIFNAME, SIOCGIFADDR,
                                   SIOCGIFFLAGS, SIOCGIFCONF, 0};
