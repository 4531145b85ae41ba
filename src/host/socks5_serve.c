/* socks5_serve.c - see socks5_serve.h. Not a byte is read that the message
 * under way does not need, so that what a program sends early stays in its
 * socket for who gets that. */
#include "host/socks5_serve.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/heap.h"
#include "base/time.h"
#include "role/sock.h"

#define SHAKE_WITHIN (10 * SEC) /* a program does this at once */
#define LAST_WITHIN (5 * SEC)   /* and takes the refusal */

enum state {
  GREETING,
  REQUEST,
  READY,  /* to be given out */
  SERVED, /* its association lasts as long as it */
  LAST,   /* the reply, then the end */
};

enum {
  DUE_READ = 1 << ZTNA_SOCK_READ,
  DUE_WRITE = 1 << ZTNA_SOCK_WRITE,
  DUE_SHUT = 1 << ZTNA_SOCK_SHUT,
  DUE_CLOSE = 1 << ZTNA_SOCK_CLOSE,
  DUE_ABORT = 1 << ZTNA_SOCK_ABORT
};

struct shake {
  struct heap_node node; /* given up then */
  struct socks5_serve *serve;
  uint32_t number; /* without base */
  enum state state;
  struct ztna_addr peer;
  struct socks5_message m;
  int association;
  uint8_t due;
  bool in_line;
  struct shake *next_in_line;
  size_t have, need, out_len, out_at;
  uint8_t in[SOCKS5_MESSAGE_MAX];
  uint8_t out[2 + SOCKS5_MESSAGE_MAX]; /* both answers, to who sends ahead */
};

struct socks5_serve {
  struct tcp_socks *socks;
  uint32_t base, next;
  const struct socks5_events *ev;
  void *ctx;
  struct shake *v[SOCKS5_SERVED_MAX];
  struct shake *first, *last; /* in line: something is due */
  unsigned n_ready;
  struct heap heap;
};

/* --- life */

struct socks5_serve *socks5_serve_new(struct tcp_socks *socks, uint32_t base,
                                      const struct socks5_events *ev,
                                      void *ctx) {
  struct socks5_serve *s = calloc(1, sizeof(*s));
  if (!s) return NULL;
  if (heap_reserve(&s->heap, SOCKS5_SERVED_MAX) < 0) {
    free(s);
    return NULL;
  }
  s->socks = socks;
  s->base = base;
  s->ev = ev;
  s->ctx = ctx;
  return s;
}

void socks5_serve_free(struct socks5_serve *s) {
  if (!s) return;
  heap_done(&s->heap);
  for (int i = 0; i < SOCKS5_SERVED_MAX; i++) free(s->v[i]);
  free(s);
}

static struct shake *shake_at(struct socks5_serve *s, uint32_t sock) {
  return s->v[sock - s->base];
}

static void due(struct shake *k, uint8_t what) {
  struct socks5_serve *s = k->serve;
  k->due |= what;
  if (k->in_line) return;
  k->in_line = true;
  k->next_in_line = NULL;
  if (s->last)
    s->last->next_in_line = k;
  else
    s->first = k;
  s->last = k;
}

static void leave_line(struct shake *k) {
  struct shake **at = &k->serve->first, *before = NULL;
  if (!k->in_line) return;
  while (*at != k) {
    before = *at;
    at = &before->next_in_line;
  }
  *at = k->next_in_line;
  if (k->serve->last == k) k->serve->last = before;
}

/* Its socket is no more, or no more ours. */
static void shake_free(struct shake *k) {
  struct socks5_serve *s = k->serve;
  leave_line(k);
  heap_del(&s->heap, &k->node);
  if (k->state == READY) s->n_ready--;
  if (k->state == SERVED) s->ev->on_dissociate(s->ctx, k->association);
  s->v[k->number] = NULL;
  free(k);
}

