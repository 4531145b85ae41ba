/* test_portmap.c - what is taken from routers, and what is left in them: a
 * router of our own in another network namespace, that says what it is told to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ztna/err.h>

#include "host/clock.h"
#include "host/portmap.h"
#include "host/portmap_int.h"
#include "host/portmap_ssdp.h"

static struct ztna_addr addr(const char *text) {
  struct ztna_addr a;
  assert_int_equal(ztna_addr_parse(&a, text), 0);
  return a;
}

/* --- what is of use */

static void only_addresses_that_the_internet_reaches_are_public(void **state) {
  static const char *const outside[] = {
      "1.1.1.1",    "11.0.0.1",    "100.63.255.255", "100.128.0.0",
      "172.32.0.1", "192.167.1.1", "223.255.255.255"};
  static const char *const inside[] = {
      "0.0.0.0",        "0.1.2.3",         "10.0.0.1",        "100.64.0.1",
      "127.0.0.1",      "100.127.255.255", "169.254.1.1",     "172.16.0.1",
      "192.168.0.1",    "224.0.0.1",       "255.255.255.255", "198.18.0.1",
      "172.31.255.255", "240.0.0.1",       "2001:db8::1"};
  for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++) {
    struct ztna_addr a = addr(outside[i]);
    assert_true(portmap_is_public(&a));
  }
  for (size_t i = 0; i < sizeof(inside) / sizeof(*inside); i++) {
    struct ztna_addr a = addr(inside[i]);
    assert_false(portmap_is_public(&a));
  }
}

static const char *url_in(const char *answer) {
  static char url[64];
  struct ztna_addr router = addr("192.168.7.1");
  return ssdp_location(answer, strlen(answer), &router, url, sizeof(url))
             ? url
             : NULL;
}

static void only_urls_of_the_router_are_taken(void **state) {
  static const char *const wrong[] = {
      "", "HTTP/1.1 200 OK\r\nST: x\r\n\r\n",
      "LOCATION: http://192.168.7.10/root.xml\r\n",
      "LOCATION: http://127.0.0.1:80/root.xml\r\n",
      "LOCATION: http://192.168.7.1@10.0.0.1/root.xml\r\n",
      "LOCATION: http://192.168.7.1:x@10.0.0.1/root.xml\r\n",
      "LOCATION: https://192.168.7.1/root.xml\r\n",
      "LOCATION: http://192.168.7.1.example.org/root.xml\r\n",
      "LOCATION: http://192.168.7.1/a b\r\n",
      "LOCATION: http://192.168.7.1/\x01\r\n", "LOCATION:\r\n",
      "LOCATION: http://192.168.7.1/"
      "0123456789012345678901234567890123456789012345678901234567890123\r\n",
      /* the first one counts */
      "LOCATION: http://10.0.0.1/\r\nLOCATION: http://192.168.7.1/\r\n"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
    assert_null(url_in(wrong[i]));
  assert_string_equal(
      url_in("HTTP/1.1 200 OK\r\nlocation: http://192.168.7.1:5000/r.xml \r\n"),
      "http://192.168.7.1:5000/r.xml");
  assert_string_equal(url_in("Location:http://192.168.7.1/r"),
                      "http://192.168.7.1/r");
}

/* --- a router that speaks NAT-PMP */

static struct {
  char outer[16];
  unsigned port; /* that it maps to; 1: the one that is asked for */
  uint32_t lifetime;
  unsigned delay_ms; /* of its answers to mappings */
  bool silent;
  int n_asked, n_mapped, n_removed;
} * router; /* shared with its process */
static pid_t router_pid;

static void answer(int fd, const uint8_t *q, ssize_t len,
                   const struct sockaddr_in *to) {
  uint8_t a[16] = {0, (uint8_t)(q[1] | 0x80)};
  uint32_t lifetime = htonl(router->lifetime);
  size_t n = q[1] ? 16 : 12;
  if (router->silent) return;
  if (q[1] == 0) {
    router->n_asked++;
    inet_pton(AF_INET, router->outer, a + 8);
  } else if (len >= 12) {
    bool removes = !memcmp(q + 8, "\0\0\0\0", 4);
    uint16_t port = htons((uint16_t)router->port);
    if (router->delay_ms && !removes) usleep(router->delay_ms * 1000);
    removes ? router->n_removed++ : router->n_mapped++;
    memcpy(a + 8, q + 4, 2);
    memcpy(a + 10, router->port == 1 ? q + 6 : (uint8_t *)&port, 2);
    if (!removes) memcpy(a + 12, &lifetime, 4);
  }
  sendto(fd, a, n, 0, (const struct sockaddr *)to, sizeof(*to));
}

static void be_router(int ready) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(5351)};
  int fd = -1;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  bool ok = unshare(CLONE_NEWNET) == 0;
  if (ok) fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ok = ok && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
  if (write(ready, ok ? "y" : "n", 1) != 1 || !ok) _exit(1);
  for (;;) {
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    uint8_t q[64];
    ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
    if (n >= 2) answer(fd, q, n, &from);
  }
}

