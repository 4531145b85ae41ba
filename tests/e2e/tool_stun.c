/* tool_stun.c - asks STUN servers, for the end-to-end scripts:
 *
 *   tool_stun ask SERVER:PORT [--change-ip] [--change-port] [--from PORT]
 *                 [--pad N] [--fingerprint]
 *                             prints one line: "mapped= from= origin= other=
 *                             sent= received=", or "error= unknown= ..." with
 *                             code 1; "no answer" and code 3 after 3 requests
 *   tool_stun train SERVER:PORT N
 *                             N requests that leave as one GSO train
 *   tool_stun flood SERVER:PORT N PER_SECOND [SOURCE-IP...]
 *                             N bare requests, from each source in turn
 *
 * The last two print "sent= answers= bytes_out= bytes_in=". */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "codec/stun.h"

enum { SOCKS_MAX = 64, TRAIN_MAX = 64, TRIES = 3, PATIENCE = 500 /* ms */ };

struct result {
  unsigned long sent, answers, bytes_out, bytes_in;
};

static void die(const char *what) {
  fprintf(stderr, "tool_stun: %s: %s\n", what, strerror(errno));
  exit(2);
}

static uint64_t now_us(void) {
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static struct ztna_addr addr_of(const char *text) {
  struct ztna_addr a;

  errno = EINVAL;
  if (ztna_addr_parse(&a, text) < 0) die(text);
  return a;
}

static int bound_to(const struct ztna_addr *a) {
  struct sockaddr_storage ss;
  size_t len = ztna_addr_to_sockaddr(a, &ss);
  int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

  if (fd < 0 || bind(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0)
    die("bind");
  return fd;
}

static void send_to(int fd, const struct ztna_addr *to, const uint8_t *data,
                    size_t len) {
  struct sockaddr_storage ss;
  size_t n = ztna_addr_to_sockaddr(to, &ss);

  if (sendto(fd, data, len, 0, (struct sockaddr *)&ss, (socklen_t)n) < 0)
    die("send");
}

/* Bytes of one packet, -1: none within that time. */
static int receive(int fd, uint8_t *room, struct ztna_addr *from, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  struct sockaddr_storage ss;
  socklen_t len = sizeof(ss);

  if (poll(&p, 1, ms) <= 0) return -1;
  ssize_t n = recvfrom(fd, room, STUN_MAX, 0, (struct sockaddr *)&ss, &len);
  if (n < 0 || ztna_addr_from_sockaddr(from, &ss) < 0) return -1;
  return (int)n;
}

static struct stun_msg question(void) {
  struct stun_msg m = {.class = STUN_REQUEST, .method = STUN_BINDING};

  if (getrandom(m.txid, sizeof(m.txid), 0) < 0) die("getrandom");
  return m;
}

/* --- ask */

static void print_addr(const char *name, const struct ztna_addr *a) {
  char text[ZTNA_ADDR_STRLEN];

  printf("%s=%s ", name, ztna_addr_print(a, text));
}

static int print_answer(const struct stun_msg *m, const struct ztna_addr *from,
                        int sent, int received) {
  if (m->class == STUN_ERROR) {
    printf("error=%u ", m->error);
    for (size_t i = 0; i < m->n_listed; i++)
      printf("unknown=0x%04x ", m->listed[i]);
  } else {
    print_addr("mapped", &m->mapped);
  }
  print_addr("from", from);
  print_addr("origin", &m->origin);
  print_addr("other", &m->other);
  printf("sent=%d received=%d\n", sent, received);
  return m->class == STUN_ERROR;
}

static int ask_with(int fd, const struct ztna_addr *server,
                    const struct stun_msg *q) {
  uint8_t out[STUN_MAX], in[STUN_MAX];
  int len = stun_write(out, q, NULL, 0, NULL), n;
  struct ztna_addr from;
  struct stun_msg m;

  if (len < 0) die("too much padding");
  for (int i = 0; i < TRIES; i++) {
    send_to(fd, server, out, (size_t)len);
    while ((n = receive(fd, in, &from, PATIENCE)) >= 0)
      if (stun_read(&m, in, (size_t)n) == 0 &&
          !memcmp(m.txid, q->txid, STUN_TXID_LEN))
        return print_answer(&m, &from, len, n);
  }
  printf("no answer\n");
  return 3;
}

static int ask(const char *server, char **flags) {
  struct ztna_addr to = addr_of(server), any = {.family = to.family};
  struct stun_msg q = question();

  for (; *flags; flags++) {
    if (!strcmp(*flags, "--change-ip")) q.change |= STUN_CHANGE_IP;
    if (!strcmp(*flags, "--change-port")) q.change |= STUN_CHANGE_PORT;
    if (!strcmp(*flags, "--fingerprint")) q.fingerprint = true;
    if (!strcmp(*flags, "--from") && flags[1])
      any.port = (uint16_t)atoi(*++flags);
    if (!strcmp(*flags, "--pad") && flags[1])
      q.padding = (size_t)atoi(*++flags);
  }
  q.has_change = q.change != 0;
  return ask_with(bound_to(&any), &to, &q);
}

/* --- many */

static void count_answers(struct result *r, const int *fds, int n, int ms) {
  uint8_t in[STUN_MAX];
  struct ztna_addr from;
  struct stun_msg m;
  int len;

  for (int i = 0; i < n; i++)
    while ((len = receive(fds[i], in, &from, ms)) >= 0) {
      r->bytes_in += (unsigned long)len;
      if (stun_read(&m, in, (size_t)len) == 0 && m.mapped.family) r->answers++;
    }
}

static int print_result(const struct result *r) {
  printf("sent=%lu answers=%lu bytes_out=%lu bytes_in=%lu\n", r->sent,
         r->answers, r->bytes_out, r->bytes_in);
  return 0;
}

static int train(const char *server, int n) {
  struct ztna_addr to = addr_of(server), any = {.family = to.family};
  uint8_t out[TRAIN_MAX * STUN_MAX];
  int fd = bound_to(&any), seg = STUN_HEADER;
  struct result r = {0};

  for (int i = 0; i < n && i < TRAIN_MAX; i++, r.sent++) {
    struct stun_msg q = question();
    r.bytes_out +=
        (unsigned long)stun_write(out + r.bytes_out, &q, NULL, 0, NULL);
  }
  if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &seg, sizeof(seg)) < 0)
    die("UDP_SEGMENT");
  send_to(fd, &to, out, r.bytes_out);
  count_answers(&r, &fd, 1, PATIENCE);
  return print_result(&r);
}

