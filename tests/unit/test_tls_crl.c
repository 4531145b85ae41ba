/* Lists of revoked certificates: read, refused when they are not a CA's, and
 * asked in handshakes and afterwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <ztna/err.h>

#include "transport/der.h"
#include "unit/crl_samples.h"
#include "unit/tls_hand.h"

static struct hand_pair ca, next_ca, laptop, phone, relay, next_phone;

static void make(struct hand_pair *p, const struct hand_pair *by,
                 const char *spiffe) {
  hand_leaf(p, by, spiffe, HAND_NOW - 300, HAND_NOW + 30 * HAND_DAY);
}

static int set_up(void **state) {
  hand_begin();
  hand_ca(&ca); /* of one name, as CAs that follow one another often are */
  hand_ca(&next_ca);
  make(&laptop, &ca, "spiffe://example.org/agent/laptop-7");
  make(&phone, &ca, "spiffe://example.org/agent/phone");
  make(&relay, &ca, "spiffe://example.org/relay/eu1");
  make(&next_phone, &next_ca, "spiffe://example.org/agent/phone");
  return 0;
}

static int tear_down(void **state) {
  hand_forget(&ca);
  hand_forget(&next_ca);
  hand_forget(&laptop);
  hand_forget(&phone);
  hand_forget(&relay);
  hand_forget(&next_phone);
  hand_done();
  return 0;
}

/* --- lists --- */

static size_t der_of(const struct hand_pair *p, uint8_t *der, size_t room) {
  int n = cert_pem_to_der(p->cert.s, p->cert.len, der, room);
  assert_true(n > 0);
  return (size_t)n;
}

/* CAs have no identity that identity_from_der would read. */
static void serial_of(const struct hand_pair *p, char *text) {
  static uint8_t der[CERT_DER_MAX];
  size_t n = der_of(p, der, sizeof(der)), at = 4; /* both heads, 3 or 4 bytes */
  at += der[1] & 0x7f ? (size_t)(der[1] & 0x7f) - 2 : 0;
  at += 2 + (size_t)(der[at + 1] & 0x80 ? der[at + 1] & 0x7f : 0);
  at += 2 + (size_t)der[at + 1]; /* [0] version */
  assert_true(at + 2 < n && der[at] == 2);
  size_t len = der[at + 1];
  const uint8_t *serial = der + at + 2;
  while (len > 1 && !*serial) serial++, len--;
  for (size_t i = 0; i < len; i++) sprintf(text + 2 * i, "%02x", serial[i]);
}

static void add_list_until(struct sbuf *crl, const struct hand_pair *by,
                           const struct hand_pair *const *v, int64_t until) {
  char serials[4][80];
  struct cert_revoked r[4];
  size_t n = 0;
  for (; v[n]; n++) {
    serial_of(v[n], serials[n]);
    r[n] = (struct cert_revoked){serials[n], HAND_NOW - 100};
  }
  assert_int_equal(cert_make_crl(r, n, HAND_NOW - 5 * HAND_DAY, until, 1,
                                 by->cert.s, by->cert.len, by->key.s,
                                 by->key.len, crl),
                   0);
}

#define LIST(crl, by, ...)                                              \
  add_list_until(crl, by, (const struct hand_pair *[]){__VA_ARGS__, 0}, \
                 HAND_NOW + HAND_DAY)

static void both_cas(struct hand_pair *both) {
  memset(both, 0, sizeof(*both));
  sbuf_add(&both->cert, ca.cert.s, ca.cert.len);
  sbuf_add(&both->cert, next_ca.cert.s, next_ca.cert.len);
}

/* --- handshakes --- */

enum { PASSES, CLIENT_REFUSES, SERVER_REFUSES };

