/* path_control.c - the control stream of a path: length-prefixed JSON on the
 * first bidirectional stream. */
#include "role/path_int.h"

#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/log.h"

enum { TX_MAX = 256 * 1024 };

struct chunk {
  struct chunk *next;
  size_t len;
  uint8_t data[];
};

void path_control_reset(struct path *p) {
  struct chunk *k;

  while ((k = p->tx_first)) {
    p->tx_first = k->next;
    free(k);
  }
  p->tx_last = p->tx_next = NULL;
  p->tx_off = p->tx_bytes = 0;
  p->tx_base = 0;
  p->tx_blocked = false;
  memset(&p->tx_bytes_out, 0, sizeof(p->tx_bytes_out));
  p->rx_len = 0;
  p->stream = -1;
}

int path_control_open(struct path *p) {
  return quic_stream_open(p->conn, true, &p->stream);
}

int path_send(struct path *p, json_t *msg) {
  struct chunk *k;
  size_t len;

  if (!p->conn) return ZTNA_ECLOSED;
  len = json_dumpb(msg, NULL, 0, JSON_COMPACT);
  if (!len || len > PATH_MSG_MAX) return ZTNA_ESIZE;
  if (p->tx_bytes + len + 4 > TX_MAX) return ZTNA_EFULL;
  k = malloc(sizeof(*k) + len + 4);
  if (!k) return ZTNA_ENOMEM;
  k->next = NULL;
  k->len = len + 4;
  for (int i = 0; i < 4; i++) k->data[i] = (uint8_t)(len >> (24 - 8 * i));
  json_dumpb(msg, (char *)k->data + 4, len, JSON_COMPACT);
  if (p->tx_last)
    p->tx_last->next = k;
  else
    p->tx_first = k;
  p->tx_last = k;
  if (!p->tx_next) p->tx_next = k, p->tx_off = 0;
  p->tx_bytes += k->len;
  quic_wake(p->conn);
  return 0;
}

void path_say(struct path *p, json_t *msg) {
  if (path_send(p, msg) < 0) path_close(p, REASON_RATE_LIMITED);
  json_decref(msg);
}

int path_control_out(struct path *p, int64_t *id, struct quic_vec *v,
                     size_t n) {
  size_t off = p->tx_off, i = 0;

  if (p->stream < 0 || p->tx_blocked || !p->tx_next) return 0;
  *id = p->stream;
  for (struct chunk *k = p->tx_next; k && i < n; k = k->next, off = 0)
    v[i++] = (struct quic_vec){k->data + off, k->len - off};
  return (int)i;
}

void path_control_sent(struct path *p, size_t n) {
  while (p->tx_next && n) {
    size_t left = p->tx_next->len - p->tx_off;

    if (n < left) {
      p->tx_off += n;
      return;
    }
    n -= left;
    p->tx_next = p->tx_next->next;
    p->tx_off = 0;
  }
}

void path_control_blocked(struct path *p) { p->tx_blocked = true; }
void path_control_room(struct path *p) { p->tx_blocked = false; }

void path_control_acked(struct path *p, uint64_t offset) {
  struct chunk *k;

  while ((k = p->tx_first) && k != p->tx_next &&
         p->tx_base + k->len <= offset) {
    p->tx_base += k->len;
    p->tx_bytes -= k->len;
    p->tx_first = k->next;
    if (!p->tx_first) p->tx_last = NULL;
    free(k);
  }
}

void path_control_shut(struct path *p) {
  quic_close(p->conn, REASON_MALFORMED, "the control stream was ended");
}

/* --- in --- */

static int one_message(struct path *p, const uint8_t *text, size_t len) {
  json_t *msg =
      json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
  int rv;

  if (!json_is_object(msg)) {
    json_decref(msg);
    return ZTNA_EMALFORMED;
  }
  rv = p->ev->on_message(p, p->ud, msg);
  json_decref(msg);
  return rv;
}

static int rx_append(struct path *p, const uint8_t *data, size_t len) {
  size_t need = p->rx_len + len, cap = p->rx_cap ? p->rx_cap : 1024;
  uint8_t *more;

  while (cap < need) cap *= 2;
  if (cap != p->rx_cap) {
    more = realloc(p->rx, cap);
    if (!more) return ZTNA_ENOMEM;
    p->rx = more;
    p->rx_cap = cap;
  }
  memcpy(p->rx + p->rx_len, data, len);
  p->rx_len += len;
  return 0;
}

/* The messages that are whole. A message may close the connection: then what
 * is behind it is not heard. */
static int rx_messages(struct path *p) {
  size_t used = 0;
  int rv = 0;

  while (quic_is_ready(p->conn) && p->rx_len - used >= 4) {
    struct rd r = rd_of(p->rx + used, p->rx_len - used);
    size_t n = rd_u32(&r);

    if (n > PATH_MSG_MAX) return ZTNA_EMALFORMED;
    if (rd_left(&r) < n) break;
    if ((rv = one_message(p, r.p, n)) < 0) return rv;
    used += n + 4;
  }
  memmove(p->rx, p->rx + used, p->rx_len - used);
  p->rx_len -= used;
  return 0;
}

int path_control_data(struct path *p, const uint8_t *data, size_t len,
                      bool fin) {
  struct quic_conn *c = p->conn;
  int rv;

  p->stream = PATH_CONTROL_STREAM;
  rv = rx_append(p, data, len);
  if (rv == 0) rv = rx_messages(p);
  if (rv == 0 && fin) rv = ZTNA_EMALFORMED;
  if (rv == ZTNA_ENOMEM)
    quic_close(c, REASON_INTERNAL, "no memory");
  else if (rv < 0) /* said here, so that the other side reads it */
    quic_close(c, REASON_MALFORMED, "a control message is malformed");
  return rv;
}
