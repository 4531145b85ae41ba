/* fuzz_direct.c - any messages, packets and pauses at either end of a link that
 * looks for a direct path: nothing leaves to where a peer must not make this
 * machine send, whatever it says, and all sockets are given back.
 *
 * An input is steps: one byte says what. A message is a line; else a byte tells
 * how many bytes follow: a packet as it is; a check with the round's id and
 * key, from any address; a pause. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "role/direct.h"
#include "role/direct_filter.h"
#include "transport/mac.h"

#define K8 "0102030405060708"
#define ID_KEY "\"id\":\"" K8 "\",\"key\":\"" K8 K8 K8 K8 "\""
#define HANDLES "\"handles\":[\"" K8 "\",\"" K8 "\"]"
#define LIST                                                                   \
  "\"list\":[{\"addr\":\"198.51.100.65:4000\",\"kind\":\"reflexive\"},{"       \
  "\"addr\":\"192.168.1.20:4000\",\"kind\":\"host\"},{\"addr\":\"[2001:db8:2:" \
  ":1]:4000\",\"kind\":\"mapped\"}]"
#define HARD                                                            \
  "\"nat\":{\"mapping\":\"address-and-port-dependent\",\"allocation\":" \
  "\"random\"}"
#define SEED(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    /* connector: an offer, pauses and checks, a second offer */
    SEED("\x01{\"round\":1," ID_KEY "," HANDLES "," HARD "," LIST "}\n"
         "\x03\x40\x02\x08"
         "abcdefgh\x03\xff\x02\x08"
         "ijklmnop\x03\xff\x03\xff"
         "\x01{\"round\":2," ID_KEY "," HANDLES "," LIST "}\n"
         "\x03\x40\x02\x06"
         "\xc6\x33\x64\x41zz\x03\xff\x0d\x01\x00\x03\x10\x0e\x01\x00"),
    /* agent: wants, and is answered */
    SEED("\x00{\"round\":1,\"off\":true}\n\x03\xff\x03\xff"),
    SEED("\x00{\"round\":1,\"at_ms\":20," HANDLES "," HARD "," LIST "}\n"
         "\x03\x10\x04\x14\x01\x01\x00\x00\x21\x12\xa4\x42"
         "abcdefghijkl\x03\xff\x07\x01\x00\x03\xff"
         "\x00{\"round\":2,\"at_ms\":20," HANDLES "," LIST "}\n\x03\x20"
         "\x00{\"anew\":true}\n"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

struct end {
  struct outside outside;
  struct direct_common c;
  struct direct *d;
  uint16_t sock; /* of a path */
};

static uint64_t now, random_state;

static void fill(void *ctx, void *buf, size_t len) {
  uint8_t *b = buf;

  for (size_t i = 0; i < len; i++) {
    random_state = random_state * UINT64_C(6364136223846793005) + 1;
    b[i] = (uint8_t)(random_state >> 56);
  }
}

static const struct rng rng = {fill, NULL};
static const struct ztna_addr server = {4, 3478, {203, 0, 113, 1}, 0};

/* --- what direct.c asks for --- */

static bool say(void *ud, json_t *m) {
  assert(m);
  json_decref(m);
  return true;
}

static uint64_t rtt(void *ud) { return 20 * MS; }

static void listen_on(void *ud, uint8_t handles[DIRECT_FAMILIES][HANDLE_LEN],
                      uint8_t peer[DIRECT_FAMILIES][HANDLE_LEN]) {}

static void found(void *ud, int family, const struct ztna_addr *remote,
                  uint16_t sock, uint64_t t, const uint8_t handle[HANDLE_LEN],
                  const uint8_t peer[HANDLE_LEN]) {
  struct end *e = ud;

  assert(direct_filter_passes(&e->outside, remote));
  direct_release(&e->c, e->sock, 4);
  e->sock = sock;
}

static const struct direct_ops ops = {
    .say = say, .rtt = rtt, .listen = listen_on, .found = found};

/* --- one end --- */

static void end_init(struct end *e, bool agent) {
  memset(e, 0, sizeof(*e));
  e->outside.locals[0].addr = (struct ztna_addr){4, 4000, {192, 168, 1, 10}, 0};
  e->outside.locals[0].network.addr =
      (struct ztna_addr){4, 0, {192, 168, 1}, 0};
  e->outside.locals[0].network.bits = 24;
  e->outside.n_locals = 1;
  assert(direct_common_init(&e->c, &rng, &e->outside, true) == 0);
  e->c.now = now;
  direct_relay(&e->c, 0, &server);
  e->d = direct_new(&e->c, agent, &ops, e);
  assert(e->d);
}

static void drain(struct end *e) {
  struct dgram v[16];
  int n;

  for (int turns = 0; (n = direct_next(&e->c, now, v, 16)) > 0; turns++) {
    assert(n <= 16 && turns < 1000);
    for (int i = 0; i < n; i++) {
      assert(v[i].sock < DGRAM_SOCKS_MAX && v[i].seg);
      assert(v[i].len <= STUN_MAX);
      assert(!v[i].len || ztna_addr_equal(&v[i].remote, &server) ||
             direct_filter_passes(&e->outside, &v[i].remote));
    }
  }
}

static void wait(struct end *e, uint64_t for_ns) {
  uint64_t end = now + for_ns, at;

  for (int turns = 0; (at = direct_deadline(&e->c)) <= end; turns++) {
    assert(turns < 100000);
    if (at > now) now = at;
    direct_tick(&e->c, now);
    drain(e);
  }
  now = end;
}

static void end_done(struct end *e) {
  direct_release(&e->c, e->sock, 4);
  json_decref(direct_status(e->d));
  direct_free(e->d);
  drain(e);
  assert(!e->c.first && !e->c.n_closing && !e->c.n_hot);
  direct_common_done(&e->c);
}

/* --- steps --- */

static void message(struct end *e, const uint8_t *text, size_t len) {
  json_t *j = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);

  if (json_is_object(j)) direct_message(e->d, j, now);
  json_decref(j);
}

