/* fuzz_enroll_answer.c - any bytes as an enrolment service's answer, and a
 * right answer with bytes changed: what is taken is a certificate for our key,
 * our name, by our CA; of what is refused nothing is left but a sentence. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "fuzz.h"
#include "role/enroll_answer.h"
#include "sim/seeded.h"
#include "transport/cert.h"
#include "transport/tls.h"

enum { NOW = 1700000000, BODY_MAX = 8192 };

static const char name[] = "spiffe://example.org/agent/a";

static int64_t now(void) { return NOW; }

static struct seeded rnd;
static struct sbuf ca, ca_key, cert, key;
static struct identity own;
static char *right; /* an answer */
static size_t right_len;

static void begin(void) {
  const struct cert_spec spec = {
      .spiffe = name, .not_before = NOW - 300, .not_after = NOW + 86400};
  static uint8_t der[CERT_DER_MAX];
  seeded_init(&rnd, 3);
  json_object_seed(1);
  assert(tls_global_init(&rnd.rng, now) == 0);
  assert(cert_make_ca("ztna CA example.org", NOW - 300, NOW + 864000, &ca,
                      &ca_key) == 0);
  assert(cert_make_leaf(&spec, ca.s, ca.len, ca_key.s, ca_key.len, &cert,
                        &key) == 0);
  int n = cert_pem_to_der(cert.s, cert.len, der, sizeof(der));
  assert(n > 0 && identity_from_der(&own, der, (size_t)n) == 0);
  json_t *o = json_pack("{s:s%, s:s%}", "certificate", cert.s, cert.len, "ca",
                        ca.s, ca.len);
  right = json_dumps(o, JSON_COMPACT);
  right_len = strlen(right);
  json_decref(o);
}

#define TEXT(text) \
  { text, sizeof(text) - 1 }
const struct fuzz_seed fuzz_seeds[] = {
    TEXT("m"),
    TEXT("m\0\x10z\1\0A\2\x80 "),
    TEXT("r{\"certificate\": \"-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END "
         "CERTIFICATE-----\\n\", \"ca\": \"-----BEGIN CERTIFICATE-----\\nMAA="
         "\\n-----END CERTIFICATE-----\"}"),
    TEXT("r{\"certificate\": \"\", \"ca\": []}"),
    TEXT("p{\"reason\": \"bad-token\", \"detail\": \"used\"}"),
    TEXT("p{\"reason\": \"none\", \"detail\": \"\\u001b[31m\"}"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

static void check_refused(const struct enroll_result *r) {
  assert(r->why != REASON_NONE && r->text[0] && !r->cert.len && !r->ca.len);
  for (const char *c = r->text; *c; c++) assert(*c >= ' ' && *c <= '~');
}

static void check_taken(const struct enroll_result *r) {
  const struct ztna_identity files = {.cert = r->cert.s,
                                      .cert_len = r->cert.len,
                                      .key = key.s,
                                      .key_len = key.len,
                                      .ca = r->ca.s,
                                      .ca_len = r->ca.len};
  struct tls *t;
  char why[256];
  assert(r->why == REASON_NONE);
  assert(tls_new(&t, &files, why, sizeof(why)) == 0);
  assert(!strcmp(tls_identity(t)->spiffe, name));
  assert(!strcmp(r->id.spiffe, name));
  tls_free(t);
}

static void judge(const char *body, size_t len) {
  const struct enroll_expect x = {.key = key.s,
                                  .key_len = key.len,
                                  .ca = ca.s,
                                  .ca_len = ca.len,
                                  .trust_domain = "example.org",
                                  .same = &own};
  struct enroll_result r = {0};
  if (enroll_answer_judge(&x, body, len, &r) == 0)
    check_taken(&r);
  else
    check_refused(&r);
  enroll_result_done(&r);
}

/* Three bytes each: where, and what is there instead. */
static void judge_changed(const uint8_t *v, size_t len) {
  char *body = malloc(right_len + 1);
  memcpy(body, right, right_len + 1);
  for (; len >= 3; v += 3, len -= 3)
    body[((size_t)v[0] << 8 | v[1]) % right_len] = (char)v[2];
  judge(body, right_len);
  free(body);
}

/* The first byte chooses. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  struct enroll_result r = {0};
  if (!right) begin();
  if (len < 1 || len > BODY_MAX) return 0;
  char *body = malloc(len);
  memcpy(body, data + 1, len - 1);
  body[len - 1] = 0;
  if (*data == 'm') {
    judge_changed(data + 1, len - 1);
  } else if (*data == 'p') {
    enroll_answer_problem(400, body, len - 1, &r);
    check_refused(&r);
  } else {
    judge(body, len - 1);
  }
  free(body);
  return 0;
}
