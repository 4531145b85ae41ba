/* test_stun.c - STUN messages: the RFCs' own, ours there and back, and what
 * must not be believed. */
#include "unit/unit.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#include "codec/stun.h"
#include "transport/mac.h"
#include "unit/stun_samples.h"

static const uint8_t password[] = SAMPLE_PASSWORD;
enum { PASSWORD_LEN = sizeof(password) - 1 };

static const uint8_t key[32] = "the key of one round of punching";

static struct stun_msg read_ok(const uint8_t *data, size_t len) {
  struct stun_msg m;

  assert_true(stun_is(data, len));
  assert_int_equal(stun_read(&m, data, len), 0);
  return m;
}

static void assert_malformed(const uint8_t *data, size_t len) {
  struct stun_msg m;

  assert_int_equal(stun_read(&m, data, len), ZTNA_EMALFORMED);
}

static void assert_addr(const struct ztna_addr *a, const char *text) {
  char got[ZTNA_ADDR_STRLEN];

  assert_string_equal(ztna_addr_print(a, got), text);
}

static bool signed_by(const struct stun_msg *m, const uint8_t *data,
                      enum stun_integrity kind, const uint8_t *k, size_t n) {
  return stun_verify(m, data, kind, k, n, mac_stun);
}

/* --- the RFCs' messages */

static void the_sample_request_is_understood(void **state) {
  struct stun_msg m = read_ok(sample_request, sizeof(sample_request));

  assert_int_equal(m.class, STUN_REQUEST);
  assert_int_equal(m.method, STUN_BINDING);
  assert_memory_equal(m.txid, sample_request + 8, STUN_TXID_LEN);
  assert_true(m.has_username);
  assert_int_equal(m.username_len, 9);
  assert_memory_equal(m.username, "evtj:h6vY", 9);
  assert_int_equal(m.unknown, 0x0024); /* PRIORITY */
  assert_true(m.fingerprint);
  assert_true(
      signed_by(&m, sample_request, STUN_HMAC_SHA1, password, PASSWORD_LEN));
}

