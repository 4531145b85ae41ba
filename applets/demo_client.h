/* demo_client.h - a program that uses the web service of `ztna demo` through a
 * port of this machine: fetches DEMO_PAGE_PATH, then reads DEMO_BULK_PATH for a
 * while. It blocks as programs do, so it has a thread. */
#ifndef ZTNA_APPLETS_DEMO_CLIENT_H
#define ZTNA_APPLETS_DEMO_CLIENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <ztna/addr.h>

enum demo_client_state { CLIENT_IDLE, CLIENT_PAGE, CLIENT_BULK, CLIENT_DONE };

struct demo_client {
  pthread_t thread;
  atomic_int state; /* of enum demo_client_state; a member below may be read
                       once the state that fills it is over */
  atomic_bool quit;
  struct ztna_addr to;
  uint64_t bulk_for; /* ns */
  int status;        /* PAGE: HTTP's */
  size_t page_bytes;
  uint64_t bulk_bytes, bulk_ns; /* BULK */
  char why[128];                /* why it failed; empty: it did not */
};

/* c is zeroed. 0 or ZTNA_EFULL (no thread). */
int demo_client_start(struct demo_client *c, const struct ztna_addr *to,
                      uint64_t bulk_for);
enum demo_client_state demo_client_state(const struct demo_client *c);
/* Asks it to end; it does so once `to` does not answer any more, or before. */
void demo_client_quit(struct demo_client *c);
/* Waits for its end; fine when it was never started. */
void demo_client_join(struct demo_client *c);

#endif
