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
int raw_tap(const char *dev);
/* The payload of a UDP packet to that address (to.port 0: any port of it, in
 * *at); NULL: another one. */
const uint8_t *raw_payload(const uint8_t *p, size_t n,
                           const struct ztna_addr *to, struct ztna_addr *from,
                           struct ztna_addr *at, size_t *len);
int raw_garbage(int argc, char **argv);
int raw_mirror(int argc, char **argv);
int raw_scan(int argc, char **argv);

int mitm(char **argv);             /* hostile_mitm.c */
int replay(int argc, char **argv); /* hostile_replay.c */

int flood_initials(char **argv); /* hostile_flood.c */
int flood_stun(char **argv);
int flood_spray(char **argv);
int manners(int argc, char **argv); /* hostile_h3.c */
int amplify(char **argv);           /* hostile_amplify.c */
int visit(char **argv);             /* hostile_visit.c */
int connects(char **argv);

/* hostile_tls.c: who the next client is, once hostile_identity made it. */
void hostile_prepare(const char *cert, size_t cert_len, const char *key,
                     size_t key_len);
void *hostile_who(void);
void hostile_be(void *who);

/* tool_hostile.c: the rest ends the process when it cannot. */
struct quic;
struct ztna_addr hostile_addr(const char *text);
int hostile_socket(const struct ztna_addr *local);
void hostile_identity(const char *cert, const char *key);
/* A client's endpoint with one connection, which nobody cares for. */
struct quic *hostile_dial(const struct ztna_addr *relay);
/* ADDR CERT KEY: a control connection with one request, honest. False: it was
 * not answered within 2 s. */
bool hostile_call(char **argv);

#endif