static struct shake *shake_new(struct socks5_serve *s, uint64_t now, int fd) {
  uint32_t i = s->next, n = 0;
  struct shake *k;
  while (s->v[i] && n++ < SOCKS5_SERVED_MAX) i = (i + 1) % SOCKS5_SERVED_MAX;
  k = s->v[i] ? NULL : calloc(1, sizeof(*k));
  if (!k) {
    close(fd);
    return NULL;
  }
  s->next = (i + 1) % SOCKS5_SERVED_MAX;
  k->serve = s;
  k->number = i;
  s->v[i] = k;
  tcp_socks_adopt(s->socks, now, s->base + i, fd);
  return s->v[i]; /* NULL: it was not taken */
}

void socks5_serve_accept(struct socks5_serve *s, uint64_t now, int fd,
                         const struct ztna_addr *peer) {
  struct shake *k = shake_new(s, now, fd);
  if (!k) return;
  k->peer = *peer;
  k->need = 2;
  heap_set(&s->heap, &k->node, now + SHAKE_WITHIN);
  due(k, DUE_READ);
}

/* --- what is said */

static void say(struct shake *k, const void *data, size_t len) {
  memcpy(k->out + k->out_len, data, len);
  k->out_len += len;
  due(k, DUE_WRITE);
}

static void last_reply(struct shake *k, uint64_t now, enum socks5_reply why) {
  static const struct ztna_addr none;
  uint8_t reply[SOCKS5_MESSAGE_MAX];
  say(k, reply, socks5_write_reply(reply, why, &none));
  k->state = LAST;
  due(k, DUE_READ | DUE_SHUT);
  heap_set(&k->serve->heap, &k->node, now + LAST_WITHIN);
}

void socks5_serve_refuse(struct socks5_serve *s, uint64_t now, int fd,
                         enum socks5_reply why) {
  struct shake *k = shake_new(s, now, fd);
  if (k) last_reply(k, now, why);
}

/* --- what is heard */

static void greeted(struct shake *k, uint64_t now) {
  uint8_t answer[2] = {5, 0};
  int n = socks5_read_greeting(&answer[1], k->in, k->have, &k->need);
  if (n == 0) return;
  if (n < 0) { /* that is no SOCKS */
    due(k, DUE_ABORT);
    return;
  }
  say(k, answer, 2);
  k->have = 0;
  k->need = 5;
  k->state = answer[1] == SOCKS5_NO_AUTH ? REQUEST : LAST;
  if (k->state == LAST) due(k, DUE_SHUT);
}

static void associate(struct shake *k, uint64_t now,
                      const struct ztna_addr *at) {
  struct socks5_serve *s = k->serve;
  uint8_t reply[SOCKS5_MESSAGE_MAX];
  struct ztna_addr bound;
  k->association = s->ev->on_associate(s->ctx, at, &k->peer, &bound);
  if (k->association < 0) {
    last_reply(k, now, SOCKS5_FAILED);
    return;
  }
  k->state = SERVED;
  heap_del(&s->heap, &k->node);
  say(k, reply, socks5_write_reply(reply, SOCKS5_OK, &bound));
}

static void requested(struct shake *k, uint64_t now) {
  int n = socks5_read_request(&k->m, k->in, k->have, &k->need);
  if (n == 0) return;
  if (n < 0) {
    last_reply(k, now, n == ZTNA_EINVAL ? SOCKS5_NO_TYPE : SOCKS5_FAILED);
  } else if (k->m.what == SOCKS5_CONNECT || k->m.what == SOCKS5_UDP) {
    k->state = READY;
    k->serve->n_ready++;
  } else {
    last_reply(k, now, SOCKS5_NO_COMMAND);
  }
}

static struct ztna_addr local_of(int fd) {
  struct sockaddr_storage ss = {0};
  socklen_t len = sizeof(ss);
  struct ztna_addr a = {0};
  if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0)
    ztna_addr_from_sockaddr(&a, &ss);
  return a;
}