/* The lists are those of the end that is to refuse; or of both. */
static void meet(const struct hand_pair *client, const struct hand_pair *server,
                 const struct hand_pair *trust, const struct sbuf *crl,
                 int result) {
  static struct hand_end c, s;
  const struct sbuf *at_client = result == SERVER_REFUSES ? NULL : crl;
  const struct sbuf *at_server = result == CLIENT_REFUSES ? NULL : crl;
  struct tls *a = hand_tls(client, trust, at_client),
             *b = hand_tls(server, trust, at_server);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  tls_free(a); /* sessions keep the lists that they began with */
  tls_free(b);
  int rc = hand_shake(&c, &s);
  if (result == PASSES) {
    assert_int_equal(rc, 0);
  } else {
    assert_true(rc < 0);
    assert_int_equal(tls_refusal(c.ssl),
                     result == CLIENT_REFUSES ? REASON_REVOKED : REASON_NONE);
    assert_int_equal(tls_refusal(s.ssl),
                     result == SERVER_REFUSES ? REASON_REVOKED : REASON_NONE);
    assert_false(
        wolfSSL_is_init_finished(result == CLIENT_REFUSES ? c.ssl : s.ssl));
  }
  hand_ends_free(&c, &s);
}

static void who_is_listed_is_refused_on_both_sides(void **state) {
  struct sbuf crl = {0};
  LIST(&crl, &ca, &phone, &laptop, &relay);
  meet(&laptop, &relay, &ca, &crl, SERVER_REFUSES);
  meet(&laptop, &relay, &ca, &crl, CLIENT_REFUSES);
  sbuf_done(&crl);
}

static void who_is_not_listed_gets_in(void **state) {
  struct sbuf crl = {0};
  LIST(&crl, &ca, &phone);
  meet(&laptop, &relay, &ca, &crl, PASSES);
  sbuf_done(&crl);
  LIST(&crl, &ca, NULL); /* an empty one */
  meet(&laptop, &relay, &ca, &crl, PASSES);
  sbuf_done(&crl);
}

static void a_list_that_ran_out_still_refuses_whom_it_names(void **state) {
  const struct hand_pair *v[] = {&phone, NULL};
  struct sbuf crl = {0};
  add_list_until(&crl, &ca, v, HAND_NOW - HAND_DAY);
  meet(&phone, &relay, &ca, &crl, SERVER_REFUSES);
  meet(&laptop, &relay, &ca, &crl, PASSES);
  sbuf_done(&crl);
}

static void a_ca_without_a_list_refuses_nobody(void **state) {
  struct hand_pair both, other, of_other;
  struct sbuf crl = {0};
  hand_ca_above(&other, "another CA", NULL);
  make(&of_other, &other, "spiffe://example.org/agent/tablet");
  both_cas(&both);
  sbuf_add(&both.cert, other.cert.s, other.cert.len);
  LIST(&crl, &ca, &phone);
  meet(&of_other, &relay, &both, &crl, PASSES);
  meet(&next_phone, &relay, &both, &crl, PASSES);
  meet(&phone, &relay, &both, &crl, SERVER_REFUSES);
  sbuf_done(&crl);
  hand_forget(&both);
  hand_forget(&other);
  hand_forget(&of_other);
}

static void two_cas_of_one_name_each_have_their_list(void **state) {
  struct hand_pair both;
  struct sbuf crl = {0};
  both_cas(&both);
  LIST(&crl, &ca, &phone);
  LIST(&crl, &next_ca, &next_phone);
  meet(&phone, &relay, &both, &crl, SERVER_REFUSES);
  meet(&next_phone, &relay, &both, &crl, SERVER_REFUSES);
  meet(&laptop, &relay, &both, &crl, PASSES);
  sbuf_done(&crl);
  hand_forget(&both);
}

/* --- intermediates --- */

struct tree {
  struct hand_pair root, middle, leaf, server;
  struct sbuf crl;
};

static void tree_make(struct tree *t) {
  memset(t, 0, sizeof(*t));
  hand_ca_above(&t->root, "root", NULL);
  hand_ca_above(&t->middle, "middle", &t->root);
  make(&t->leaf, &t->middle, "spiffe://example.org/agent/laptop-7");
  sbuf_add(&t->leaf.cert, t->middle.cert.s, t->middle.cert.len);
  make(&t->server, &t->root, "spiffe://example.org/relay/eu1");
}

static void tree_done(struct tree *t) {
  hand_forget(&t->root);
  hand_forget(&t->middle);
  hand_forget(&t->leaf);
  hand_forget(&t->server);
  sbuf_done(&t->crl);
}

static void a_revoked_intermediate_takes_those_below_along(void **state) {
  struct tree t;
  tree_make(&t);
  meet(&t.leaf, &t.server, &t.root, NULL, PASSES);
  LIST(&t.crl, &t.root, &t.middle);
  meet(&t.leaf, &t.server, &t.root, &t.crl, SERVER_REFUSES);
  tree_done(&t);
}

