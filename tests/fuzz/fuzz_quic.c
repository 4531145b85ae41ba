/* fuzz_quic.c - a relay-like and a connector-like endpoint eat any datagrams.
 * The input is a list of packets: u16 length, then bytes. A first byte of a
 * packet below 4 is replaced by something that gets further: the header of a
 * first Initial or of a short header with a known handle. */
#include <string.h>

#include "base/time.h"
#include "fuzz/fuzz.h"
#include "sim/pki.h"
#include "sim/seeded.h"
#include "transport/quic.h"

enum { NOW = 1700000000 };

static struct seeded rnd;
static struct tls *tls;
static const uint8_t handle[HANDLE_LEN] = "handle0",
                     peer[HANDLE_LEN] = "handle1";

static int64_t now_unix(void) { return NOW; }

static void *on_accept(void *ud, struct quic_conn *c,
                       const struct quic_initial *in) {
  return ud;
}

static void on_dgram(struct quic_conn *c, void *ud, const uint8_t *data,
                     size_t len) {}

static const struct quic_ops ops = {.alpn = "ztna/1", .on_dgram = on_dgram};
static const struct quic_params params = {.idle_timeout = 30 * SEC,
                                          .handshake_timeout = 3 * SEC,
                                          .streams_bidi = 4,
                                          .stream_window = 65536,
                                          .conn_window = 65536,
                                          .dgrams = true};

static void setup(void) {
  const char *services[] = {"web", NULL};
  struct pki *pki;

  if (tls) return;
  seeded_init(&rnd, 1);
  tls_global_init(&rnd.rng, now_unix);
  pki = pki_new("example.org", NOW);
  tls = pki_tls(pki, ROLE_CONNECTOR, "c1", services);
  pki_free(pki);
}

static void drain(struct quic *q, uint64_t now) {
  struct dgram v[8];

  for (int i = 0; i < 1000 && quic_next(q, now, v, 8) > 0; i++)
    ;
}

/* Gives the bytes a header that is looked at more closely. */
static void disguise(uint8_t *p, size_t len) {
  uint8_t kind = p[0];

  if (kind > 3 || len < 40) return;
  if (kind == 3) { /* short header of the known handle */
    p[0] = 0x40;
    memcpy(p + 1, handle, HANDLE_LEN);
    return;
  }
  p[0] = 0xc0 | (p[0] & 3);
  memcpy(p + 1, "\0\0\0\1\x10", 5);
  if (kind) memcpy(p + 6, handle, HANDLE_LEN);
  p[22] = QUIC_CID_LEN;
  memcpy(p + 23, peer, HANDLE_LEN);
}

static void feed(struct quic *q, const uint8_t *data, size_t len) {
  struct ztna_addr from, to;
  uint8_t pkt[1500];
  uint64_t now = SEC;

  ztna_addr_parse(&from, "192.0.2.1:1000");
  ztna_addr_parse(&to, "192.0.2.2:4433");
  while (len > 2) {
    size_t n = (size_t)(data[0] << 8 | data[1]) % sizeof(pkt);

    data += 2;
    len -= 2;
    if (n > len) n = len;
    memset(pkt, 0, sizeof(pkt));
    memcpy(pkt, data, n);
    data += n;
    len -= n;
    if (n && pkt[0] < 3) n = 1250; /* an Initial is padded */
    if (n) disguise(pkt, n);
    now += 10 * MS;
    quic_udp_in(q, now, &from, &to, 0, pkt, n);
    quic_tick(q, now);
    drain(q, now);
  }
  quic_tick(q, now + 60 * SEC);
  drain(q, now + 60 * SEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct quic_config cfg = {
      .rng = &rnd.rng, .accept_params = params, .resets = true, .ud = &cfg};
  struct quic *q;

  setup();
  if (!size) return 0;
  cfg.tls = tls;
  cfg.retry = data[0] & 1 ? QUIC_RETRY_ALWAYS : QUIC_RETRY_AUTO;
  if (data[0] & 2) cfg.accept_ops = &ops, cfg.on_accept = on_accept;
  q = quic_new(&cfg);
  quic_listen(q, handle, peer, &ops, &cfg, &params, SEC, 60 * SEC);
  feed(q, data + 1, size - 1);
  quic_free(q);
  return 0;
}

static const uint8_t initial[] = "\2\0\200\0ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI"
                                 "JKLMNOPQRSTUVWXYZ";
static const uint8_t known[] = "\0\0\200\1ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJ"
                               "KLMNOPQRSTUVWXYZ";
static const uint8_t shorty[] =
    "\2\0\60\3ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHIJK"
    "LMNOPQRSTUVWXYZ\0\60\100ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const struct fuzz_seed fuzz_seeds[] = {{initial, sizeof(initial)},
                                       {known, sizeof(known)},
                                       {shorty, sizeof(shorty)}};
const size_t n_fuzz_seeds = 3;
