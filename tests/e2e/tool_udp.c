/* tool_udp.c - what the end-to-end scripts send and check through a tunnel:
 *
 *   tool_udp echo ADDR...            sends every datagram back, until killed
 *   tool_udp sizes ADDR FROM TO [STEP]
 *                                    one echo of each size, bytes compared
 *   tool_udp tagged ADDR PORT N TAG  N requests "TAG number noise" from source
 *                                    port PORT; whose replies come back?
 *   tool_udp count ADDR N MICROS     N numbered echoes, one every MICROS
 *   tool_udp stream ADDR MICROS [numbers]
 *                                    numbered echoes until killed; a line of
 *                                    each reply: [number] sent-ms received-ms
 *
 * Those that end print a line of results; code 0: nothing lost or wrong. */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <ztna/addr.h>

enum { ROOM = 65536, ADDRS_MAX = 8, N_MAX = 1000000 };

static uint8_t out[ROOM], in[ROOM];

static void die(const char *what) {
  fprintf(stderr, "tool_udp: %s: %s\n", what, strerror(errno));
  exit(2);
}

static uint64_t now_us(void) {
  struct timespec t;

  clock_gettime(CLOCK_REALTIME, &t);
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
  int fd = socket(ss.ss_family, SOCK_DGRAM, 0), room = 4 << 20;

  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
  if (fd < 0 || bind(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0)
    die("bind");
  return fd;
}

/* A socket that talks with that address alone; port 0: any. */
static int connected_to(const char *text, uint16_t port) {
  struct ztna_addr a = addr_of(text), any = {.family = a.family, .port = port};
  struct sockaddr_storage ss;
  size_t len = ztna_addr_to_sockaddr(&a, &ss);
  int fd = bound_to(&any);

  if (connect(fd, (struct sockaddr *)&ss, (socklen_t)len) < 0) die(text);
  return fd;
}

static bool readable(int fd, uint64_t us) {
  struct pollfd p = {.fd = fd, .events = POLLIN};

  return poll(&p, 1, (int)((us + 999) / 1000)) > 0;
}

static uint64_t mix(uint64_t x) { /* splitmix64 */
  x += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

/* --- echo --- */

static void echo_one(int fd) {
  struct sockaddr_storage from;
  socklen_t len = sizeof(from);
  ssize_t n = recvfrom(fd, in, ROOM, 0, (struct sockaddr *)&from, &len);

  if (n >= 0) sendto(fd, in, (size_t)n, 0, (struct sockaddr *)&from, len);
}

static int echo(int argc, char **argv) {
  struct pollfd p[ADDRS_MAX];
  int n = argc < ADDRS_MAX ? argc : ADDRS_MAX;

  for (int i = 0; i < n; i++) {
    struct ztna_addr a = addr_of(argv[i]);
    p[i] = (struct pollfd){.fd = bound_to(&a), .events = POLLIN};
  }
  while (poll(p, (nfds_t)n, -1) > 0)
    for (int i = 0; i < n; i++)
      if (p[i].revents) echo_one(p[i].fd);
  return 0;
}

/* --- sizes --- */

static bool echo_of(int fd, size_t size) {
  ssize_t n;

  for (size_t i = 0; i < size; i++) out[i] = (uint8_t)mix(size << 20 | i);
  if (send(fd, out, size, 0) < 0 || !readable(fd, 2000000)) return false;
  n = recv(fd, in, ROOM, 0);
  return n == (ssize_t)size && !memcmp(in, out, size);
}

static int sizes(int argc, char **argv) {
  int fd = connected_to(argv[0], 0);
  size_t from = strtoul(argv[1], NULL, 10), to = strtoul(argv[2], NULL, 10);
  size_t step = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
  unsigned n = 0, bad = 0;

  for (size_t size = from; size <= to && bad < 3; size += step, n++) {
    if (echo_of(fd, size)) continue;
    bad++;
    printf("size %zu: no equal reply: %s\n", size, strerror(errno));
  }
  printf("sizes %u bad %u\n", n, bad);
  return bad > 0;
}

/* --- tagged --- */

struct tally {
  const char *tag;
  unsigned n, own, foreign, twice, odd;
  uint8_t *seen;
};

static size_t tagged_text(char *to, const char *tag, unsigned i) {
  uint64_t noise = mix(mix(i) + (uint8_t)tag[0]);

  return (size_t)sprintf(to, "%s %06u %016llx", tag, i,
                         (unsigned long long)noise);
}

static void tally_one(struct tally *t, int fd) {
  ssize_t n = recv(fd, in, ROOM - 1, 0);
  size_t tag = strlen(t->tag);
  unsigned i;

  if (n < 0) return;
  in[n] = 0;
  if (strncmp((char *)in, t->tag, tag) || in[tag] != ' ') {
    t->foreign++;
    return;
  }
  i = (unsigned)strtoul((char *)in + tag + 1, NULL, 10);
  if (i >= t->n || tagged_text((char *)out, t->tag, i) != (size_t)n ||
      memcmp(in, out, (size_t)n))
    t->odd++;
  else if (t->seen[i]++)
    t->twice++;
  else
    t->own++;
}

/* 32 at a time are on their way, so that agents really mingle. */
static int tagged(int argc, char **argv) {
  int fd = connected_to(argv[0], (uint16_t)atoi(argv[1]));
  struct tally t = {.tag = argv[3], .n = (unsigned)atoi(argv[2])};

  unsigned given_up = 0;

  if (t.n > N_MAX || !(t.seen = calloc(t.n + 1, 1))) return 2;
  for (unsigned i = 0; i < t.n; i++) {
    if (send(fd, out, tagged_text((char *)out, t.tag, i), 0) < 0) die("send");
    while (i + 1 - t.own - given_up >= 32)
      if (readable(fd, 500000))
        tally_one(&t, fd);
      else
        given_up = i + 1 - t.own;
  }
  while (readable(fd, 1000000)) tally_one(&t, fd);
  printf("tag %s sent %u own %u missing %u foreign %u twice %u odd %u\n", t.tag,
         t.n, t.own, t.n - t.own, t.foreign, t.twice, t.odd);
  free(t.seen);
  return t.own != t.n || t.foreign || t.twice || t.odd;
}

/* --- count and stream --- */

enum tell { NOTHING, TIMES, NUMBERS };

static void take_reply(int fd, unsigned *got, enum tell tell) {
  uint64_t v[2];

  while (recv(fd, v, sizeof(v), MSG_DONTWAIT) == sizeof(v)) {
    ++*got;
    if (tell == NOTHING) continue;
    if (tell == NUMBERS) printf("%llu ", (unsigned long long)v[0]);
    printf("%llu %llu\n", (unsigned long long)v[1] / 1000,
           (unsigned long long)now_us() / 1000);
    fflush(stdout);
  }
}

static void wait_until(int fd, uint64_t at, unsigned *got, enum tell tell) {
  uint64_t now;

  while ((now = now_us()) < at) {
    readable(fd, at - now);
    take_reply(fd, got, tell);
  }
}

static int count(int argc, char **argv) {
  unsigned n = (unsigned)atoi(argv[1]), got = 0;
  uint64_t every = strtoul(argv[2], NULL, 10), next = now_us();
  int fd = connected_to(argv[0], 0);

  for (uint64_t i = 0; i < n; i++) {
    uint64_t v[2] = {i, now_us()};

    send(fd, v, sizeof(v), 0);
    wait_until(fd, next += every, &got, NOTHING);
  }
  wait_until(fd, next + 1000000, &got, NOTHING);
  printf("sent %u got %u\n", n, got);
  return got != n;
}

/* Not connected, thus bound to no address: the tunnel's comes and goes. */
static int stream(int argc, char **argv) {
  struct ztna_addr to = addr_of(argv[0]), any = {.family = to.family};
  uint64_t every = strtoul(argv[1], NULL, 10), next = now_us();
  struct sockaddr_storage ss;
  size_t len = ztna_addr_to_sockaddr(&to, &ss);
  enum tell tell = argc > 2 ? NUMBERS : TIMES;
  unsigned got = 0;
  int fd = bound_to(&any);

  for (uint64_t i = 0; every; i++) {
    uint64_t v[2] = {i, now_us()};

    sendto(fd, v, sizeof(v), 0, (struct sockaddr *)&ss, (socklen_t)len);
    wait_until(fd, next += every, &got, tell);
  }
  return 2;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    int min;
    int (*run)(int argc, char **argv);
  } modes[] = {{"echo", 1, echo},
               {"sizes", 3, sizes},
               {"tagged", 4, tagged},
               {"count", 3, count},
               {"stream", 2, stream}};

  for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(*modes); i++)
    if (!strcmp(argv[1], modes[i].name) && argc - 2 >= modes[i].min)
      return modes[i].run(argc - 2, argv + 2);
  fprintf(stderr, "tool_udp: echo, sizes, tagged, count or stream\n");
  return 2;
}
