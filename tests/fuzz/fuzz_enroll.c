/* fuzz_enroll.c - requests to an enrolment service, of strangers and of who has
 * a certificate: method, path and body, made by the input out of true ones.
 * Any bytes are a list of choices, so there are no seeds.
 *
 * What must hold: every request is answered; nobody gets a certificate for
 * another identity than the token's, or the own one; no token is asked for
 * without a good request. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "sim/garble.h"
#include "unit/enroll_world.h"

#define KNOWN "spiffe://example.org/agent/known"

static struct enroll_world w;
static struct enroll_peer *stranger, *known;
static char text[GARBLE_ROOM];

static void end(void) { enroll_world_end(&w); }

static void begin(void) {
  enroll_world_begin(&w);
  atexit(end);
  stranger = enroll_stranger(&w, "198.51.100.1:1000");
  known = enroll_known(&w, "198.51.101.1:1000", KNOWN, ENROLL_NOW - 600,
                       ENROLL_NOW + 20 * 86400);
}

static json_t *request(struct garble *g) {
  static const char *const tokens[] = {
      "0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf", ""};
  json_t *o = json_object();
  if (garble_pick(g, 8))
    json_object_set_new(o, "token", json_string(tokens[!garble_pick(g, 4)]));
  else
    json_object_set_new(o, "token", json_string(garble_word(g)));
  json_object_set_new(
      o, "csr", json_string(garble_pick(g, 4) ? w.csr.s : garble_word(g)));
  return o;
}

static const char *some_path(struct garble *g) {
  switch (garble_pick(g, 8)) {
  case 0:
    return "/v1/grants";
  case 1:
    return "/";
  case 2:
  case 3:
  case 4:
    return "/v1/renew";
  default:
    return "/v1/enroll";
  }
}

/* By the certificate, not by what the service says of it. */
static void check_certificate(const struct enroll_peer *p, bool renewed) {
  static uint8_t der[CERT_DER_MAX];
  const char *pem = enroll_text(p, "certificate");
  struct identity id;
  int n = cert_pem_to_der(pem, strlen(pem), der, sizeof(der));
  assert(n > 0 && identity_from_der(&id, der, (size_t)n) == 0);
  assert(!strcmp(id.spiffe,
                 renewed ? KNOWN : "spiffe://example.org/agent/laptop-7"));
  assert(id.n_dns == (renewed ? 1 : 0) && id.n_ips == 0);
  identity_done(&id);
}

static void ask(struct garble *g, struct enroll_peer *p) {
  const char *path = some_path(g);
  const char *method = garble_pick(g, 16) ? "POST" : "GET";
  int n_taken = w.n_taken, n_issued = w.n_issued;
  size_t len = garble_json(g, request(g), text);
  int status = enroll_ask(p, method, path, len ? text : NULL, len);
  assert(p->answered || p->ended);
  if (status == 200) {
    bool renewed = !strcmp(path, "/v1/renew");
    assert(!renewed || p == known);
    assert(w.n_issued == n_issued + 1);
    assert(w.n_taken == n_taken + !renewed);
    check_certificate(p, renewed);
  } else {
    assert(w.n_issued == n_issued);
    assert(!p->answered || *enroll_text(p, "reason"));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static const char *const words[] = {
      "", "0102030405060708a0a1a2a3a4a5a6a7a8a9aaabacadaeaf", KNOWN,
      "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n"
      "-----END CERTIFICATE REQUEST-----\n"};
  struct garble g = {.p = data, .left = len, .words = words, .n_words = 4};
  if (!w.server) begin();
  for (int i = 0; i < 4 && (g.left || !i); i++) {
    struct enroll_peer *p = garble_pick(&g, 2) ? known : stranger;
    w.verdict = garble_pick(&g, 4) ? REASON_NONE : REASON_BAD_TOKEN;
    if (!p->ready || p->ended) {
      enroll_world_run(&w, 40 * SEC); /* limits give way */
      bool fine = enroll_dial(p);
      assert(fine);
    }
    ask(&g, p);
    if (p->status == 429) enroll_world_run(&w, 30 * SEC);
  }
  w.log[0] = 0;
  if (enroll_world_unix() < ENROLL_NOW + 6 * 86400) return 0;
  enroll_world_end(&w); /* its certificate would end */
  memset(&w, 0, sizeof(w));
  enroll_world_begin(&w);
  stranger = enroll_stranger(&w, "198.51.100.1:1000");
  known = enroll_known(&w, "198.51.101.1:1000", KNOWN, ENROLL_NOW - 600,
                       ENROLL_NOW + 20 * 86400);
  return 0;
}