static void an_intermediate_revokes_its_own_when_ca_has_it(void **state) {
  struct tree t;
  tree_make(&t);
  LIST(&t.crl, &t.middle, &t.leaf);
  sbuf_add(&t.root.cert, t.middle.cert.s, t.middle.cert.len);
  meet(&t.leaf, &t.server, &t.root, &t.crl, SERVER_REFUSES);
  tree_done(&t);
}

/* Else whoever leaves it out of the chain would get in. */
static void a_revoked_intermediate_in_ca_is_no_ca_any_more(void **state) {
  static struct hand_end c, s;
  struct tree t;
  tree_make(&t);
  struct tls *a = hand_tls(&t.leaf, &t.root, NULL);
  LIST(&t.crl, &t.root, &t.middle);
  sbuf_add(&t.root.cert, t.middle.cert.s, t.middle.cert.len);
  struct tls *b = hand_tls(&t.server, &t.root, &t.crl);
  for (int alone = 0; alone < 2; alone++) {
    if (alone) {
      struct hand_pair bare;
      tls_free(a);
      *strstr(t.leaf.cert.s + 1, "-----BEGIN") = 0;
      t.leaf.cert.len = strlen(t.leaf.cert.s);
      bare = t.leaf;
      a = hand_tls(&bare, &t.root, NULL);
    }
    hand_end_init(&c, tls_session(a, false, "h3", NULL));
    hand_end_init(&s, tls_session(b, true, "h3", NULL));
    assert_true(hand_shake(&c, &s) < 0);
    assert_false(wolfSSL_is_init_finished(s.ssl));
    hand_ends_free(&c, &s);
  }
  tls_free(a);
  tls_free(b);
  tree_done(&t);
}

/* wolfSSL would keep what the first chain brought: who then leaves it out would
 * get in whatever becomes of the intermediate, since no list and no date is
 * asked of what nobody showed. */
static void an_intermediate_another_client_showed_counts_not(void **state) {
  static struct hand_end c, s;
  struct hand_pair bare, both = {0};
  struct tree t;
  tree_make(&t);
  make(&bare, &t.middle, "spiffe://example.org/agent/phone");
  sbuf_add(&both.cert, t.root.cert.s, t.root.cert.len);
  sbuf_add(&both.cert, t.middle.cert.s, t.middle.cert.len);
  struct tls *server = hand_tls(&t.server, &t.root, NULL);
  for (int i = 0; i < 4; i++) {
    bool whole = i == 1 || i == 3;
    struct tls *client = hand_tls(whole ? &t.leaf : &bare, &both, NULL);
    hand_end_init(&c, tls_session(client, false, "h3", NULL));
    hand_end_init(&s, tls_session(server, true, "h3", NULL));
    assert_int_equal(hand_shake(&c, &s) == 0, whole);
    assert_int_equal(!!wolfSSL_is_init_finished(s.ssl), whole);
    hand_ends_free(&c, &s);
    tls_free(client);
  }
  tls_free(server);
  hand_forget(&bare);
  hand_forget(&both);
  tree_done(&t);
}

/* --- what is wrong with a list --- */

static void assert_crl_refused(const char *crl, size_t len, const char *says) {
  struct tls *t = (struct tls *)-1;
  char why[200] = "";
  const struct ztna_identity files = {.cert = laptop.cert.s,
                                      .cert_len = laptop.cert.len,
                                      .key = laptop.key.s,
                                      .key_len = laptop.key.len,
                                      .ca = ca.cert.s,
                                      .ca_len = ca.cert.len,
                                      .crl = crl,
                                      .crl_len = len};
  assert_int_equal(tls_new(&t, &files, why, sizeof(why)), ZTNA_ETLS);
  assert_null(t);
  if (!strstr(why, says)) fail_msg("said \"%s\", not \"%s\"", why, says);
}

static void a_list_of_another_ca_is_an_error(void **state) {
  struct sbuf crl = {0};
  LIST(&crl, &ca, &phone);
  LIST(&crl, &next_ca, &next_phone); /* same name, other key */
  assert_crl_refused(crl.s, crl.len, "crl: no certificate in ca has signed it");
  sbuf_done(&crl);
}

