/* app.h - the programs of the person behind an agent: they ask services by UDP
 * and ping, each question unlike every other, and judge what the agent gives
 * to its machine. */
#ifndef ZTNA_TESTS_APP_H
#define ZTNA_TESTS_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ztna/addr.h>

struct sim;

enum {
  APP_ASKS = 16384,
  APP_PORT = 40000, /* the same in every agent */
  APP_ECHO_ID = 77,
  APP_HEAD = 16, /* of a question: who asks, and which */
};

struct app_ask {
  uint64_t sent_at, got_at; /* got_at 0: no reply yet */
  struct ztna_addr to;
  uint16_t len;
  bool ping;
};

struct app {
  struct sim *w;
  int agent;
  struct app_ask asks[APP_ASKS];
  uint32_t n_asks;
  /* Steady questions. */
  uint64_t every;
  char service[16];
  bool v6;
  uint32_t turn; /* of the steady questions: an older timer is void */
  /* What came. */
  uint64_t n_got, n_dup, n_foreign, n_errors, n_strange;
  uint64_t newest; /* when the newest question with an answer was sent */
  uint64_t slowest, last_rtt;     /* ns */
  uint8_t error_type, error_code; /* of the last ICMP error */
  /* Is asked first; true: it was its (kernel.h). NULL: nobody else is there. */
  bool (*hook)(void *ud, const uint8_t *ip, size_t len);
  void *hook_ud;
};

/* len: of the payload, APP_HEAD at least. False: the agent has no address. */
bool app_udp(struct app *a, const char *service, bool v6, size_t len);
bool app_ping(struct app *a, const char *service, bool v6, size_t len);
/* A question every so often, UDP and ping in turn; 0 stops. */
void app_steady(struct app *a, const char *service, bool v6, uint64_t every);
/* The agent gave this to its machine. */
void app_in(struct app *a, const uint8_t *ip, size_t len);
/* An answer to something that was asked at that time or later. */
bool app_back_since(const struct app *a, uint64_t since);
/* Nothing came that was not asked for here. */
bool app_is_clean(const struct app *a);

#endif
