/* fuzz_token.c - enrolment tokens as people paste them, and tokens.json as
 * others may have left it. What is read is printed to the same text. */
#include <stdlib.h>
#include <string.h>

#include "base/sbuf.h"
#include "fuzz/fuzz.h"
#include "host/token_file.h"
#include "part/token.h"

#include <ztna/err.h>

#define DIGITS \
  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ENTRY                                                                 \
  "{\"id\":\"0011223344556677\",\"hash\":\"" DIGITS                           \
  "\",\"role\":\"connector\",\"name\":\"home\",\"services\":[\"web\",\"*\"]," \
  "\"dns\":"                                                                  \
  "[\"a.example.org\"],\"ip\":[\"192.0.2.1\",\"2001:db8::1\"],\"lifetime\":"  \
  "\"720h\",\"made\":\"2026-01-01\",\"expires\":\"2026-01-01T01:00:00Z\""

#define TEXT(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    TEXT("tzt1_-Pn6-_z9_v8ABw4VHCMqMTg_Rk1UW2Jp__z59vPw7ern5OHe29jV0s_MycbDwL26"
         "t7SxrquopaI@enroll.example.org:4435"),
    TEXT("tzt1_-Pn6-_z9_v8ABw4VHCMqMTg_Rk1UW2Jp__z59vPw7ern5OHe29jV0s_MycbDwL26"
         "t7SxrquopaI@[2001:db8::1]:1"),
    TEXT("j{\"tokens\":[]}"),
    TEXT("j{\"tokens\":[" ENTRY "}]}"),
    TEXT("j{\"tokens\":[" ENTRY
         ",\"used\":\"2026-01-01T00:30:00Z\",\"key\":\"" DIGITS "\"}]}"),
    TEXT("j{\"tokens\":[" ENTRY "},\n" ENTRY "}]}"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static void try_token(const char *text, size_t len) {
  char back[TOKEN_TEXT_MAX];
  struct token t;
  if (token_parse(&t, text, len) < 0) return;
  assert(token_print(&t, back) == 0);
  assert(strlen(back) == len && !memcmp(back, text, len));
}

static void check_entry(const struct token_entry *e) {
  assert(strlen(e->id) == 16 && strlen(e->hash) == 64);
  assert(!token_entry_wrong(e) && token_entry_role(e) != ROLE_NONE);
  assert(!e->used == !e->key && e->lifetime > 0);
}

static void try_file(const char *text, size_t len) {
  struct token_list l, again;
  struct sbuf why = {0}, out = {0}, twice = {0};
  int rc = token_list_parse(&l, "tokens.json", text, len, &why);
  assert(rc == 0 || (rc == ZTNA_ECONFIG && why.len));
  for (size_t i = 0; rc == 0 && i < l.n_tokens; i++) check_entry(&l.tokens[i]);
  if (rc == 0) {
    assert(token_list_print(&l, &out) == 0);
    assert(token_list_parse(&again, "again", out.s, out.len, &why) == 0);
    assert(token_list_print(&again, &twice) == 0);
    assert(out.len == twice.len && !memcmp(out.s, twice.s, out.len));
    token_list_done(&again);
  }
  token_list_done(&l);
  sbuf_done(&why);
  sbuf_done(&out);
  sbuf_done(&twice);
}

/* The first byte chooses the kind. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  if (len < 1) return 0;
  if (*data == 't')
    try_token((const char *)data + 1, len - 1);
  else
    try_file((const char *)data + 1, len - 1);
  return 0;
}