static void a_list_of_a_ca_that_may_sign_none_is_an_error(void **state) {
  struct hand_pair strict, own;
  struct sbuf crl = {0};
  struct tls *t;
  char why[200] = "";
  hand_any(&strict, "strict", true, "keyCertSign", NULL);
  make(&own, &strict, "spiffe://example.org/agent/x");
  LIST(&crl, &strict, &phone);
  const struct ztna_identity files = {
      own.cert.s,    own.cert.len,    own.key.s, own.key.len,
      strict.cert.s, strict.cert.len, crl.s,     crl.len};
  assert_int_equal(tls_new(&t, &files, why, sizeof(why)), ZTNA_ETLS);
  assert_non_null(strstr(why, "crl: "));
  sbuf_done(&crl);
  hand_forget(&strict);
  hand_forget(&own);
}

static void what_is_no_list_is_an_error(void **state) {
  assert_crl_refused("", 0, "crl: holds no list");
  assert_crl_refused("garbage\n", 8, "crl: holds no list");
  assert_crl_refused(ca.cert.s, ca.cert.len, "crl: holds no list");
  assert_crl_refused("0\x03\x02\x01\x05", 5, "crl: holds a damaged list");
  assert_crl_refused("-----BEGIN X509 CRL-----\nMIIB\n", 30, "crl: holds a");
}

static size_t list_der(const struct sbuf *crl, uint8_t *der, size_t room) {
  const char *at = crl->s;
  size_t len = crl->len;
  int n = cert_crl_take(&at, &len, der, room);
  assert_true(n > 0);
  return (size_t)n;
}

static void a_damaged_list_is_an_error_wherever_it_is_damaged(void **state) {
  static uint8_t der[4096];
  struct sbuf crl = {0};
  LIST(&crl, &ca, &phone, &laptop);
  size_t n = list_der(&crl, der, sizeof(der));
  for (size_t i = 0; i < n; i++) {
    der[i] ^= 0x04;
    assert_crl_refused((const char *)der, n, "crl: ");
    der[i] ^= 0x04;
  }
  for (size_t i = 1; i < n; i++)
    assert_crl_refused((const char *)der, i, "crl: ");
  assert_crl_refused((const char *)der, n + 1, "crl: ");
  sbuf_done(&crl);
}

/* A list of ca, one entry, with an extension of each and "critical" as said. */
static size_t make_list(uint8_t *to, size_t room, bool critical_list,
                        bool critical_entry) {
  static const uint8_t part[] = {0x55, 0x1d, 0x1c},
                       issuer[] = {0x55, 0x1d, 0x1d};
  static uint8_t der[4096], body[4096];
  struct sbuf crl = {0};
  struct der_out o = {.buf = body, .at = sizeof(body)};
  struct der_in v[8], in;
  size_t n = 0, end = o.at;
  LIST(&crl, &ca, &phone);
  in =
      (struct der_in){.at = der, .end = der + list_der(&crl, der, sizeof(der))};
  in = der_want(&in, DER_SEQUENCE);
  in = der_want(&in, DER_SEQUENCE);
  while (n < 7 && der_next(&in, &v[7], &v[n])) n++;
  assert_int_equal(n, 7); /* version ... entries, extensions */
  for (int i = 0; i < 2; i++) {
    const uint8_t *oid = i ? issuer : part;
    bool critical = i ? critical_entry : critical_list;
    size_t from = o.at;
    der_put_value(&o, DER_OCTETS, "\x30", 2); /* an empty sequence */
    if (critical) der_put_value(&o, 1, "\xff", 1);
    der_put_value(&o, DER_OID, oid, 3);
    der_wrap(&o, DER_SEQUENCE, from);
    der_wrap(&o, DER_SEQUENCE, from);
    if (i == 0) {
      der_wrap(&o, DER_CONTEXT | DER_CONSTRUCTED, from);
      end = o.at;
    }
  }
  der_put(&o,
          "\x02\x01\x05\x17\x0d"
          "260101000000Z",
          18);
  der_wrap(&o, DER_SEQUENCE, end);
  der_wrap(&o, DER_SEQUENCE, end);
  for (size_t i = 5; i-- > 0;) der_put(&o, v[i].at, der_left(&v[i]));
  der_wrap(&o, DER_SEQUENCE, sizeof(body));
  sbuf_done(&crl);
  return hand_sign_list(&ca, body + o.at, sizeof(body) - o.at, to, room);
}

