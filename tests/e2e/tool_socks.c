/* tool_socks.c - a SOCKS5 client (RFC 1928) for the end-to-end scripts:
 *
 *   tool_socks connect PROXY HOST PORT [TEXT]
 *        prints reply=CODE; connected: sends TEXT, ends, prints what comes
 *   tool_socks udp PROXY HOST PORT N SIZE
 *        N datagrams of SIZE bytes to an echo, each compared; prints got=N
 *   tool_socks raw PROXY HEX...
 *        sends bytes, prints what comes back until the end, in hex
 *
 * PROXY is an address with port; HOST a name or an IPv4 address. Code 0: it
 * went as it should. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/addr.h>

enum { ROOM = 65536, WAIT_MS = 15000 };

static uint8_t in[ROOM], out[ROOM];

static void die(const char *what) {
  fprintf(stderr, "tool_socks: %s: %s\n", what, strerror(errno));
  exit(2);
}

static int dial(const struct ztna_addr *a, int type) {
  struct sockaddr_storage ss = {0};
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(a, &ss);
  int fd = socket(ss.ss_family, type, 0);

  if (fd < 0 || connect(fd, (struct sockaddr *)&ss, len) < 0) die("connect");
  return fd;
}

static bool readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, WAIT_MS) == 1;
}

/* All n bytes; false: the end came before. */
static bool take(int fd, uint8_t *to, size_t n) {
  for (size_t got = 0; got < n;) {
    ssize_t k = readable(fd) ? recv(fd, to + got, n - got, 0) : -1;
    if (k <= 0) return false;
    got += (size_t)k;
  }
  return true;
}

/* type | address | port */
static size_t put_place(uint8_t *to, const char *host, unsigned port) {
  struct ztna_addr a;
  size_t n = strlen(host), at = 0;

  if (ztna_addr_parse(&a, host) == 0) {
    n = a.family == 4 ? 4 : 16;
    to[at++] = a.family == 4 ? 1 : 4;
    memcpy(to + at, a.ip, n);
  } else {
    to[at++] = 3;
    to[at++] = (uint8_t)n;
    memcpy(to + at, host, n);
  }
  at += n;
  to[at++] = (uint8_t)(port >> 8);
  to[at++] = (uint8_t)port;
  return at;
}

/* The reply's code; what it is bound to in *bound. */
static int ask(int fd, int command, const char *host, unsigned port,
               struct ztna_addr *bound) {
  size_t n;

  if (send(fd, "\5\1\0", 3, 0) != 3 || !take(fd, in, 2) || in[1])
    die("greeting");
  memcpy(out, "\5\0\0", 3);
  out[1] = (uint8_t)command;
  n = 3 + put_place(out + 3, host, port);
  if (send(fd, out, n, 0) != (ssize_t)n || !take(fd, in, 4)) die("request");
  if (in[3] != 1 && in[3] != 4) die("reply's address");
  n = in[3] == 1 ? 4 : 16;
  if (!take(fd, in + 4, n + 2)) die("reply");
  port = (unsigned)(in[4 + n] << 8 | in[5 + n]);
  *bound = n == 4 ? ztna_addr_v4(in + 4, (uint16_t)port)
                  : ztna_addr_v6(in + 4, (uint16_t)port, 0);
  return in[1];
}

static int run_connect(int fd, const char *host, unsigned port,
                       const char *text) {
  struct ztna_addr bound;
  int code = ask(fd, 1, host, port, &bound);
  ssize_t n;

  printf("reply=%d\n", code);
  if (code) { /* and then the end */
    n = readable(fd) ? recv(fd, in, 1, 0) : -1;
    printf("end=%s\n", n == 0 ? "eof" : n < 0 ? strerror(errno) : "bytes");
    return code;
  }
  if (send(fd, text, strlen(text), 0) < 0) die("send");
  shutdown(fd, SHUT_WR);
  while (readable(fd) && (n = recv(fd, in, sizeof(in), 0)) > 0)
    fwrite(in, 1, (size_t)n, stdout);
  return 0;
}

static int run_udp(int fd, const char *host, unsigned port, int count,
                   size_t size) {
  struct ztna_addr to;
  int code = ask(fd, 3, "0.0.0.0", 0, &to), got = 0, u;
  size_t head;

  if (code) {
    printf("reply=%d\n", code);
    return code;
  }
  u = dial(&to, SOCK_DGRAM);
  memset(out, 0, 3);
  head = 3 + put_place(out + 3, host, port);
  for (int i = 0; i < count; i++) {
    for (size_t k = 0; k < size; k++)
      out[head + k] = (uint8_t)(k * 7 + (size_t)i);
    if (send(u, out, head + size, 0) < 0) die("send");
    if (!readable(u)) continue;
    if (recv(u, in, sizeof(in), 0) == (ssize_t)(head + size) &&
        !memcmp(in, out, head + size))
      got++;
  }
  printf("got=%d\n", got);
  close(fd); /* the association ends with it: nothing is answered any more */
  usleep(200000);
  send(u, out, head + size, 0);
  if (recv(u, in, sizeof(in), 0) >= 0) return 1;
  return got == count ? 0 : 1;
}

static int run_raw(int fd, char **hex) {
  size_t n = 0;
  ssize_t k;

  for (; *hex; hex++)
    for (const char *p = *hex; p[0] && p[1]; p += 2) {
      char two[3] = {p[0], p[1], 0};
      out[n++] = (uint8_t)strtoul(two, NULL, 16);
    }
  if (send(fd, out, n, 0) < 0) die("send");
  while (readable(fd) && (k = recv(fd, in, sizeof(in), 0)) > 0)
    for (ssize_t i = 0; i < k; i++) printf("%02x", in[i]);
  printf("\n");
  return 0;
}

int main(int argc, char **argv) {
  struct ztna_addr proxy;
  int fd;

  if (argc < 4 || ztna_addr_parse(&proxy, argv[2]) < 0) {
    fprintf(stderr, "usage: tool_socks connect|udp|raw PROXY ...\n");
    return 2;
  }
  fd = dial(&proxy, SOCK_STREAM);
  if (!strcmp(argv[1], "raw")) return run_raw(fd, argv + 3);
  if (!strcmp(argv[1], "connect") && argc >= 5)
    return run_connect(fd, argv[3], (unsigned)atoi(argv[4]),
                       argc > 5 ? argv[5] : "");
  if (!strcmp(argv[1], "udp") && argc == 7)
    return run_udp(fd, argv[3], (unsigned)atoi(argv[4]), atoi(argv[5]),
                   (size_t)atoi(argv[6]));
  return 2;
}