static void packet(struct end *e, const struct ztna_addr *from,
                   const uint8_t *data, size_t len) {
  struct dgram d = {.remote = *from, .data = data, .len = (uint32_t)len};

  d.seg = (uint16_t)(len > 40 ? 40 : len);
  direct_udp_in(&e->c, now, &d);
}

static void check(struct end *e, const uint8_t *data, size_t len) {
  struct stun_msg m = {.class = STUN_REQUEST,
                       .method = STUN_BINDING,
                       .has_username = true,
                       .username_len = PUNCH_ID_LEN + 1,
                       .integrity = STUN_HMAC_SHA256};
  struct dgram d = {.remote = {.family = 4}};
  uint8_t key[PUNCH_KEY_LEN], room[STUN_MAX];

  for (size_t i = 0; i < sizeof(key); i++) key[i] = (uint8_t)(i % 8 + 1);
  memcpy(m.username, key, PUNCH_ID_LEN);
  m.username[PUNCH_ID_LEN] = 'a';
  memcpy(m.txid, data, len < sizeof(m.txid) ? len : sizeof(m.txid));
  memcpy(d.remote.ip, data, len < 4 ? len : 4);
  d.remote.port = (uint16_t)(len > 4 ? data[4] << 8 | 1 : 1);
  d.sock = len > 5 && data[5] < 8 ? data[5] : 0;
  d.data = room;
  d.len = (uint32_t)stun_write(room, &m, key, sizeof(key), mac_stun);
  d.seg = (uint16_t)d.len;
  direct_udp_in(&e->c, now, &d);
}

/* data: of a line its text, else the count and what it counts. */
static void step(struct end *ends, uint8_t what, const uint8_t *data,
                 size_t len) {
  static const struct ztna_addr peer = {4, 4000, {198, 51, 100, 65}, 0};
  struct end *e = &ends[what >> 3 & 1];

  switch (what & 7) {
  case 0:
    direct_want(ends[0].d, now);
    wait(&ends[0], 600 * MS); /* has asked by then */
    message(&ends[0], data, len);
    break;
  case 1:
    message(&ends[1], data, len);
    break;
  case 2:
    check(&ends[1], data + 1, len - 1);
    break;
  case 3:
    wait(&ends[0], data[0] * 10 * MS);
    wait(&ends[1], data[0] * 10 * MS);
    break;
  case 4:
    packet(e, len & 1 ? &peer : &server, data + 1, len - 1);
    break;
  case 5:
    direct_joined(e->d, e->sock, now);
    break;
  case 6:
    direct_lost(e->d, now);
    break;
  default:
    direct_network_changed(&e->c, now);
  }
  drain(&ends[0]);
  drain(&ends[1]);
}

/* The bytes of a step, *n of them; what is behind them is returned. */
static const uint8_t *step_bytes(uint8_t what, const uint8_t *data, size_t len,
                                 size_t *n) {
  const uint8_t *end;

  if ((what & 7) < 2) {
    end = memchr(data, '\n', len);
    *n = end ? (size_t)(end - data) : len;
    return data + *n + (end != NULL);
  }
  *n = (what & 7) == 3 ? 1 : data[0] + 1u;
  if (*n > len) *n = len;
  return data + *n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static struct end ends[2];
  const uint8_t *end = data + len;

  now = SEC;
  random_state = 1;
  end_init(&ends[0], true);
  end_init(&ends[1], false);
  for (int steps = 0; end - data >= 2 && steps < 64; steps++) {
    uint8_t what = *data++;
    size_t n;
    const uint8_t *next = step_bytes(what, data, (size_t)(end - data), &n);

    step(ends, what, data, n);
    data = next;
  }
  end_done(&ends[0]);
  end_done(&ends[1]);
  return 0;
}
