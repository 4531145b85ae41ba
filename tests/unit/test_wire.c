/* test_wire.c - numbers, readers and the DATAGRAMs of a link. */
#include "unit/unit.h"

#include "codec/wire.h"

/* RFC 9000, A.1. */
static void numbers_are_those_of_the_rfc(void **state) {
  static const struct {
    uint64_t v;
    uint8_t bytes[8];
    size_t len;
  } samples[] = {
      {151288809941952652, {0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c}, 8},
      {494878333, {0x9d, 0x7f, 0x3e, 0x7d}, 4},
      {15293, {0x7b, 0xbd}, 2},
      {37, {0x25}, 1},
  };
  uint8_t to[8];

  for (size_t i = 0; i < N_OF(samples); i++) {
    struct rd r = rd_of(samples[i].bytes, samples[i].len);

    assert_int_equal(rd_varint(&r), samples[i].v);
    assert_false(r.bad);
    assert_int_equal(rd_left(&r), 0);
    assert_int_equal(wr_varint(to, samples[i].v), samples[i].len);
    assert_memory_equal(to, samples[i].bytes, samples[i].len);
  }
}

static void numbers_change_length_where_they_must(void **state) {
  static const struct {
    uint64_t v;
    size_t len;
  } edges[] = {{0, 1},        {63, 1},
               {64, 2},       {16383, 2},
               {16384, 4},    {(1u << 30) - 1, 4},
               {1u << 30, 8}, {(UINT64_C(1) << 62) - 1, 8}};
  uint8_t to[8];

  for (size_t i = 0; i < N_OF(edges); i++) {
    size_t n = wr_varint(to, edges[i].v);
    struct rd r = rd_of(to, n);

    assert_int_equal(n, edges[i].len);
    assert_int_equal(varint_len(edges[i].v), n);
    assert_int_equal(rd_varint(&r), edges[i].v);
  }
}

static void a_longer_form_of_a_number_is_read_too(void **state) {
  static const uint8_t two[] = {0x40, 0x25},
                       eight[] = {0xc0, 0, 0, 0, 0, 0, 0, 5};
  struct rd r = rd_of(two, sizeof(two));

  assert_int_equal(rd_varint(&r), 37);
  r = rd_of(eight, sizeof(eight));
  assert_int_equal(rd_varint(&r), 5);
}

static void a_reader_latches_its_first_overrun(void **state) {
  static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
  struct rd r = rd_of(bytes, sizeof(bytes));

  assert_int_equal(rd_u8(&r), 1);
  assert_int_equal(rd_u16(&r), 0x0203);
  assert_int_equal(rd_u32(&r), 0x04050607);
  assert_false(r.bad);
  assert_int_equal(rd_u16(&r), 0);
  assert_true(r.bad);
  assert_int_equal(rd_u8(&r), 0); /* although one is left */
  assert_null(rd_bytes(&r, 1));
  assert_int_equal(rd_varint(&r), 0);
}

static void a_number_that_is_cut_is_bad(void **state) {
  static const uint8_t bytes[] = {0xc2, 0x19, 0x7c, 0x5e,
                                  0xff, 0x14, 0xe8, 0x8c};

  for (size_t n = 0; n < sizeof(bytes); n++) {
    struct rd r = rd_of(bytes, n);

    assert_int_equal(rd_varint(&r), 0);
    assert_true(r.bad);
  }
}