static void give_out(struct shake *k, uint64_t now) {
  struct socks5_serve *s = k->serve;
  struct socks5_message m = k->m;
  struct ztna_addr peer = k->peer;
  int fd;
  /* Whoever sends ahead waits for the first answer yet. */
  tcp_socks_say(s->socks, s->base + k->number, k->out + k->out_at,
                k->out_len - k->out_at);
  fd = tcp_socks_take(s->socks, s->base + k->number);
  shake_free(k);
  if (fd >= 0) s->ev->on_connect(s->ctx, now, fd, &peer, &m);
}

void socks5_serve_run(struct socks5_serve *s, uint64_t now) {
  for (uint32_t i = 0; s->n_ready && i < SOCKS5_SERVED_MAX; i++) {
    struct shake *k = s->v[i];
    if (!k || k->state != READY) continue;
    if (k->m.what == SOCKS5_CONNECT) {
      give_out(k, now);
    } else {
      struct ztna_addr at = local_of(tcp_socks_look(s->socks, s->base + i));
      s->n_ready--;
      k->state = REQUEST;
      associate(k, now, &at);
      due(k, DUE_READ); /* its end is the association's */
    }
  }
}

void socks5_serve_tick(struct socks5_serve *s, uint64_t now) {
  struct heap_node *n;
  while ((n = heap_top(&s->heap)) && n->at <= now) {
    heap_del(&s->heap, n);
    due((struct shake *)n, DUE_ABORT);
  }
}

uint64_t socks5_serve_deadline(const struct socks5_serve *s) {
  const struct heap_node *n = heap_top(&s->heap);
  return n ? n->at : NEVER;
}

/* --- verbs */

bool socks5_serve_next(struct socks5_serve *s, struct ztna_sock_op *op) {
  struct shake *k = s->first;
  uint8_t bit;
  if (!k) return false;
  if (k->due & DUE_ABORT) k->due = DUE_ABORT;
  bit = k->due & (uint8_t)-k->due;
  k->due &= (uint8_t)~bit;
  *op = (struct ztna_sock_op){.what = sock_op_of(bit),
                              .sock = s->base + k->number};
  if (bit >= DUE_CLOSE) {
    shake_free(k);
  } else if (!k->due) {
    leave_line(k);
    k->in_line = false;
  }
  return true;
}

void socks5_serve_failed(struct socks5_serve *s, uint32_t sock) {
  if (shake_at(s, sock)) shake_free(shake_at(s, sock));
}

uint8_t *socks5_serve_room(struct socks5_serve *s, uint32_t sock,
                           size_t *room) {
  struct shake *k = shake_at(s, sock);
  if (!k || k->state == READY) return NULL;
  if (k->state >= SERVED) { /* of no interest */
    *room = sizeof(k->in);
    return k->in;
  }
  *room = k->need - k->have;
  return k->in + k->have;
}

void socks5_serve_read(struct socks5_serve *s, uint64_t now, uint32_t sock,
                       size_t n) {
  struct shake *k = shake_at(s, sock);
  if (!k || k->state >= READY) return;
  k->have += n;
  if (k->have < k->need) return;
  if (k->state == GREETING)
    greeted(k, now);
  else
    requested(k, now);
}

void socks5_serve_eof(struct socks5_serve *s, uint32_t sock) {
  if (shake_at(s, sock)) due(shake_at(s, sock), DUE_CLOSE);
}

int socks5_serve_peek(struct socks5_serve *s, uint32_t sock,
                      struct ztna_sock_vec *v, int n) {
  struct shake *k = shake_at(s, sock);
  if (!k || k->out_at == k->out_len) return 0;
  *v = (struct ztna_sock_vec){k->out + k->out_at, k->out_len - k->out_at};
  return 1;
}

void socks5_serve_wrote(struct socks5_serve *s, uint32_t sock, size_t n) {
  if (shake_at(s, sock)) shake_at(s, sock)->out_at += n;
}
