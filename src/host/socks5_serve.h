/* socks5_serve.h - the first words of SOCKS connections (RFC 1928), until it is
 * known what each wants: then its socket is given out. Bounded in number and
 * time. Its sockets lie in the same table as a core's (tcp_sock.h), with
 * numbers from `base` on. */
#ifndef ZTNA_HOST_SOCKS5_SERVE_H
#define ZTNA_HOST_SOCKS5_SERVE_H

#include "host/socks5.h"
#include "host/tcp_sock.h"

enum { SOCKS5_SERVED_MAX = 256 };

struct socks5_events {
  /* It wants to be connected; fd is the callee's, with nothing read that is not
   * SOCKS. */
  void (*on_connect)(void *ctx, uint64_t now, int fd,
                     const struct ztna_addr *peer,
                     const struct socks5_message *m);
  /* It wants to send datagrams from its address, to an address like `local`.
   * The number of the association, or <0; *bound: where it may send to. */
  int (*on_associate)(void *ctx, const struct ztna_addr *local,
                      const struct ztna_addr *peer, struct ztna_addr *bound);
  void (*on_dissociate)(void *ctx, int number);
};

struct socks5_serve;

struct socks5_serve *socks5_serve_new(struct tcp_socks *socks, uint32_t base,
                                      const struct socks5_events *ev,
                                      void *ctx);
/* NULL is fine. The sockets are the table's. */
void socks5_serve_free(struct socks5_serve *s);

/* Takes a connection over. */
void socks5_serve_accept(struct socks5_serve *s, uint64_t now, int fd,
                         const struct ztna_addr *peer);
/* Takes one back that was given out, to say why it cannot be and close it. */
void socks5_serve_refuse(struct socks5_serve *s, uint64_t now, int fd,
                         enum socks5_reply why);
/* Gives out who is ready; call it before tcp_socks_flush. */
void socks5_serve_run(struct socks5_serve *s, uint64_t now);
void socks5_serve_tick(struct socks5_serve *s, uint64_t now);
uint64_t socks5_serve_deadline(const struct socks5_serve *s);

/* Verbs of struct tcp_sock_core, for numbers from base on. */
bool socks5_serve_next(struct socks5_serve *s, struct ztna_sock_op *op);
void socks5_serve_failed(struct socks5_serve *s, uint32_t sock);
uint8_t *socks5_serve_room(struct socks5_serve *s, uint32_t sock, size_t *room);
void socks5_serve_read(struct socks5_serve *s, uint64_t now, uint32_t sock,
                       size_t n);
void socks5_serve_eof(struct socks5_serve *s, uint32_t sock);
int socks5_serve_peek(struct socks5_serve *s, uint32_t sock,
                      struct ztna_sock_vec *v, int n);
void socks5_serve_wrote(struct socks5_serve *s, uint32_t sock, size_t n);

#endif
