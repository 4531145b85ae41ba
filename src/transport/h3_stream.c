/* h3_stream.c - the bytes of one HTTP/3 stream: what waits for the peer and
 * what came from it. An idle stream holds neither. */
#include "transport/h3_int.h"

#include <stdlib.h>
#include <string.h>

enum { IN_FIRST = 512 };

/* --- out --- */

int h3_out_add(struct h3_out *o, const void *a, size_t len_a, const void *b,
               size_t len_b) {
  struct h3_chunk *k = malloc(sizeof(*k) + len_a + len_b);

  if (!k) return ZTNA_ENOMEM;
  k->next = NULL;
  k->len = len_a + len_b;
  if (len_a) memcpy(k->data, a, len_a);
  if (len_b) memcpy(k->data + len_a, b, len_b);
  if (o->tail)
    o->tail->next = k;
  else
    o->head = k;
  o->tail = k;
  if (!o->unread) o->unread = k;
  o->held += sizeof(*k) + k->len;
  return 0;
}

static void out_pop(struct h3_out *o) {
  struct h3_chunk *k = o->head;

  o->head = k->next;
  if (!o->head) o->tail = NULL;
  o->held -= sizeof(*k) + k->len;
  free(k);
}

void h3_out_acked(struct h3_out *o, uint64_t n) {
  o->acked += n;
  while (o->head != o->unread && o->acked >= o->head->len) {
    o->acked -= o->head->len;
    out_pop(o);
  }
}

void h3_out_done(struct h3_out *o) {
  while (o->head) out_pop(o);
  *o = (struct h3_out){0};
}

/* Without data: *flags says that it ended, or the stream sleeps until it is
 * resumed. nghttp3 then looks at no other stream in the same call, so
 * stream_out is told by `starved` to ask again. */
static nghttp3_ssize read_out(nghttp3_conn *conn, int64_t id, nghttp3_vec *v,
                              size_t max, uint32_t *flags, void *ud,
                              void *stream_ud) {
  struct h3_out *o = &((struct h3_stream *)stream_ud)->out;
  size_t n = 0;

  for (; o->unread && n < max; o->unread = o->unread->next)
    v[n++] = (nghttp3_vec){o->unread->data, o->unread->len};
  if (!o->unread && o->ended) {
    *flags |= NGHTTP3_DATA_FLAG_EOF;
  } else if (!n) {
    ((struct h3 *)ud)->starved = true;
    return NGHTTP3_ERR_WOULDBLOCK;
  }
  return (nghttp3_ssize)n;
}

const nghttp3_data_reader h3_reader = {read_out};

/* --- in --- */

int h3_in_add(struct h3_in *in, const void *data, size_t len, size_t max) {
  size_t cap = in->cap ? in->cap : IN_FIRST;
  char *s;

  if (len > max || in->len > max - len) return ZTNA_EFULL;
  while (cap < in->len + len + 1) cap *= 2;
  if (cap != in->cap) {
    s = realloc(in->s, cap);
    if (!s) return ZTNA_ENOMEM;
    in->s = s;
    in->cap = cap;
  }
  memcpy(in->s + in->len, data, len);
  in->len += len;
  in->s[in->len] = 0;
  return 0;
}

void h3_in_drop(struct h3_in *in, size_t n) {
  if (n == in->len) {
    h3_in_done(in);
    return;
  }
  memmove(in->s, in->s + n, in->len - n + 1);
  in->len -= n;
}

void h3_in_done(struct h3_in *in) {
  free(in->s);
  *in = (struct h3_in){0};
}

/* --- the stream --- */

nghttp3_nv h3_field(const char *name, const char *value) {
  return (nghttp3_nv){.name = (const uint8_t *)name,
                      .value = (const uint8_t *)value,
                      .namelen = strlen(name),
                      .valuelen = strlen(value)};
}

void h3_stream_init(struct h3_stream *st, struct h3 *s, int64_t id) {
  st->s = s;
  st->id = id;
  if (s->conn) st->began_at = quic_time(s->conn);
  TAILQ_INSERT_TAIL(&s->streams, st, link);
  s->n_streams++;
}

void h3_stream_done(struct h3_stream *st) {
  h3_out_done(&st->out);
  h3_in_done(&st->in);
}

void h3_stream_stop(struct h3_stream *st, uint64_t app_error) {
  struct h3 *s = st->s;

  if (st->stopped || !h3_is_live(s)) return;
  st->stopped = true;
  if (nghttp3_conn_shutdown_stream_read(s->engine, st->id) < 0)
    h3_failed(s, "stop", NGHTTP3_ERR_NOMEM);
  quic_stream_stop(s->conn, st->id, app_error);
}

void h3_stream_reset(struct h3_stream *st, uint64_t app_error) {
  struct h3 *s = st->s;

  if (!h3_is_live(s)) return;
  nghttp3_conn_shutdown_stream_write(s->engine, st->id);
  quic_stream_reset(s->conn, st->id, app_error);
}

bool h3_stream_count(struct h3_stream *st, const nghttp3_vec *name,
                     const nghttp3_vec *value) {
  st->headers += name->len + value->len + 32;
  return st->headers <= H3_HEADERS_MAX;
}
