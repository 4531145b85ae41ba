/* check.h - asks backends whether they are well: one TCP connect, one HTTP
 * request or one datagram at a time per service. When, and what the results
 * mean, is the core's (role/connector_health.h), time-outs too. All sockets
 * hang in one epoll descriptor; nothing here blocks. */
#ifndef ZTNA_HOST_CHECK_H
#define ZTNA_HOST_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <ztna/addr.h>

enum {
  CHECK_READ_MAX = 4096,  /* of an HTTP answer until its status line ends */
  CHECK_BYTES_MAX = 1024, /* of a request or an expected answer over UDP */
};

struct check_how {
  enum { CHECK_BY_TCP, CHECK_BY_HTTP, CHECK_BY_UDP } by;
  const char *path, *host;            /* HTTP: GET, Host header */
  unsigned status_first, status_last; /* HTTP: what is well */
  const char *send, *expect;          /* UDP, as check_bytes reads them; an
                                         answer is well when it contains
                                         the expected bytes */
};

struct checks;

/* Of a check that began and was not cancelled, once; error: in words, lent;
 * NULL: it passed. May start checks. */
typedef void (*check_on_done)(void *ctx, size_t service, const char *error);

/* NULL: no memory or no descriptor. */
struct checks *checks_new(check_on_done on_done, void *ctx);
void checks_free(struct checks *c); /* no callbacks; NULL is fine */
/* Readable when checks_run has something to do. */
int checks_fd(const struct checks *c);
void checks_run(struct checks *c);

/* Ends a check of this service that still runs, silently. May call back before
 * it returns. how is used during the call only. */
void checks_start(struct checks *c, size_t service, const struct check_how *how,
                  const struct ztna_addr *to);
void checks_cancel(struct checks *c, size_t service); /* none runs: fine */
/* Services have other numbers now: number i became to[i], SIZE_MAX: it is
 * gone. Those from n on keep theirs. */
void checks_renumber(struct checks *c, const size_t *to, size_t n);

/* Text with \r \n \t \\ and \xNN as bytes. How many, or -1: something else
 * behind a backslash, or more than room. */
int check_bytes(const char *text, uint8_t *to, size_t room);

#endif