/* Lists of parts or of differences, or of another CA's certificates. */
static void a_list_that_does_not_stand_for_itself_is_an_error(void **state) {
  static uint8_t der[4096];
  struct tls *t;
  struct sbuf list = {.s = (char *)der};
  list.len = make_list(der, sizeof(der), false, false);
  t = hand_tls(&laptop, &ca, &list);
  assert_int_equal(tls_crl_count(t), 1);
  tls_free(t);
  list.len = make_list(der, sizeof(der), true, false);
  assert_crl_refused(list.s, list.len, "crl: holds a list with a critical");
  list.len = make_list(der, sizeof(der), false, true);
  assert_crl_refused(list.s, list.len, "crl: names certificates of another");
}

static void a_list_in_der_serves_as_well(void **state) {
  static uint8_t der[4096];
  struct sbuf crl = {0};
  LIST(&crl, &ca, &phone);
  struct sbuf binary = {.s = (char *)der,
                        .len = list_der(&crl, der, sizeof(der))};
  meet(&phone, &relay, &ca, &binary, SERVER_REFUSES);
  meet(&laptop, &relay, &ca, &binary, PASSES);
  sbuf_done(&crl);
}

/* --- what they say --- */

static void
lists_tell_how_many_they_name_and_when_the_first_ends(void **state) {
  const struct hand_pair *early[] = {&phone, &relay, NULL};
  struct sbuf crl = {0};
  struct tls *t = hand_tls(&laptop, &ca, NULL);
  assert_int_equal(tls_crl_count(t), 0);
  assert_int_equal(tls_crl_ends(t), INT64_MAX);
  tls_free(t);
  LIST(&crl, &ca, &phone, &laptop);
  add_list_until(&crl, &ca, early, HAND_NOW - 500);
  LIST(&crl, &ca, &phone);
  t = hand_tls(&laptop, &ca, &crl);
  assert_int_equal(tls_crl_count(t), 3); /* the phone is in both */
  assert_int_equal(tls_crl_ends(t), HAND_NOW - 500);
  tls_free(t);
  sbuf_done(&crl);
}

/* --- chains, later --- */

static enum reason judge(struct tls *t, const struct hand_pair *p) {
  static uint8_t der[2 * CERT_DER_MAX];
  const char *at = p->cert.s;
  size_t left = p->cert.len, len = 0;
  enum reason why = REASON_INTERNAL;
  int n;
  while ((n = cert_pem_next(&at, &left, der + len, sizeof(der) - len)) > 0)
    len += (size_t)n;
  int rc = tls_check_chain(t, der, len, &why);
  assert_int_equal(rc, why == REASON_NONE ? 0 : ZTNA_EREFUSED);
  return why;
}

static void chains_are_judged_by_the_files_of_the_moment(void **state) {
  struct hand_pair both, old;
  struct sbuf crl = {0};
  struct tls *t = hand_tls(&relay, &ca, NULL);
  both_cas(&both);
  hand_leaf(&old, &ca, "spiffe://example.org/agent/x", HAND_NOW - 900,
            HAND_NOW - 1);
  assert_int_equal(judge(t, &phone), REASON_NONE);
  assert_int_equal(judge(t, &next_phone), REASON_BAD_CERTIFICATE);
  assert_int_equal(judge(t, &old), REASON_CERTIFICATE_EXPIRED);
  tls_free(t);
  t = hand_tls(&relay, &both, NULL);
  assert_int_equal(judge(t, &phone), REASON_NONE);
  assert_int_equal(judge(t, &next_phone), REASON_NONE);
  tls_free(t);
  LIST(&crl, &ca, &phone);
  t = hand_tls(&relay, &both, &crl);
  assert_int_equal(judge(t, &phone), REASON_REVOKED);
  assert_int_equal(judge(t, &laptop), REASON_NONE);
  assert_int_equal(judge(t, &next_phone), REASON_NONE);
  tls_free(t);
  sbuf_done(&crl);
  hand_forget(&both);
  hand_forget(&old);
}