static void the_sample_responses_are_understood(void **state) {
  struct stun_msg m = read_ok(sample_response_v4, sizeof(sample_response_v4));

  assert_int_equal(m.class, STUN_SUCCESS);
  assert_addr(&m.mapped, "192.0.2.1:32853");
  assert_true(m.fingerprint);
  assert_true(signed_by(&m, sample_response_v4, STUN_HMAC_SHA1, password,
                        PASSWORD_LEN));
  m = read_ok(sample_response_v6, sizeof(sample_response_v6));
  assert_addr(&m.mapped, "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
  assert_true(m.fingerprint);
  assert_true(signed_by(&m, sample_response_v6, STUN_HMAC_SHA1, password,
                        PASSWORD_LEN));
}

static void the_long_term_samples_are_understood(void **state) {
  struct stun_msg m = read_ok(sample_long_term, sizeof(sample_long_term));

  assert_int_equal(m.username_len, 18);
  assert_false(m.fingerprint);
  assert_int_equal(m.unknown, 0x0015); /* NONCE */
  assert_true(signed_by(&m, sample_long_term, STUN_HMAC_SHA1,
                        sample_long_term_key, sizeof(sample_long_term_key)));
  /* Reads no longer MAC than is there (sanitizers see it). */
  assert_false(signed_by(&m, sample_long_term, STUN_HMAC_SHA256,
                         sample_long_term_key, sizeof(sample_long_term_key)));
  m = read_ok(sample_long_term_sha256, sizeof(sample_long_term_sha256));
  assert_false(m.has_username);
  assert_int_equal(m.unknown, 0x001e); /* USERHASH */
  assert_int_equal(m.n_listed, 4);
  assert_true(signed_by(&m, sample_long_term_sha256, STUN_HMAC_SHA256,
                        sample_long_term_key_sha256,
                        sizeof(sample_long_term_key_sha256)));
}

static void a_sample_is_written_as_the_rfc_has_it(void **state) {
  struct stun_msg m = read_ok(sample_response_v6, sizeof(sample_response_v6));
  uint8_t to[STUN_MAX];
  /* Without SOFTWARE, so but for integrity and fingerprint. */
  enum { SOFTWARE = 16, XOR_MAPPED = 24 };

  m.integrity = STUN_NO_INTEGRITY;
  m.fingerprint = false;
  assert_int_equal(stun_write(to, &m, NULL, 0, NULL), STUN_HEADER + XOR_MAPPED);
  assert_memory_equal(to + 4, sample_response_v6 + 4, STUN_HEADER - 4);
  assert_memory_equal(to + STUN_HEADER,
                      sample_response_v6 + STUN_HEADER + SOFTWARE, XOR_MAPPED);
}

/* --- there and back */

static const struct stun_msg *examples(size_t *n) {
  static struct stun_msg v[8];

  v[0] = (struct stun_msg){.class = STUN_REQUEST, .method = STUN_BINDING};
  v[1] = (struct stun_msg){.class = STUN_REQUEST,
                           .method = STUN_BINDING,
                           .txid = "hello world",
                           .has_change = true,
                           .change = STUN_CHANGE_IP | STUN_CHANGE_PORT,
                           .response_port = 50001,
                           .padding = 33,
                           .fingerprint = true};
  v[2] = (struct stun_msg){.class = STUN_SUCCESS,
                           .method = STUN_BINDING,
                           .txid = "hello world",
                           .mapped = test_addr("192.0.2.1:4711"),
                           .origin = test_addr("198.51.100.1:3478"),
                           .other = test_addr("198.51.100.2:3479"),
                           .legacy_mapped = true,
                           .fingerprint = true};
  v[3] = (struct stun_msg){.class = STUN_SUCCESS,
                           .method = STUN_BINDING,
                           .txid = {0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xfe},
                           .mapped = test_addr("[2001:db8::1]:65535"),
                           .origin = test_addr("[2001:db8::2]:1"),
                           .other = test_addr("[2001:db8::3]:2")};
  v[4] = (struct stun_msg){.class = STUN_ERROR,
                           .method = STUN_BINDING,
                           .error = STUN_UNKNOWN_ATTRIBUTE,
                           .listed = {0x0003, 0x0027, 0x7fff},
                           .n_listed = 3};
  v[5] = (struct stun_msg){.class = STUN_REQUEST,
                           .method = STUN_BINDING,
                           .has_username = true,
                           .username = "eight id",
                           .username_len = 8,
                           .integrity = STUN_HMAC_SHA256,
                           .fingerprint = true};
  v[6] = (struct stun_msg){.class = STUN_SUCCESS,
                           .method = STUN_BINDING,
                           .mapped = test_addr("10.0.0.1:1"),
                           .integrity = STUN_HMAC_SHA1};
  v[7] = (struct stun_msg){
      .class = STUN_INDICATION, .method = 0x7f, .has_username = true};
  *n = N_OF(v);
  return v;
}

static void every_message_comes_back_as_it_was(void **state) {
  size_t n_examples;
  const struct stun_msg *v = examples(&n_examples);
  uint8_t to[STUN_MAX];

  for (size_t i = 0; i < n_examples; i++) {
    int n = stun_write(to, &v[i], key, sizeof(key), mac_stun);
    assert_true(n >= STUN_HEADER);
    struct stun_msg m = read_ok(to, (size_t)n);
    if (v[i].integrity)
      assert_true(signed_by(&m, to, v[i].integrity, key, sizeof(key)));
    m.integrity_at = 0;
    assert_memory_equal(&m, &v[i], sizeof(m));
  }
}

static void all_methods_and_classes_have_a_type(void **state) {
  uint8_t to[STUN_MAX];

  for (unsigned i = 0; i < 4 * 0x100; i++) {
    struct stun_msg m = {.class = (enum stun_class)(i & 3),
                         .method = (uint16_t)(i >> 2)};
    assert_int_equal(stun_write(to, &m, NULL, 0, NULL), STUN_HEADER);
    struct stun_msg back = read_ok(to, STUN_HEADER);
    assert_int_equal(back.class, m.class);
    assert_int_equal(back.method, m.method);
  }
  /* From here on the first byte is above 3: another protocol's. */
  struct stun_msg far = {.method = 0x100};
  stun_write(to, &far, NULL, 0, NULL);
  assert_false(stun_is(to, STUN_HEADER));
}

static void what_does_not_fit_is_said(void **state) {
  struct stun_msg m = {.method = STUN_BINDING};
  uint8_t to[STUN_MAX];

  m.padding = STUN_MAX - STUN_HEADER - 4;
  assert_int_equal(stun_write(to, &m, NULL, 0, NULL), STUN_MAX);
  assert_int_equal(read_ok(to, STUN_MAX).padding, m.padding);
  m.fingerprint = true;
  assert_int_equal(stun_write(to, &m, NULL, 0, NULL), ZTNA_ESIZE);
  m.fingerprint = false;
  m.padding++;
  assert_int_equal(stun_write(to, &m, NULL, 0, NULL), ZTNA_ESIZE);
  m.padding = SIZE_MAX - 2;
  assert_int_equal(stun_write(to, &m, NULL, 0, NULL), ZTNA_ESIZE);
}

/* --- what is not believed */

static void a_changed_bit_breaks_the_fingerprint(void **state) {
  uint8_t bad[sizeof(sample_request)];
  size_t n_malformed = 0;

  for (size_t bit = 0; bit < 8 * sizeof(bad); bit++) {
    struct stun_msg m;
    memcpy(bad, sample_request, sizeof(bad));
    bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
    if (stun_read(&m, bad, sizeof(bad)) < 0)
      n_malformed++;
    else /* some bits make it another attribute, or part of one */
      assert_false(m.fingerprint);
  }
  assert_in_range(n_malformed, 8 * (sizeof(bad) - 4), 8 * sizeof(bad));
}

static void a_changed_bit_or_key_breaks_the_integrity(void **state) {
  enum { COVERED = sizeof(sample_long_term_sha256) - 36 };
  uint8_t bad[sizeof(sample_long_term_sha256)], other[32];
  const uint8_t *k = sample_long_term_key_sha256;
  struct stun_msg m = read_ok(sample_long_term_sha256, sizeof(bad));

  for (size_t bit = 0; bit < 8 * sizeof(bad); bit++) {
    if (bit / 8 / 2 == 1) continue; /* the length: as if all ended there */
    if (bit / 8 >= COVERED && bit / 8 < COVERED + 4) continue; /* its head */
    memcpy(bad, sample_long_term_sha256, sizeof(bad));
    bad[bit / 8] ^= (uint8_t)(1 << bit % 8);
    assert_false(signed_by(&m, bad, STUN_HMAC_SHA256, k, 32));
  }
  memcpy(other, k, 32);
  other[31] ^= 1;
  assert_false(
      signed_by(&m, sample_long_term_sha256, STUN_HMAC_SHA256, other, 32));
  assert_false(signed_by(&m, sample_long_term_sha256, STUN_HMAC_SHA1, k, 32));
  assert_false(
      signed_by(&m, sample_long_term_sha256, STUN_NO_INTEGRITY, k, 32));
  m = (struct stun_msg){0};
  assert_false(
      signed_by(&m, sample_long_term_sha256, STUN_NO_INTEGRITY, k, 32));
}

static void a_truncated_message_is_malformed(void **state) {
  const struct {
    const uint8_t *data;
    size_t len;
  } v[] = {{sample_request, sizeof(sample_request)},
           {sample_response_v4, sizeof(sample_response_v4)},
           {sample_long_term, sizeof(sample_long_term)}};

  for (size_t i = 0; i < N_OF(v); i++) {
    for (size_t n = 0; n < v[i].len; n++) {
      uint8_t *part = malloc(n + 1); /* sanitizers see an over-read */
      memcpy(part, v[i].data, n);
      part = realloc(part, n ? n : 1);
      assert_false(stun_is(part, n));
      assert_malformed(part, n);
      free(part);
    }
  }
}

/* A binding request with these attributes. */
static size_t request_with(uint8_t *to, const void *attrs, size_t n) {
  struct stun_msg m = {.method = STUN_BINDING};

  stun_write(to, &m, NULL, 0, NULL);
  to[2] = (uint8_t)(n >> 8);
  to[3] = (uint8_t)n;
  memcpy(to + STUN_HEADER, attrs, n);
  return STUN_HEADER + n;
}
#define REQUEST_WITH(to, attrs) request_with(to, attrs, sizeof(attrs) - 1)

static void attributes_that_break_their_format_are_malformed(void **state) {
#define BAD(text) \
  { text, sizeof(text) - 1 }
  const struct {
    const char *attrs;
    size_t len;
  } v[] = {
      BAD("\0\x20\0\x08\0\x03\0\1abcd"),     /* no such family */
      BAD("\0\x20\0\x08\0\x02\0\1abcd"),     /* IPv6 in four bytes */
      BAD("\0\x20\0\x04\0\x01\0\1"),         /* IPv4 in none */
      BAD("\0\x01\0\x0c\0\x01\0\1abcdefgh"), /* and in eight */
      BAD("\x80\x2b\0\0"),
      BAD("\0\x03\0\x02\0\0\0\0"),
      BAD("\0\x03\0\x08\0\0\0\0\0\0\0\0"),
      BAD("\0\x09\0\x04\0\0\x02\0"),   /* error 200 */
      BAD("\0\x09\0\x04\0\0\x04\x64"), /* and 4100 */
      BAD("\0\x09\0\x03\0\0\x04\0"),
      BAD("\0\x08\0\x10sixteen bytes ..."),
      BAD("\0\x1c\0\x14twenty bytes of some"),
      BAD("\x80\x28\0\x04none"),
      BAD("\x80\x28\0\0"),
      BAD("\0\x0a\0\x01\0\0\0\0"),
      BAD("\0\x06\0\x09user"), /* ends behind the message */
      BAD("\xff\xff\xff\xff"),
  };
  uint8_t to[STUN_MAX];

  for (size_t i = 0; i < N_OF(v); i++)
    assert_malformed(to, request_with(to, v[i].attrs, v[i].len));
}

static void a_length_that_does_not_fit_is_no_stun(void **state) {
  uint8_t to[STUN_MAX + 8] = {0};
  size_t n = REQUEST_WITH(to, "\x80\x22\0\x04ztna");

  assert_true(stun_is(to, n));
  assert_false(stun_is(to, n + 4));
  assert_false(stun_is(to, n - 4));
  to[3] ^= 2; /* no multiple of four */
  assert_false(stun_is(to, n + 2));
  to[3] ^= 2;
  to[4] ^= 1; /* the cookie */
  assert_false(stun_is(to, n));
}

static void a_message_longer_than_the_longest_is_malformed(void **state) {
  static uint8_t attrs[STUN_READ_MAX], to[STUN_READ_MAX + 4];
  size_t most = STUN_READ_MAX - STUN_HEADER;

  attrs[1] = 0x26; /* PADDING */
  attrs[2] = (uint8_t)((most - 4) >> 8);
  attrs[3] = (uint8_t)(most - 4);
  assert_int_equal(read_ok(to, request_with(to, attrs, most)).padding,
                   most - 4);
  attrs[3] += 4;
  assert_malformed(to, request_with(to, attrs, most + 4));
}

/* RFC 8489, 14.7, bit by bit. */
static void put_fingerprint(uint8_t *to, const uint8_t *data, size_t len) {
  uint32_t crc = UINT32_MAX;

  for (size_t i = 0; i < 8 * len; i++) {
    crc ^= data[i / 8] >> i % 8 & 1;
    crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  crc = ~crc ^ 0x5354554e;
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(crc >> (24 - 8 * i));
}

static void nothing_may_stand_behind_the_fingerprint(void **state) {
  uint8_t to[STUN_MAX];
  size_t n = REQUEST_WITH(to, "\x80\x28\0\x04____");

  put_fingerprint(to + n - 4, to, n - 8);
  assert_true(read_ok(to, n).fingerprint);
  n = REQUEST_WITH(to, "\x80\x28\0\x04____"
                       "\x80\x22\0\0");
  put_fingerprint(to + n - 8, to, n - 12); /* right, but not the last */
  assert_malformed(to, n);
}

static void attributes_behind_the_integrity_are_ignored(void **state) {
  static const uint8_t forged[] = {
      0, 0x06, 0, 4, 'e', 'v',  'i', 'l', 0, 0x20, 0, 8, 0,    1,    0, 1,
      6, 6,    6, 6, 0,   0x03, 0,   4,   0, 0,    0, 6, 0x7f, 0xff, 0, 0};
  struct stun_msg m = {.method = STUN_BINDING, .integrity = STUN_HMAC_SHA1};
  uint8_t to[STUN_MAX];
  size_t n = (size_t)stun_write(to, &m, key, sizeof(key), mac_stun);

  memcpy(to + n, forged, sizeof(forged));
  to[3] += sizeof(forged);
  m = read_ok(to, n + sizeof(forged));
  assert_false(m.has_username || m.has_change);
  assert_int_equal(m.mapped.family, 0);
  assert_int_equal(m.unknown, 0);
  assert_true(signed_by(&m, to, STUN_HMAC_SHA1, key, sizeof(key)));
}

static void of_both_integrities_the_stronger_one_counts(void **state) {
  struct stun_msg m = {.method = STUN_BINDING, .integrity = STUN_HMAC_SHA1};
  uint8_t to[STUN_MAX];
  size_t n = (size_t)stun_write(to, &m, key, sizeof(key), mac_stun);

  memcpy(to + n, "\0\x1c\0\x20", 4);
  to[3] += 36;
  mac_stun(STUN_HMAC_SHA256, key, sizeof(key), to, n, to + n + 4);
  m = read_ok(to, n + 36);
  assert_int_equal(m.integrity, STUN_HMAC_SHA256);
  assert_true(signed_by(&m, to, STUN_HMAC_SHA256, key, sizeof(key)));
  assert_false(signed_by(&m, to, STUN_HMAC_SHA1, key, sizeof(key)));
}

static void unknown_attributes_that_must_be_known_are_reported(void **state) {
  uint8_t to[STUN_MAX];
  size_t n = REQUEST_WITH(to, "\x80\x22\0\0"
                              "\0\x25\0\x02\x12\x34\0\0"
                              "\xff\xff\0\0"
                              "\x7f\xff\0\0");
  struct stun_msg m = read_ok(to, n);

  assert_int_equal(m.unknown, 0x0025);
  assert_int_equal(m.n_listed, 2);
  assert_int_equal(m.listed[1], 0x7fff);
  m.class = STUN_ERROR;
  m.error = STUN_UNKNOWN_ATTRIBUTE;
  n = (size_t)stun_write(to, &m, NULL, 0, NULL);
  m = read_ok(to, n);
  assert_int_equal(m.error, STUN_UNKNOWN_ATTRIBUTE);
  assert_int_equal(m.n_listed, 2);
  assert_int_equal(m.listed[0], 0x0025);
  assert_int_equal(m.unknown, 0);
}

static void more_unknown_attributes_than_fit_are_left_out(void **state) {
  uint8_t attrs[4 * 100], to[STUN_MAX];

  for (size_t i = 0; i < sizeof(attrs); i++) attrs[i] = i % 4 < 2 ? 0x7f : 0;
  struct stun_msg m = read_ok(to, request_with(to, attrs, sizeof(attrs)));
  assert_int_equal(m.n_listed, STUN_UNKNOWN_MAX);
}

static void of_repeated_attributes_the_first_counts(void **state) {
  uint8_t to[STUN_MAX];
  size_t n = REQUEST_WITH(to, "\0\x06\0\x03one\0"
                              "\0\x06\0\x03two\0"
                              "\0\x01\0\x08\0\x01\0\x01\x0a\0\0\x01"
                              "\0\x01\0\x08\0\x01\0\x02\x0a\0\0\x02"
                              "\0\x03\0\x04\0\0\0\x02"
                              "\0\x03\0\x04\0\0\0\x04"
                              "\0\x26\0\x04pads"
                              "\0\x26\0\0");
  struct stun_msg m = read_ok(to, n);

  assert_memory_equal(m.username, "one", 3);
  assert_addr(&m.mapped, "10.0.0.1:1");
  assert_int_equal(m.change, STUN_CHANGE_PORT);
  assert_int_equal(m.padding, 4);
}

static void the_xored_address_is_preferred_to_the_plain_one(void **state) {
  uint8_t to[STUN_MAX];
  size_t n = REQUEST_WITH(to, "\0\x01\0\x08\0\x01\0\x01\x0a\0\0\x01"
                              "\0\x20\0\x08\0\x01\x21\x13\x2b\x12\xa4\x40");
  struct stun_msg m = read_ok(to, n);

  assert_addr(&m.mapped, "10.0.0.2:1");
  assert_true(m.legacy_mapped);
}

static void a_response_port_may_count_its_padding_or_not(void **state) {
  uint8_t four[] = "\0\x01\0\x08\x21\x12\xa4\x42transaction!"
                   "\0\x27\0\x04\xc3\x51\0\0";
  uint8_t two[] = "\0\x01\0\x08\x21\x12\xa4\x42transaction!"
                  "\0\x27\0\x02\xc3\x51\0\0";
  uint8_t three[] = "\0\x01\0\x08\x21\x12\xa4\x42transaction!"
                    "\0\x27\0\x03\xc3\x51\0\0";
  struct stun_msg m;
  assert_int_equal(read_ok(four, sizeof(four) - 1).response_port, 50001);
  assert_int_equal(read_ok(two, sizeof(two) - 1).response_port, 50001);
  assert_int_equal(stun_read(&m, three, sizeof(three) - 1), ZTNA_EMALFORMED);
}

static void a_long_username_is_as_if_not_there(void **state) {
  uint8_t attrs[4 + STUN_USERNAME_MAX + 4] = {0, 6, 0, STUN_USERNAME_MAX};
  uint8_t to[STUN_MAX];
  struct stun_msg m =
      read_ok(to, request_with(to, attrs, 4 + STUN_USERNAME_MAX));

  assert_int_equal(m.username_len, STUN_USERNAME_MAX);
  attrs[3]++;
  m = read_ok(to, request_with(to, attrs, sizeof(attrs)));
  assert_false(m.has_username);
}

/* --- the MAC */

static size_t n_allocated;
static void *count_malloc(size_t n) {
  n_allocated++;
  return malloc(n);
}
static void *count_realloc(void *p, size_t n) {
  n_allocated++;
  return realloc(p, n);
}

static void a_mac_is_the_standard_one_and_allocates_nothing(void **state) {
  /* RFC 2202 and RFC 4231: case 2 */
  static const uint8_t want1[] = {0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f,
                                  0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84,
                                  0xdf, 0x9c, 0x25, 0x9a, 0x7c, 0x79};
  static const uint8_t want256[] = {
      0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
      0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
      0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
  const uint8_t *k = (const uint8_t *)"Jefe",
                *data = (const uint8_t *)"what do ya want for nothing?";
  uint8_t got[STUN_SHA256_LEN];

  wolfSSL_SetAllocators(count_malloc, free, count_realloc);
  mac_stun(STUN_HMAC_SHA1, k, 4, data, 28, got);
  assert_memory_equal(got, want1, sizeof(want1));
  mac_stun(STUN_HMAC_SHA256, k, 4, data, 28, got);
  assert_memory_equal(got, want256, sizeof(want256));
  assert_int_equal(n_allocated, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(the_sample_request_is_understood),
      TEST(the_sample_responses_are_understood),
      TEST(the_long_term_samples_are_understood),
      TEST(a_sample_is_written_as_the_rfc_has_it),
      TEST(every_message_comes_back_as_it_was),
      TEST(all_methods_and_classes_have_a_type),
      TEST(what_does_not_fit_is_said),
      TEST(a_changed_bit_breaks_the_fingerprint),
      TEST(a_changed_bit_or_key_breaks_the_integrity),
      TEST(a_truncated_message_is_malformed),
      TEST(attributes_that_break_their_format_are_malformed),
      TEST(a_length_that_does_not_fit_is_no_stun),
      TEST(a_message_longer_than_the_longest_is_malformed),
      TEST(nothing_may_stand_behind_the_fingerprint),
      TEST(attributes_behind_the_integrity_are_ignored),
      TEST(of_both_integrities_the_stronger_one_counts),
      TEST(unknown_attributes_that_must_be_known_are_reported),
      TEST(more_unknown_attributes_than_fit_are_left_out),
      TEST(of_repeated_attributes_the_first_counts),
      TEST(the_xored_address_is_preferred_to_the_plain_one),
      TEST(a_response_port_may_count_its_padding_or_not),
      TEST(a_long_username_is_as_if_not_there),
      TEST(a_mac_is_the_standard_one_and_allocates_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
