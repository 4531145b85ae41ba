/* hostile.h - what the files of tool_hostile share: a peer that keeps none of
 * the rules, for the end-to-end tests. */
#ifndef ZTNA_TESTS_HOSTILE_H
#define ZTNA_TESTS_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ztna/addr.h>

/* How its TLS misbehaves as a client (hostile_tls.c, which takes the place of
 * transport/tls.c). */
struct hostile {
  bool no_cert;     /* shows none */
  bool resume;      /* offers a ticket, one of its own making */
  const char *alpn; /* offers this instead; "": none at all */
  bool offered;     /* out: the ticket went into the ClientHello */
};
extern struct hostile hostile;

/* hostile_raw.c: packets with whatever source address. IPv4 only. */
int raw_open(void);
void raw_send(int fd, const struct ztna_addr *from, const struct ztna_addr *to,
              const void *data, size_t len);
int raw_garbage(int argc, char **argv);
int raw_mirror(int argc, char **argv);
int raw_scan(int argc, char **argv);

#endif