static bool cable(void) {
  char text[512];
  snprintf(text, sizeof(text),
           "{ ip link add va type veth peer name vb && "
           "ip link set vb netns %d && ip addr add 192.168.7.2/24 dev va && "
           "ip link set lo up && ip link set va up && "
           "nsenter -t %d -n ip addr add 192.168.7.1/24 dev vb && "
           "nsenter -t %d -n ip link set vb up && "
           "ip route add default via 192.168.7.1; } 2>/dev/null",
           router_pid, router_pid, router_pid);
  return system(text) == 0;
}

/* Once; all tests below use it. False: not possible here. */
static bool have_router(void) {
  static int have = -1;
  int p[2];
  char c = 'n';
  if (have >= 0) return have;
  have = 0;
  router = mmap(NULL, sizeof(*router), PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (router == MAP_FAILED || pipe(p) < 0 || unshare(CLONE_NEWNET) < 0)
    return false;
  router_pid = fork();
  if (router_pid == 0) be_router(p[1]);
  have = read(p[0], &c, 1) == 1 && c == 'y' && cable();
  return have;
}

static int end_router(void **state) {
  if (router_pid <= 0) return 0;
  kill(router_pid, SIGKILL);
  waitpid(router_pid, NULL, 0);
  return 0;
}

/* --- a role that wants a mapping */

static struct {
  struct host *host;
  struct portmap *p;
  uint64_t begin, end_at, change_at, renumber_at;
  struct ztna_addr last;
  size_t n;
  int n_told;
  bool ends_when_told;
} role;

static void on_udp(void *ctx, uint64_t now, const struct dgram *d) {}
static int next(void *ctx, uint64_t now, struct dgram *v, int max) { return 0; }

static void on_tick(void *ctx, uint64_t now) {
  portmap_tick(role.p, now);
  if (now >= role.change_at) {
    role.change_at = NEVER;
    portmap_network_changed(role.p, now);
  }
  if (now >= role.renumber_at) {
    role.renumber_at = NEVER;
    strcpy(router->outer, "11.0.0.9");
  }
  if (now >= role.end_at) {
    role.end_at = NEVER;
    host_stop(role.host, 0);
  }
}

static uint64_t deadline(const void *ctx) {
  return time_min(
      time_min(role.end_at, time_min(role.change_at, role.renumber_at)),
      portmap_deadline(role.p));
}

static void on_stop(void *ctx, uint64_t now) {
  role.begin = now;
  portmap_stop(role.p, now);
}

static bool stopped(const void *ctx) { return portmap_stopped(role.p); }

static const struct loop_role verbs = {.udp_in = on_udp,
                                       .tick = on_tick,
                                       .next = next,
                                       .deadline = deadline,
                                       .stop = on_stop,
                                       .stopped = stopped};

static void on_mapped(void *ctx, uint64_t now, const struct ztna_addr *v,
                      size_t n) {
  role.n_told++;
  role.n = n;
  if (n) role.last = v[0];
  if (n && role.ends_when_told) role.end_at = now + 20 * MS;
}

static int setup(void **state) {
  if (!have_router()) return 0;
  memset(router, 0, sizeof(*router));
  strcpy(router->outer, "11.0.0.1");
  router->port = 1;
  router->lifetime = 3600;
  memset(&role, 0, sizeof(role));
  role.end_at = role.change_at = role.renumber_at = NEVER;
  return 0;
}

static int teardown(void **state) {
  if (!role.host) return 0;
  host_free(role.host);
  portmap_free(role.p);
  memset(&role, 0, sizeof(role));
  return 0;
}

/* Asks, for the router is what the test wants it to be. */
static void begin(void) {
  struct ztna_addr any = addr("0.0.0.0");
  struct udp *u = udp_new();
  assert_int_equal(udp_bind(u, &any), 0);
  role.host = host_new();
  struct host_role *r = host_add(role.host, &verbs, NULL, u);
  role.p = portmap_new(r, u, on_mapped, NULL);
  assert_non_null(role.p);
}

/* Runs for so long and stops; returns how long the stop took, ms. */
static uint64_t run(unsigned ms) {
  if (!have_router()) skip();
  begin();
  role.end_at = clock_now() + ms * MS;
  assert_int_equal(host_run(role.host), 0);
  return (clock_now() - role.begin) / MS;
}

static void status_is(const char *state, const char *why) {
  json_t *o = portmap_status(role.p);
  assert_string_equal(json_string_value(json_object_get(o, "state")), state);
  const char *text = json_string_value(json_object_get(o, "why"));
  if (why) assert_non_null(strstr(text, why));
  json_decref(o);
}

static void mapping_is_told_and_given_back(void **state) {
  if (!have_router()) skip();
  router->port = 4242;
  role.ends_when_told = true;
  uint64_t took = run(2000);
  struct ztna_addr outer = addr("11.0.0.1:4242");
  assert_true(ztna_addr_equal(&role.last, &outer));
  assert_int_equal(router->n_mapped, 1);
  assert_int_equal(router->n_removed, 1);
  assert_int_equal(role.n, 0); /* and that it is gone, too */
  assert_int_equal(role.n_told, 2);
  assert_true(took < 250);
}

static void double_nat_is_told_and_maps_nothing(void **state) {
  if (!have_router()) skip();
  strcpy(router->outer, "100.64.3.2");
  run(500);
  assert_int_equal(router->n_asked, 1);
  assert_int_equal(router->n_mapped, 0);
  assert_int_equal(role.n_told, 0);
}

static void nonsense_of_a_router_is_not_told(void **state) {
  if (!have_router()) skip();
  router->port = 0;
  run(500);
  assert_int_equal(router->n_mapped, 1);
  assert_int_equal(role.n_told, 0);
}

static void silent_router_delays_no_end(void **state) {
  if (!have_router()) skip();
  router->silent = true;
  uint64_t took = run(100);
  assert_true(took < 100);
  assert_int_equal(role.n_told, 0);
  status_is("asking", NULL);
}

static void slow_router_delays_the_end_by_its_bound(void **state) {
  if (!have_router()) skip();
  router->delay_ms = 600;
  uint64_t took = run(100);
  assert_in_range(took, PORTMAP_STOP_AFTER - 50, PORTMAP_STOP_AFTER + 150);
  assert_int_equal(router->n_removed, 0);
  for (int i = 0; i < 100 && !router->n_removed; i++) usleep(20000);
  assert_true(router->n_removed > 0); /* it came too late to stay */
}

/* Asked again 2 s after the first time, at the earliest. */
static void what_changes_with_the_network_is_told(void **state) {
  if (!have_router()) skip();
  role.change_at = clock_now() + 100 * MS;
  role.renumber_at = clock_now() + 200 * MS;
  run(2500);
  struct ztna_addr outer = addr("11.0.0.9");
  outer.port = role.last.port;
  assert_int_equal(role.n_told, 3); /* here, there, gone */
  assert_true(ztna_addr_equal(&role.last, &outer));
  assert_int_equal(router->n_asked, 2);
}

static void failure_is_told_with_its_reasons(void **state) {
  if (!have_router()) skip();
  strcpy(router->outer, "192.168.99.1");
  run(4000); /* UPnP is given up after 3 s */
  status_is("none", "nat-pmp: double NAT: the router's own outer address is "
                    "192.168.99.1");
  status_is("none", "upnp: the router does not answer");
}

static void one_that_does_not_ask_says_so(void **state) {
  json_t *o = portmap_status(NULL);
  assert_string_equal(json_string_value(json_object_get(o, "state")), "none");
  json_decref(o);
  assert_true(portmap_stopped(NULL));
  assert_true(portmap_deadline(NULL) == NEVER);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(only_addresses_that_the_internet_reaches_are_public),
      cmocka_unit_test(only_urls_of_the_router_are_taken),
      cmocka_unit_test(one_that_does_not_ask_says_so),
      TEST(mapping_is_told_and_given_back),
      TEST(double_nat_is_told_and_maps_nothing),
      TEST(nonsense_of_a_router_is_not_told),
      TEST(silent_router_delays_no_end),
      TEST(slow_router_delays_the_end_by_its_bound),
      TEST(what_changes_with_the_network_is_told),
      TEST(failure_is_told_with_its_reasons),
  };
  return cmocka_run_group_tests(tests, NULL, end_router);
}
