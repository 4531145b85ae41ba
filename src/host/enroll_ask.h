/* enroll_ask.h - the enrolment client in the loop: looks the service's name up,
 * has a UDP socket of its own for the time of one attempt, and tells what came
 * of it. */
#ifndef ZTNA_HOST_ENROLL_ASK_H
#define ZTNA_HOST_ENROLL_ASK_H

#include "host/loop.h"
#include "role/enroll_client.h"

enum { ENROLL_PORT = 4435 };

struct enroll_ask;

/* r is lent: its buffers may be taken out of it. Another question may be asked
 * from the next turn of the loop on. */
typedef void (*on_enroll_result)(void *ctx, struct enroll_result *r);

/* NULL: logged. Free it after the host, from whose loop it takes a role. */
struct enroll_ask *enroll_ask_new(struct host *h, on_enroll_result on_result,
                                  void *ctx);
void enroll_ask_free(struct enroll_ask *a); /* NULL is fine */
/* Of o: server, key, token or own, all lent until the result is told, which is
 * never before this returns. Not while it is busy. */
void enroll_ask_start(struct enroll_ask *a, const struct enroll_options *o);
bool enroll_ask_is_busy(const struct enroll_ask *a);

#endif
