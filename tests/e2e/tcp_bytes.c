/* tcp_bytes.c - pseudo-random bytes known by seed and offset, see tcp.h. */
#include "tcp.h"

#include <string.h>

/* splitmix64's finalizer: no word tells the next */
static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static uint64_t word_at(const struct tcp_bytes *b) {
  return mix(b->seed + (b->at / 8 + 1) * 0x9e3779b97f4a7c15u);
}

static uint8_t byte_at(const struct tcp_bytes *b) {
  return (uint8_t)(word_at(b) >> 8 * (b->at & 7));
}

static void take_word(struct tcp_bytes *b, uint64_t w) {
  b->hash = mix(b->hash ^ w) + w;
  b->at += 8;
}

static void take_byte(struct tcp_bytes *b, uint8_t byte) {
  b->part |= (uint64_t)byte << 8 * (b->at & 7);
  if ((++b->at & 7) != 0) return;
  b->at -= 8;
  take_word(b, b->part);
  b->part = 0;
}

void tcp_bytes_make(struct tcp_bytes *b, void *to, size_t n) {
  uint8_t *p = to;
  while (n) {
    if ((b->at & 7) == 0 && n >= 8) {
      uint64_t w = word_at(b);
      memcpy(p, &w, 8);
      take_word(b, w);
      p += 8, n -= 8;
    } else {
      *p = byte_at(b);
      take_byte(b, *p++);
      n--;
    }
  }
}

bool tcp_bytes_came(struct tcp_bytes *b, const void *data, size_t n) {
  const uint8_t *p = data;
  bool right = true;
  while (n) {
    if ((b->at & 7) == 0 && n >= 8) {
      uint64_t w;
      memcpy(&w, p, 8);
      right &= w == word_at(b);
      take_word(b, w);
      p += 8, n -= 8;
    } else {
      right &= *p == byte_at(b);
      take_byte(b, *p++);
      n--;
    }
  }
  return right;
}

uint64_t tcp_bytes_hash(const struct tcp_bytes *b) {
  return mix(b->hash ^ b->part ^ b->at);
}
