/* fuzz_stack.c - segments of three peers, right ones and ones with any flags,
 * numbers, windows, options and lengths, between all that a user may do: bytes
 * come in order and are those that were said, no more than the window at once;
 * what comes out is well-formed; nothing is used after its end, nothing leaks.
 */
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "codec/ip_wire.h"
#include "fuzz.h"
#include "stack/stack.h"
#include "unit/tcp_peer.h"

enum { PEERS = 3, STEP = 6, MOST_STEPS = 300, MTU = 1280 };

enum op {
  SAY,    /* a segment as it should be: flags, length */
  TWIST,  /* one with a few bytes changed */
  RAW,    /* bytes as they are, if there is a connection */
  REOPEN, /* SYN to be let in */
  REFUSE,
  WRITE,
  SHUT,
  TAKE,
  ABORT,
  WAIT,
  ROOM, /* or none */
  N_OPS,
};

static const uint8_t talk[] = {3, 0,  0, 0,  0, 0, 0, ACK, 0, 0, 0, 0,
                               0, 24, 0, 99, 0, 0, 5, 0,   9, 9, 0, 0,
                               0, 16, 0, 0,  0, 0, 0, 17,  0, 0, 0, 0,
                               6, 0,  0, 0,  0, 0, 0, 16,  0, 0, 0, 0},
                     twists[] = {3, 0,  0, 0, 0,  0, 0, 16, 0, 0, 0,  0,
                                 1, 16, 2, 0, 24, 9, 1, 2,  0, 0, 33, 1,
                                 9, 0,  9, 9, 0,  0, 7, 0,  2, 0, 0,  0},
                     ends[] = {14, 0, 0,  0, 0, 0, 11, 16, 0, 0, 0, 0,
                               17, 0, 0,  0, 0, 0, 11, 20, 0, 0, 0, 0,
                               14, 0, 0,  0, 0, 0, 10, 0,  0, 0, 0, 0,
                               16, 0, 40, 0, 0, 0, 20, 0,  1, 0, 0, 0};

#define SEED(s) \
  { s, sizeof(s) }
const struct fuzz_seed fuzz_seeds[] = {SEED(talk), SEED(twists), SEED(ends)};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static struct user {
  struct tcp_peer peer;
  struct stack_conn *c;
  uint32_t first; /* sequence number of the first byte */
  uint64_t n_got, n_taken, n_written, n_sent;
  bool fin;
} users[PEERS];

static struct stack *stack;
static uint64_t now, seed;
static bool no_room, offload;
static uint8_t out[MOST], text[MOST];

/* A byte follows from its sequence number, so that it is the same however it
 * comes. */
static uint8_t byte_of(uint32_t seq) { return (uint8_t)(seq * 7 + (seq >> 8)); }

/* --- the user --- */

static uint8_t *room(void *ud, size_t len) {
  assert(len <= MOST);
  return no_room ? NULL : out;
}

/* What a peer hears it takes as right. */
static void came_out(void *ud, const struct stack_out *o) {
  struct tcp_seen s;

  assert(tcp_peer_read(&s, out, o->len, offload));
  assert(o->gso_size ? offload && s.len > o->gso_size : o->len <= MTU);
  for (size_t i = 0; i < s.len; i++) assert(s.data[i] == 'w');
  for (int i = 0; i < PEERS; i++) {
    struct tcp_peer *p = &users[i].peer;

    if (!ztna_addr_equal(&p->from, &s.to)) continue;
    p->ack = s.seq + (uint32_t)s.len + !!(s.flags & (SYN | FIN));
  }
}

static void on_data(struct stack_conn *c, void *ud, const uint8_t *data,
                    size_t len) {
  struct user *u = ud;

  assert(u->c == c && !u->fin);
  for (size_t i = 0; i < len; i++)
    assert(data[i] == byte_of(u->first + (uint32_t)(u->n_got + i)));
  u->n_got += len;
  assert(u->n_got - u->n_taken <= STACK_WINDOW);
  if (len % 5 == 0) {
    stack_took(c, now, len / 2);
    u->n_taken += len / 2;
  }
  if (len % 97 == 1) {
    u->c = NULL;
    stack_abort(c, now);
  }
}

static void on_fin(struct stack_conn *c, void *ud) {
  struct user *u = ud;

  assert(u->c == c && !u->fin);
  u->fin = true;
  if (u->n_got % 7 != 3) return;
  u->c = NULL;
  stack_abort(c, now);
}

static void on_sent(struct stack_conn *c, void *ud, size_t n) {
  struct user *u = ud;

  assert(u->c == c);
  u->n_sent += n;
  assert(u->n_sent <= u->n_written);
  if (n % 89 != 3) return;
  u->c = NULL;
  stack_abort(c, now);
}

static void on_reset(struct stack_conn *c, void *ud) {
  struct user *u = ud;

  assert(u->c == c);
  u->c = NULL;
}

static void on_closed(struct stack_conn *c, void *ud) {
  struct user *u = ud;

  assert(u->c == c && u->fin && u->n_sent == u->n_written);
  u->c = NULL;
}

static const struct stack_ops ops = {room,    came_out, on_data,  on_fin,
                                     on_sent, on_reset, on_closed};

/* --- packets --- */

static void give(struct user *u, const uint8_t *pkt, size_t len) {
  uint8_t *b = malloc(len);

  memcpy(b, pkt, len);
  if (u->c)
    stack_in(u->c, now, b, len);
  else
    stack_refuse(stack, now, b, len);
  free(b);
}