/* What was written parses to the same, and every shorter one is no crash. */
static void comes_back(const struct wire_dgram *d) {
  uint8_t buf[256];
  size_t head = wire_write_head(buf, d);
  struct wire_dgram got;

  assert_true(head <= WIRE_FRAGMENT_HEAD + 8);
  if (d->len) memcpy(buf + head, d->data, d->len);
  assert_int_equal(wire_parse(&got, buf, head + d->len), 0);
  assert_int_equal(got.context, d->context);
  assert_int_equal(got.type, d->type);
  assert_int_equal(got.frag_context, d->frag_context);
  assert_int_equal(got.frag_id, d->frag_id);
  assert_int_equal(got.frag_index, d->frag_index);
  assert_int_equal(got.frag_last, d->frag_last);
  assert_int_equal(got.len, d->len);
  if (d->len) assert_memory_equal(got.data, d->data, d->len);
  if (d->cookie)
    assert_memory_equal(got.cookie, d->cookie, WIRE_COOKIE_LEN);
  else
    assert_null(got.cookie);
  for (size_t n = 0; n < head; n++)
    assert_int_equal(wire_parse(&got, buf, n), ZTNA_EMALFORMED);
}

static void every_kind_comes_back_as_it_was_written(void **state) {
  static const uint8_t bytes[100] = {9, 8, 7}, cookie[WIRE_COOKIE_LEN] = {1};
  static const uint64_t contexts[] = {2, 62, 64, 16382, 16384, 1u << 30};

  for (size_t i = 0; i < N_OF(contexts); i++) {
    comes_back(&(struct wire_dgram){
        .context = contexts[i], .data = bytes, .len = sizeof(bytes)});
    for (int index = 0; index < 2; index++)
      comes_back(&(struct wire_dgram){.type = WIRE_FRAGMENT,
                                      .frag_context = contexts[i],
                                      .frag_id = 0xbeef,
                                      .frag_index = (uint8_t)index,
                                      .frag_last = index,
                                      .data = bytes,
                                      .len = 1});
  }
  for (int type = WIRE_ECHO_REQUEST; type <= WIRE_ECHO_REPLY; type++)
    for (size_t pad = 0; pad <= 100; pad += 50)
      comes_back(&(struct wire_dgram){
          .type = (uint8_t)type, .cookie = cookie, .data = bytes, .len = pad});
}

static void
the_longest_head_of_our_contexts_is_what_paths_reckon_with(void **state) {
  uint8_t buf[WIRE_FRAGMENT_HEAD + 8];
  struct wire_dgram d = {.type = WIRE_FRAGMENT, .frag_context = 0x3fff};

  assert_int_equal(wire_write_head(buf, &d), WIRE_FRAGMENT_HEAD);
}

static void what_means_nothing_is_malformed(void **state) {
  static const struct {
    uint8_t bytes[16];
    size_t len;
  } bad[] = {
      {{0}, 0},
      {{2}, 1},    /* a context without a packet */
      {{0}, 1},    /* no type */
      {{0, 0}, 2}, /* unknown types */
      {{0, 4, 1, 2, 3, 4, 5, 6, 7, 8}, 10},
      {{0, 1, 1, 2, 3, 4, 5, 6, 7}, 9}, /* 7 bytes of cookie */
      {{0, 3, 2, 0, 1, 0}, 6},          /* a fragment without bytes */
      {{0, 3, 0, 0, 1, 0, 9}, 7},       /* of context 0 */
      {{0, 3, 2, 0, 1, 2, 9}, 7},       /* a third one */
      {{0, 3, 2, 0, 1, 0xff, 9}, 7},
      {{0, 3, 0x40, 0, 0, 1, 0, 9}, 8}, /* context 0 in two bytes */
  };
  struct wire_dgram d;

  for (size_t i = 0; i < N_OF(bad); i++)
    assert_int_equal(wire_parse(&d, bad[i].bytes, bad[i].len), ZTNA_EMALFORMED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(numbers_are_those_of_the_rfc),
      TEST(numbers_change_length_where_they_must),
      TEST(a_longer_form_of_a_number_is_read_too),
      TEST(a_reader_latches_its_first_overrun),
      TEST(a_number_that_is_cut_is_bad),
      TEST(every_kind_comes_back_as_it_was_written),
      TEST(the_longest_head_of_our_contexts_is_what_paths_reckon_with),
      TEST(what_means_nothing_is_malformed),
  };

  return cmocka_run_group_tests(tests, NULL, NULL);
}
