/* hostile_visit.c - what an honest one sees meanwhile, one number a line, in
 * milliseconds, or `failed`:
 *
 *   visit ADDR N GAP-MS          TCP connections to an echo and a byte there
 *                                and back
 *   connects ADDR N GAP-MS CERT KEY
 *                                control connections, each with one request */
#include "e2e/hostile.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "host/clock.h"

static void tell(uint64_t began, bool good) {
  if (good)
    printf("%.1f\n", (double)(clock_now() - began) / 1e6);
  else
    printf("failed\n");
}

static bool visit_once(const struct ztna_addr *to) {
  struct timeval limit = {.tv_sec = 3};
  struct sockaddr_storage ss;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  int fd = socket(ss.ss_family, SOCK_STREAM, 0);
  char byte = 'x';
  bool good;

  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  good = connect(fd, (struct sockaddr *)&ss, len) == 0 &&
         send(fd, &byte, 1, 0) == 1 && recv(fd, &byte, 1, 0) == 1;
  close(fd);
  return good;
}

int visit(char **v) {
  struct ztna_addr to = hostile_addr(v[0]);

  for (int i = 0; i < atoi(v[1]); i++) {
    uint64_t began = clock_now();

    tell(began, visit_once(&to));
    usleep((useconds_t)atoi(v[2]) * 1000);
  }
  return 0;
}

int connects(char **v) {
  char *one[] = {v[0], v[3], v[4]};

  for (int i = 0; i < atoi(v[1]); i++) {
    uint64_t began = clock_now();

    tell(began, hostile_call(one));
    usleep((useconds_t)atoi(v[2]) * 1000);
  }
  return 0;
}