static void chains_with_intermediates_are_judged_whole(void **state) {
  struct hand_pair bare;
  struct tree t;
  tree_make(&t);
  struct tls *tls = hand_tls(&t.server, &t.root, NULL);
  make(&bare, &t.middle, "spiffe://example.org/agent/y");
  for (int i = 0; i < 2; i++) {
    assert_int_equal(judge(tls, &t.leaf), REASON_NONE);
    /* What one chain brought is not trusted for the next. */
    assert_int_equal(judge(tls, &bare), REASON_BAD_CERTIFICATE);
  }
  tls_free(tls);
  LIST(&t.crl, &t.root, &t.middle);
  tls = hand_tls(&t.server, &t.root, &t.crl);
  assert_int_equal(judge(tls, &t.leaf), REASON_REVOKED);
  tls_free(tls);
  sbuf_add(&t.leaf.cert, t.root.cert.s, t.root.cert.len); /* and the root */
  tls = hand_tls(&t.server, &t.root, NULL);
  assert_int_equal(judge(tls, &t.leaf), REASON_NONE);
  tls_free(tls);
  hand_forget(&bare);
  tree_done(&t);
}

/* Every agent has a key that the CA has signed. */
static void who_is_no_ca_signs_nobody(void **state) {
  static struct hand_end c, s;
  struct hand_pair forged;
  struct tls *t = hand_tls(&relay, &ca, NULL);
  hand_any(&forged, "forged", false, "digitalSignature", &laptop);
  sbuf_add(&forged.cert, laptop.cert.s, laptop.cert.len);
  assert_int_equal(judge(t, &forged), REASON_BAD_CERTIFICATE);
  WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
  wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
  wolfSSL_CTX_use_certificate_chain_buffer(ctx, (const uint8_t *)forged.cert.s,
                                           (long)forged.cert.len);
  wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const uint8_t *)forged.key.s,
                                    (long)forged.key.len, 1);
  wolfSSL_CTX_set_quic_method(ctx, &hand_method);
  hand_end_init(&c, wolfSSL_new(ctx));
  wolfSSL_set_quic_transport_version(c.ssl, 0x39);
  wolfSSL_set_connect_state(c.ssl);
  hand_end_init(&s, tls_session(t, true, "h3", NULL));
  assert_true(hand_shake(&c, &s) < 0);
  assert_false(wolfSSL_is_init_finished(s.ssl));
  assert_int_equal(tls_reason(0, s.alert), REASON_BAD_CERTIFICATE);
  hand_ends_free(&c, &s);
  wolfSSL_CTX_free(ctx);
  tls_free(t);
  hand_forget(&forged);
}

/* OpenSSL's lists: with reasons, without the key's identifier. */
static void lists_of_cas_of_every_kind_are_read(void **state) {
  static uint8_t der[4096];
  for (size_t i = 0; i < sizeof(crl_samples) / sizeof(crl_samples[0]); i++) {
    struct hand_pair own = {.cert = {.s = (char *)crl_samples[i].cert,
                                     .len = strlen(crl_samples[i].cert)},
                            .key = {.s = (char *)crl_samples[i].key,
                                    .len = strlen(crl_samples[i].key)}};
    struct hand_pair trust = {.cert = {.s = (char *)crl_samples[i].ca,
                                       .len = strlen(crl_samples[i].ca)}};
    struct sbuf crl = {.s = (char *)crl_samples[i].crl,
                       .len = strlen(crl_samples[i].crl)};
    struct ztna_identity files = {.cert = own.cert.s,
                                  .cert_len = own.cert.len,
                                  .key = own.key.s,
                                  .key_len = own.key.len,
                                  .ca = trust.cert.s,
                                  .ca_len = trust.cert.len};
    char why[200] = "";
    struct tls *t = hand_tls(&own, &trust, &crl);
    assert_int_equal(tls_crl_count(t), 1);
    assert_int_equal(judge(t, &own), REASON_REVOKED);
    tls_free(t);
    files.crl = (char *)der;
    files.crl_len = list_der(&crl, der, sizeof(der));
    der[files.crl_len - 3] ^= 1;
    assert_int_equal(tls_new(&t, &files, why, sizeof(why)), ZTNA_ETLS);
    if (!strstr(why, "crl: no cert"))
      fail_msg("%s: %s", crl_samples[i].name, why);
  }
}

