/* fuzz_ip.c - any bytes, and the same with their lengths and checksums mended
 * so that they get further: what parses lies within its bytes and is built
 * again to mean the same; an error about it parses and names it. */
#include <stdlib.h>
#include <string.h>

#include <ztna/err.h>

#include "codec/ip_wire.h"
#include "fuzz.h"
#include "unit/ip_samples.h"

#define SEED(s) \
  { s, sizeof(s) }

const struct fuzz_seed fuzz_seeds[] = {
    SEED(udp4),        SEED(udp4_nosum), SEED(udp4_options),
    SEED(udp6),        SEED(udp4_ffff),  SEED(tcp4),
    SEED(tcp6),        SEED(echo4),      SEED(reply4),
    SEED(echo6),       SEED(reply6),     SEED(unreach4),
    SEED(fragneeded4), SEED(toobig6),    SEED(unreach6_echo),
    SEED(frag4_first), SEED(frag4_last), SEED(frag6_first),
    SEED(frag6_last),  SEED(atomic6),    SEED(hopopts6),
    SEED(sctp4),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static const uint64_t key[2] = {1, 2};

static bool has_ports(const struct ip_pkt *p) {
  return p->kind == IP_UDP || p->kind == IP_TCP || p->kind == IP_ECHO_REQUEST ||
         p->kind == IP_ECHO_REPLY;
}

static void check_parsed(const struct ip_pkt *p, const uint8_t *data,
                         size_t len) {
  assert(p->len == len && p->header_len <= len);
  assert(p->version == data[0] >> 4);
  assert(p->src.family == p->version && p->dst.family == p->version);
  assert(p->payload >= data + p->header_len);
  assert(p->payload + p->payload_len <= data + len);
  assert(has_ports(p) || (!p->src.port && !p->dst.port));
  if (p->kind == IP_UDP) assert(p->payload + p->payload_len == data + len);
  if (p->kind == IP_ICMP_ERROR) {
    assert(p->inner_src.family == p->version);
    assert(p->payload_len >= (p->version == 4 ? 28 : 48));
  }
}

/* --- what is built from it means the same */

static void check_same(const struct ip_pkt *a, const uint8_t *built, int n) {
  struct ip_pkt b;
  uint8_t *copy = malloc((size_t)n);
  memcpy(copy, built, (size_t)n);
  assert(ip_parse(&b, copy, (size_t)n) == 0);
  assert(a->kind == b.kind && a->proto == b.proto);
  assert(ztna_addr_equal(&a->src, &b.src) && ztna_addr_equal(&a->dst, &b.dst));
  assert(a->payload_len == b.payload_len);
  assert(memcmp(a->payload, b.payload, b.payload_len) == 0);
  assert(a->icmp_seq == b.icmp_seq);
  if (a->kind == IP_UDP) assert(a->tos == b.tos);
  free(copy);
}

static void check_rebuilt(const struct ip_pkt *p) {
  static uint8_t buf[70000];
  int n = 0;
  if (p->kind == IP_UDP)
    n = ip_build_udp(buf, p->len, &p->src, &p->dst, p->tos, p->payload,
                     p->payload_len);
  else if (p->kind == IP_ECHO_REQUEST || p->kind == IP_ECHO_REPLY)
    n = ip_build_echo(buf, p->len, &p->src, &p->dst, p->kind == IP_ECHO_REPLY,
                      p->src.port | p->dst.port, p->icmp_seq, p->payload,
                      p->payload_len);
  else
    return;
  assert(n > 0 && n <= p->len);
  check_same(p, buf, n);
}

/* --- the packets that it would stand for: whole, and together itself */

static void check_cut(const struct ip_pkt *p, size_t size) {
  size_t at = 0, room = p->header_len + UDP_HEADER + size;
  uint8_t *seg = malloc(room);
  struct ip_pkt q;
  int n;
  for (size_t i = 0; (n = ip_build_segment(seg, room, p, size, i)); i++) {
    assert(n > 0 && ip_parse(&q, seg, (size_t)n) == 0 && q.kind == IP_UDP);
    assert(ztna_addr_equal(&q.src, &p->src) &&
           ztna_addr_equal(&q.dst, &p->dst) && q.tos == p->tos);
    assert(at + q.payload_len <= p->payload_len);
    assert(memcmp(q.payload, p->payload + at, q.payload_len) == 0);
    at += q.payload_len;
  }
  assert(at == p->payload_len);
  free(seg);
}

static void check_cuts(const uint8_t *data, size_t len) {
  struct ip_pkt p;
  if (ip_parse_partial(&p, data, len) < 0) return;
  check_parsed(&p, data, len);
  if (p.kind != IP_UDP) return;
  check_cut(&p, 7);
  check_cut(&p, p.payload_len ? p.payload_len : 1);
}

/* --- errors about it */

static void check_error(const struct ip_pkt *p, const uint8_t *error, int n) {
  struct ip_pkt e;
  uint8_t again[1280], *copy = malloc((size_t)n);
  memcpy(copy, error, (size_t)n);
  assert(ip_parse(&e, copy, (size_t)n) == 0);
  assert(p->kind != IP_ICMP_ERROR && !p->frag_off);
  assert(ztna_addr_same_ip(&e.dst, &p->src));
  assert(ztna_addr_same_ip(&e.inner_dst, &p->dst));
  if (has_ports(p)) {
    assert(e.kind == IP_ICMP_ERROR && e.inner_proto == p->proto);
    assert(ztna_addr_equal(&e.inner_src, &p->src));
    assert(ztna_addr_equal(&e.inner_dst, &p->dst));
  }
  assert(ip_build_error(again, sizeof(again), &p->dst, IP_ERR_HOST, 0, copy,
                        (size_t)n) == 0);
  free(copy);
}

/* p NULL: the bytes do not parse, so the error need not either. */
static void check_errors(const struct ip_pkt *p, const uint8_t *data,
                         size_t len) {
  static const uint8_t ip[16] = {0xfd, [15] = 9};
  struct ztna_addr from =
      len && data[0] >> 4 == 6 ? ztna_addr_v6(ip, 0, 0) : ztna_addr_v4(ip, 0);
  for (int err = IP_ERR_PORT; err <= IP_ERR_REASS_TIME; err++) {
    uint8_t *exact = malloc(1280);
    int n =
        ip_build_error(exact, 1280, &from, (enum ip_error)err, 1300, data, len);
    assert(n >= 0 && n <= (from.family == 4 ? 576 : 1280));
    if (p && n > 0) check_error(p, exact, n);
    free(exact);
  }
}

/* --- marks */

static void check_marked(const struct ip_pkt *p, const uint8_t *data,
                         size_t len) {
  struct ip_pkt m;
  uint8_t *copy = malloc(len);
  if (len) memcpy(copy, data, len);
  uint32_t flow = ip_flow_hash(copy, len, key);
  bool marked = ip_mark_ce(copy, len);
  if (p) {
    assert(ip_flow_hash(copy, len, key) == flow);
    assert(marked == ((p->tos & 3) != 0) && flow);
    assert(ip_parse(&m, copy, len) == 0);
    assert(m.tos == (marked ? p->tos | 3 : p->tos));
    assert(m.kind == p->kind && m.payload_len == p->payload_len);
  }
  free(copy);
}

static void check(const uint8_t *data, size_t len) {
  struct ip_pkt p;
  int rc = ip_parse(&p, data, len);
  assert(rc == 0 || rc == ZTNA_EMALFORMED);
  if (rc == 0) {
    check_parsed(&p, data, len);
    check_rebuilt(&p);
  }
  check_cuts(data, len);
  check_errors(rc == 0 ? &p : NULL, data, len);
  check_marked(rc == 0 ? &p : NULL, data, len);
}

/* --- mended bytes */

static void mend_transport(uint8_t *b, size_t len) {
  struct ip_pkt p;
  if (!ip_read_header(&p, b, len) || p.header_len > len) return;
  size_t n = len - p.header_len;
  uint8_t *t = b + p.header_len, *sum;
  if (p.proto == IP_PROTO_UDP && n >= UDP_HEADER) {
    put16(t + 4, (uint32_t)n);
    sum = t + 6;
  } else if ((p.proto == IP_PROTO_ICMP || p.proto == IP_PROTO_ICMPV6) &&
             n >= ICMP_HEADER) {
    sum = t + 2;
  } else {
    return;
  }
  put16(sum, 0);
  uint64_t pseudo = p.version == 4 && p.proto == IP_PROTO_ICMP
                        ? 0
                        : ip_pseudo_sum(b, p.proto, n);
  put16(sum, ip_checksum_finish(ip_checksum_add(pseudo, t, n)));
  if (p.proto == IP_PROTO_UDP && !get16(sum)) put16(sum, 0xffff);
}

static void mend(uint8_t *b, size_t len) {
  if (len >= IP4_HEADER && len <= UINT16_MAX && b[0] >> 4 == 4) {
    size_t header = (size_t)(b[0] & 15) * 4;
    if (header < IP4_HEADER || header > len) return;
    put16(b + 2, (uint32_t)len);
    put16(b + 10, 0);
    put16(b + 10, ip_checksum_finish(ip_checksum_add(0, b, header)));
    mend_transport(b, len);
  } else if (len >= IP6_HEADER && b[0] >> 4 == 6) {
    put16(b + 4, (uint32_t)(len - IP6_HEADER));
    mend_transport(b, len);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  uint8_t *copy = malloc(len);
  if (len) memcpy(copy, data, len);
  check(data, len);
  mend(copy, len);
  check(copy, len);
  free(copy);
  return 0;
}
