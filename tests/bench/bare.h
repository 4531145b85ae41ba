/* bare.h - UDP as fast as the kernel alone allows, for the programs that the
 * relay is measured against: none of the project's own socket code. Mistakes
 * and system errors end the program with a sentence. */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <signal.h>
#include <sys/socket.h>

#include <ztna/addr.h>

enum { BARE_BATCH = 64, BARE_ROOM = 65536 };

/* Set by SIGTERM, SIGINT, or when the program's time is over. */
extern volatile sig_atomic_t bare_stop;

/* Batch of messages, each with a buffer of room bytes. */
struct bare_batch {
  struct mmsghdr v[BARE_BATCH];
  struct iovec iov[BARE_BATCH];
  struct sockaddr_storage from[BARE_BATCH];
  _Alignas(struct cmsghdr) char control[BARE_BATCH][64];
  unsigned char *bytes;
  size_t room;
  int max; /* messages at once */
  int n;   /* received */
};

/* Signals, and the end after so many seconds. */
void bare_start(double seconds);
/* Bound, with large buffers; blocking, but not longer than 100 ms. */
int bare_socket(const struct ztna_addr *at, bool gro);
struct bare_batch *bare_batch_new(int max, size_t room);
/* 0 after 100 ms without packets or when it is time to stop. */
int bare_recv(int fd, struct bare_batch *b);
/* Size of the segments of message i: its length when it came alone. */
unsigned bare_seg(struct bare_batch *b, int i);
/* Makes the message a GSO send; control has CMSG_SPACE(2) bytes. */
void bare_set_gso(struct msghdr *m, void *control, unsigned seg);
/* Sends all that the kernel takes; returns how many messages were lost. */
int bare_send(int fd, struct mmsghdr *v, int n);

double bare_now(void); /* seconds */
double bare_cpu(void); /* seconds this process has used, user and system */
struct ztna_addr bare_addr(const char *text);
__attribute__((noreturn, format(printf, 1, 2))) void bare_die(const char *fmt,
                                                              ...);

#endif