static int flood(const char *server, long n, long per_s, char **sources) {
  struct ztna_addr to = addr_of(server), any = {.family = to.family};
  int fds[SOCKS_MAX], n_fds = 0;
  uint64_t begun = now_us();
  uint8_t out[STUN_MAX];
  struct result r = {0};

  for (; *sources && n_fds < SOCKS_MAX; sources++) {
    struct ztna_addr a = addr_of(*sources);
    fds[n_fds++] = bound_to(&a);
  }
  if (!n_fds) fds[n_fds++] = bound_to(&any);
  for (long i = 0; i < n; i++, r.sent++) {
    struct stun_msg q = question();
    int len = stun_write(out, &q, NULL, 0, NULL);
    send_to(fds[i % n_fds], &to, out, (size_t)len);
    r.bytes_out += (unsigned long)len;
    if (i % 64 == 0) count_answers(&r, fds, n_fds, 0);
    while ((long)((now_us() - begun) * (uint64_t)per_s / 1000000) <= i)
      usleep(200);
  }
  usleep(PATIENCE * 1000);
  count_answers(&r, fds, n_fds, 0);
  return print_result(&r);
}

int main(int argc, char **argv) {
  if (argc >= 3 && !strcmp(argv[1], "ask")) return ask(argv[2], argv + 3);
  if (argc == 4 && !strcmp(argv[1], "train"))
    return train(argv[2], atoi(argv[3]));
  if (argc >= 5 && !strcmp(argv[1], "flood"))
    return flood(argv[2], atol(argv[3]), atol(argv[4]), argv + 5);
  fprintf(stderr, "tool_stun: see the head of tool_stun.c\n");
  return 2;
}