static void what_is_no_chain_is_refused(void **state) {
  static uint8_t der[10 * CERT_DER_MAX];
  struct tls *t = hand_tls(&relay, &ca, NULL);
  size_t n = der_of(&phone, der, sizeof(der));
  enum reason why;
  assert_int_equal(tls_check_chain(t, der, n, &why), 0);
  assert_int_equal(tls_check_chain(t, der, 0, &why), ZTNA_EREFUSED);
  assert_int_equal(why, REASON_BAD_CERTIFICATE);
  assert_int_equal(tls_check_chain(t, NULL, 0, &why), ZTNA_EREFUSED);
  assert_int_equal(tls_check_chain(t, der, n - 1, &why), ZTNA_EREFUSED);
  assert_int_equal(tls_check_chain(t, der + 1, n - 1, &why), ZTNA_EREFUSED);
  for (int i = 1; i < 10; i++) memcpy(der + n * (size_t)i, der, n);
  assert_int_equal(tls_check_chain(t, der, 10 * n, &why), ZTNA_EREFUSED);
  der[n - 3] ^= 1; /* of the signature */
  assert_int_equal(tls_check_chain(t, der, n, &why), ZTNA_EREFUSED);
  assert_int_equal(why, REASON_BAD_CERTIFICATE);
  tls_free(t);
}

static void a_session_gives_its_peers_chain_once(void **state) {
  static struct hand_end c, s;
  static uint8_t der[CERT_DER_MAX];
  struct tree t;
  size_t len, n;
  tree_make(&t);
  struct tls *a = hand_tls(&t.leaf, &t.root, NULL),
             *b = hand_tls(&t.server, &t.root, NULL);
  hand_end_init(&c, tls_session(a, false, "h3", NULL));
  hand_end_init(&s, tls_session(b, true, "h3", NULL));
  assert_int_equal(hand_shake(&c, &s), 0);
  uint8_t *chain = tls_take_chain(s.ssl, &len);
  n = der_of(&t.leaf, der, sizeof(der));
  assert_true(len > n);
  assert_memory_equal(chain, der, n);
  free(chain);
  assert_null(tls_take_chain(s.ssl, &len));
  assert_int_equal(len, 0);
  n = der_of(&t.server, der, sizeof(der));
  chain = tls_take_chain(c.ssl, &len);
  assert_int_equal(len, n);
  assert_memory_equal(chain, der, n);
  free(chain);
  hand_ends_free(&c, &s);
  tls_free(a);
  tls_free(b);
  tree_done(&t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(who_is_listed_is_refused_on_both_sides),
      cmocka_unit_test(who_is_not_listed_gets_in),
      cmocka_unit_test(a_list_that_ran_out_still_refuses_whom_it_names),
      cmocka_unit_test(a_ca_without_a_list_refuses_nobody),
      cmocka_unit_test(two_cas_of_one_name_each_have_their_list),
      cmocka_unit_test(a_revoked_intermediate_takes_those_below_along),
      cmocka_unit_test(an_intermediate_revokes_its_own_when_ca_has_it),
      cmocka_unit_test(a_revoked_intermediate_in_ca_is_no_ca_any_more),
      cmocka_unit_test(an_intermediate_another_client_showed_counts_not),
      cmocka_unit_test(a_list_of_another_ca_is_an_error),
      cmocka_unit_test(a_list_of_a_ca_that_may_sign_none_is_an_error),
      cmocka_unit_test(what_is_no_list_is_an_error),
      cmocka_unit_test(a_damaged_list_is_an_error_wherever_it_is_damaged),
      cmocka_unit_test(a_list_that_does_not_stand_for_itself_is_an_error),
      cmocka_unit_test(a_list_in_der_serves_as_well),
      cmocka_unit_test(lists_tell_how_many_they_name_and_when_the_first_ends),
      cmocka_unit_test(chains_are_judged_by_the_files_of_the_moment),
      cmocka_unit_test(chains_with_intermediates_are_judged_whole),
      cmocka_unit_test(who_is_no_ca_signs_nobody),
      cmocka_unit_test(lists_of_cas_of_every_kind_are_read),
      cmocka_unit_test(what_is_no_chain_is_refused),
      cmocka_unit_test(a_session_gives_its_peers_chain_once),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
