/* portmap_ssdp.c - M-SEARCH (UPnP Device Architecture 1.1, 1.3.2), by multicast
 * and to the router alone, since some hear only one of them.
 *
 * Whoever is on the same network may answer, and name any URL: only answers of
 * the router count, and only URLs at the router, so that nobody lets us ask
 * others. */
#include "host/portmap_ssdp.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/clock.h"

enum { PORT = 1900, FIND_MS = 3000, ANSWERS_MAX = 64, ANSWER_ROOM = 2048 };

/* --- the answer */

bool ssdp_url_is_at(const char *url, const struct ztna_addr *router) {
  static const char scheme[] = "http://";
  char ip[ZTNA_ADDR_STRLEN];
  if (!url || strncasecmp(url, scheme, strlen(scheme)) != 0) return false;
  url += strlen(scheme);
  ztna_addr_print_ip(router, ip);
  size_t n = strlen(ip);
  return strncmp(url, ip, n) == 0 && (url[n] == ':' || url[n] == '/') &&
         !strchr(url, '@');
}

/* The value of a header line in [p, end); NULL: it is another one. */
static const char *value_of(const char *p, const char *end, const char *name) {
  size_t n = strlen(name);
  if ((size_t)(end - p) <= n || strncasecmp(p, name, n) != 0) return NULL;
  for (p += n; p < end && (*p == ' ' || *p == '\t'); p++) continue;
  return p;
}

/* Without blanks, and nothing that is no part of a URL. */
static bool copy_url(const char *p, const char *end, char *url, size_t room) {
  while (end > p && (end[-1] == ' ' || end[-1] == '\t')) end--;
  size_t n = (size_t)(end - p);
  if (n == 0 || n >= room) return false;
  for (size_t i = 0; i < n; i++)
    if (p[i] <= ' ' || p[i] > '~') return false;
  memcpy(url, p, n);
  url[n] = 0;
  return true;
}

bool ssdp_location(const void *data, size_t len, const struct ztna_addr *router,
                   char *url, size_t room) {
  const char *p = data, *end = p + len;
  while (p < end) {
    const char *line = memchr(p, '\n', (size_t)(end - p));
    const char *stop = line ? line : end;
    const char *last = stop > p && stop[-1] == '\r' ? stop - 1 : stop;
    const char *value = value_of(p, last, "location:");
    if (value)
      return copy_url(value, last, url, room) && ssdp_url_is_at(url, router);
    p = stop + 1;
  }
  return false;
}

/* --- the question */

static void send_to(int fd, const struct ztna_addr *to, const char *device) {
  struct sockaddr_storage ss = {0};
  socklen_t n = (socklen_t)ztna_addr_to_sockaddr(to, &ss);
  char text[256];
  int len = snprintf(text, sizeof(text),
                     "M-SEARCH * HTTP/1.1\r\n"
                     "HOST: 239.255.255.250:1900\r\n"
                     "ST: urn:schemas-upnp-org:device:%s\r\n"
                     "MAN: \"ssdp:discover\"\r\n"
                     "MX: 1\r\n\r\n",
                     device);
  /* Lost is as good as not sent: it is repeated. */
  (void)!sendto(fd, text, (size_t)len, MSG_NOSIGNAL, (struct sockaddr *)&ss, n);
}

static void send_all(int fd, const struct ztna_addr *router) {
  static const uint8_t all[4] = {239, 255, 255, 250};
  static const char *const devices[] = {"InternetGatewayDevice:1",
                                        "InternetGatewayDevice:2"};
  struct ztna_addr group = ztna_addr_v4(all, PORT), one = *router;
  one.port = PORT;
  for (int i = 0; i < 2; i++) {
    send_to(fd, &group, devices[i]);
    send_to(fd, &one, devices[i]);
  }
}

/* Bound to our address towards the router, so that it leaves there. */
static int open_socket(const struct ztna_addr *own) {
  struct sockaddr_storage ss = {0};
  struct ztna_addr at = *own;
  at.port = 0;
  socklen_t len = (socklen_t)ztna_addr_to_sockaddr(&at, &ss);
  struct in_addr via;
  memcpy(&via, own->ip, sizeof(via));
  unsigned char ttl = 2;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &via, sizeof(via));
  setsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl));
  if (bind(fd, (struct sockaddr *)&ss, len) == 0) return fd;
  close(fd);
  return -1;
}

/* What has arrived. */
static bool take(int fd, const struct ztna_addr *router, char *url,
                 size_t room) {
  char data[ANSWER_ROOM];
  for (int i = 0; i < ANSWERS_MAX; i++) {
    struct sockaddr_storage ss;
    struct ztna_addr from;
    socklen_t n = sizeof(ss);
    ssize_t len =
        recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&ss, &n);
    if (len < 0) return false;
    if (ztna_addr_from_sockaddr(&from, &ss) == 0 &&
        ztna_addr_same_ip(&from, router) &&
        ssdp_location(data, (size_t)len, router, url, room))
      return true;
  }
  return false;
}

bool ssdp_find(const struct ztna_addr *router, const struct ztna_addr *own,
               char *url, size_t room) {
  static const uint64_t send_at[] = {0, 250 * MS, 1000 * MS, NEVER};
  int fd = open_socket(own), n_sent = 0;
  uint64_t begin = clock_now(), now = begin;
  bool found = false;
  if (fd < 0) return false;
  for (; !found && now - begin < FIND_MS * MS; now = clock_now()) {
    if (now - begin >= send_at[n_sent]) {
      send_all(fd, router);
      n_sent++;
    }
    uint64_t wake = begin + time_min(send_at[n_sent], FIND_MS * MS);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int ms = wake > now ? (int)((wake - now) / MS) + 1 : 0;
    if (poll(&p, 1, ms) > 0) found = take(fd, router, url, room);
  }
  close(fd);
  return found;
}