static size_t build(struct user *u, uint8_t *b, uint8_t flags, size_t len) {
  const struct tcp_options o = {.mss = MTU - 60, .scale = 7};

  for (size_t i = 0; i < len; i++) text[i] = byte_of(u->peer.seq + (uint32_t)i);
  return tcp_peer_build(&u->peer, b, flags, flags & SYN ? &o : NULL, text, len);
}

static void say(struct user *u, const uint8_t *s) {
  static uint8_t b[MOST];
  size_t len = get16(s + 2) % (offload ? 60000 : MTU - 60);
  uint8_t flags = s[1] ? s[1] & (uint8_t) ~(SYN | RST) : ACK;

  u->peer.window = get16(s + 4) ? get16(s + 4) : 0xffff;
  size_t n = build(u, b, flags, len);
  u->peer.seq += (uint32_t)len + !!(flags & FIN);
  give(u, b, n);
}

/* Which of the segment's numbers, and what it becomes; its bytes stay those of
 * their numbers. */
static void twist(struct user *u, const uint8_t *s) {
  static uint8_t b[MOST];
  struct tcp_peer was = u->peer;
  size_t len = s[2] & 0x80 ? 0 : get16(s + 4) % 3000;

  if (s[2] & 1) u->peer.seq += (uint32_t)(int8_t)s[3] * 50;
  if (s[2] & 2) u->peer.seq += (uint32_t)s[3] << 24;
  if (s[2] & 4) u->peer.ack += (uint32_t)(int8_t)s[3] * 50;
  if (s[2] & 8) u->peer.ack += (uint32_t)s[3] << 24;
  u->peer.window = s[3];
  size_t n = build(u, b, s[1], len);
  if (s[2] & 16) b[(u->peer.from.family == 4 ? 20 : 40) + 12] = s[4];
  u->peer = was;
  /* With its header's length wrong, bytes are none of ours any more. */
  if (s[2] & 16 && (s[4] >> 4) > 5) n -= len;
  give(u, b, n);
}

static void reopen(struct user *u) {
  uint8_t b[100];

  if (u->c) return;
  u->peer.seq += 12345;
  u->first = u->peer.seq + 1;
  u->n_got = u->n_taken = u->n_written = u->n_sent = 0;
  u->fin = false;
  size_t n = build(u, b, SYN, 0);
  u->c = stack_accept(stack, now, b, n, u);
  u->peer.seq++;
}

/* --- steps --- */

static void pass(uint64_t span) {
  uint64_t end = now + span;

  for (int i = 0; i < 200 && stack_deadline(stack) <= end; i++) {
    assert(stack_deadline(stack) >= now);
    now = stack_deadline(stack);
    stack_tick(stack, now);
  }
  now = end;
  stack_tick(stack, now);
}

static void user_does(enum op op, struct user *u, const uint8_t *s) {
  static const uint8_t *bytes;
  static uint8_t w[1 << 16];
  struct stack_conn *c = u->c;
  size_t n = get16(s + 2);

  if (!bytes) bytes = memset(w, 'w', sizeof(w));
  if (!c) return;
  switch (op) {
  case WRITE:
    u->n_written += stack_write(c, bytes, n);
    if (s[1] & 1) stack_flush(c, now);
    break;
  case SHUT:
    stack_shut(c, now);
    break;
  case TAKE:
    n *= 16;
    if (n > u->n_got - u->n_taken) n = u->n_got - u->n_taken;
    u->n_taken += n;
    stack_took(c, now, n);
    break;
  default:
    u->c = NULL;
    stack_abort(c, now);
    break;
  }
}

static void step(const uint8_t *s, size_t left) {
  enum op op = s[0] % N_OPS;
  struct user *u = &users[s[0] / N_OPS % PEERS];

  switch (op) {
  case SAY:
    say(u, s);
    break;
  case TWIST:
    twist(u, s);
    break;
  case RAW:
    give(u, s, left);
    break;
  case REOPEN:
    reopen(u);
    break;
  case REFUSE:
    stack_refuse(stack, now, s + 1, left - 1);
    break;
  case WAIT:
    pass(get16(s + 2) * 10 * MS);
    break;
  case ROOM:
    no_room = s[1] & 1;
    if (!no_room) stack_drained(stack, now);
    break;
  default:
    user_does(op, u, s);
    break;
  }
}

static void fill(void *ctx, void *buf, size_t len) {
  memset(buf, (int)++*(uint64_t *)ctx, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct rng rng = {.fill = fill, .ctx = &seed};
  struct stack_config cfg = {.ops = &ops, .rng = &rng, .mtu = MTU};

  seed = 1;
  now = SEC;
  no_room = false;
  cfg.offload = offload = len && data[0] & 0x80;
  stack = stack_new(&cfg);
  for (uint32_t i = 0; i < PEERS; i++) {
    users[i] = (struct user){.peer = tcp_peer_of(i == 2 ? 6 : 4, i, 80)};
    users[i].peer.seq = i * 0xfffffff0u;
  }
  for (int n = 0; n < MOST_STEPS && len >= STEP; n++) {
    step(data, len);
    data += STEP;
    len -= STEP;
  }
  size_t alive = 0;
  for (int i = 0; i < PEERS; i++) alive += users[i].c != NULL;
  assert(alive == stack_count(stack));
  stack_free(stack);
  return 0;
}
