/* ipq.c - see ipq.h. Each packet lies behind a note of 8 bytes; both begin at
 * multiples of 8. An empty ring begins anew at its start, so a program whose
 * answers are fetched at once touches little memory, and that stays in cache.
 *
 *   head >= tail: [ free | tail: packets | head: free ]
 *   head < tail:  [ packets | head: free | tail: packets | wrap: unused ]
 *
 * head == tail: full when n, else empty. As long as head >= tail, wrap is head.
 */
#include "part/ipq.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

struct note {
  uint32_t len;
  uint16_t gso_size;
  bool partial;
};

enum { NOTE = sizeof(struct note) };

static size_t rounded(size_t n) { return (n + NOTE - 1) / NOTE * NOTE; }

int ipq_init(struct ipq *q, size_t cap) {
  *q = (struct ipq){.cap = cap / NOTE * NOTE};
  q->buf = malloc(q->cap);
  return q->buf ? 0 : ZTNA_ENOMEM;
}

void ipq_done(struct ipq *q) {
  free(q->buf);
  *q = (struct ipq){0};
}

static bool is_split(const struct ipq *q) { return q->n && q->head <= q->tail; }

/* Free bytes in one piece behind head, and at the ring's start. */
static size_t free_behind(const struct ipq *q) {
  return (is_split(q) ? q->tail : q->cap) - q->head;
}

static size_t free_before(const struct ipq *q) {
  return is_split(q) ? 0 : q->tail;
}

uint8_t *ipq_room(struct ipq *q, size_t len) {
  size_t need = NOTE + rounded(len);

  if (len > IPQ_MAX) return NULL;
  if (free_behind(q) >= need)
    q->at = q->head;
  else if (free_before(q) >= need)
    q->at = 0;
  else
    return NULL;
  return q->buf + q->at + NOTE;
}

static void set_head(struct ipq *q, size_t head) {
  q->head = q->at = head;
  if (!is_split(q)) q->wrap = head;
}

void ipq_push(struct ipq *q, size_t len, uint16_t gso_size, bool partial) {
  struct note note = {(uint32_t)len, gso_size, partial};

  assert(len && len <= IPQ_MAX);
  memcpy(q->buf + q->at, &note, sizeof(note));
  q->last = q->at;
  q->n++;
  set_head(q, q->at + NOTE + rounded(len));
}

static void look(const struct ipq *q, size_t at, struct ipq_pkt *k) {
  struct note note;

  memcpy(&note, q->buf + at, sizeof(note));
  *k = (struct ipq_pkt){.data = q->buf + at + NOTE,
                        .len = note.len,
                        .gso_size = note.gso_size,
                        .partial = note.partial};
}

bool ipq_newest(struct ipq *q, struct ipq_pkt *k) {
  if (!q->n) return false;
  look(q, q->last, k);
  return true;
}

bool ipq_grow(struct ipq *q, const uint8_t *data, size_t len,
              uint16_t gso_size) {
  struct ipq_pkt k;
  struct note note;
  size_t end;

  if (!q->n) return false;
  look(q, q->last, &k);
  if (len > IPQ_MAX - k.len) return false;
  end = q->last + NOTE + rounded(k.len + len);
  if (end > q->head + free_behind(q)) return false;
  memcpy(k.data + k.len, data, len);
  note = (struct note){(uint32_t)(k.len + len), gso_size, true};
  memcpy(q->buf + q->last, &note, sizeof(note));
  set_head(q, end);
  return true;
}

bool ipq_pop(struct ipq *q, struct ipq_pkt *k) {
  if (!q->n) return false;
  look(q, q->tail, k);
  q->tail += NOTE + rounded(k->len);
  if (--q->n == 0) {
    q->head = q->tail = q->wrap = 0;
  } else if (q->tail == q->wrap) { /* the seam */
    q->tail = 0;
    q->wrap = q->head;
  }
  return true;
}

size_t ipq_free(const struct ipq *q) {
  size_t a = free_behind(q), b = free_before(q), max = a > b ? a : b;

  if (max <= NOTE) return 0;
  return max - NOTE < IPQ_MAX ? max - NOTE : IPQ_MAX;
}
