#include "role/enroll_answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <ztna/err.h>

#include "base/utc.h"
#include "transport/cert.h"
#include "transport/tls.h"

enum { DETAIL_MAX = 200 };

int enroll_refuse(struct enroll_result *r, enum reason why, const char *fmt,
                  ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->text, sizeof(r->text), fmt, ap);
  va_end(ap);
  r->why = why;
  return ZTNA_EREFUSED;
}

void enroll_result_done(struct enroll_result *r) {
  sbuf_done(&r->cert);
  sbuf_done(&r->ca);
  identity_done(&r->id);
  *r = (struct enroll_result){0};
}

static int no_memory(struct enroll_result *r) {
  enroll_refuse(r, REASON_INTERNAL, "no memory");
  return ZTNA_ENOMEM;
}

/* --- no */

/* It goes to terminals and logs. */
static void printable(char *to, size_t room, const char *from) {
  size_t n = 0;
  for (; from && *from && n + 1 < room; from++)
    to[n++] = *from >= ' ' && *from <= '~' ? *from : '?';
  to[n] = 0;
}

static void refused(enum reason why, const char *detail,
                    struct enroll_result *r) {
  const char *said = *detail ? detail : reason_text(why);
  switch (why) {
  case REASON_BAD_TOKEN:
    enroll_refuse(r, why,
                  "the enrolment service refuses the token: %s; make a new one "
                  "there: ztna token create",
                  said);
    break;
  case REASON_RATE_LIMITED:
    enroll_refuse(r, why, "the enrolment service asks to wait: %s", said);
    break;
  default:
    enroll_refuse(r, why, "the enrolment service refuses: %s (%s)", said,
                  reason_name(why));
  }
}

void enroll_answer_problem(int status, const char *body, size_t len,
                           struct enroll_result *r) {
  char detail[DETAIL_MAX];
  json_t *o = len <= ENROLL_ANSWER_MAX
                  ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL)
                  : NULL;
  const char *name = json_string_value(json_object_get(o, "reason"));
  enum reason why = name ? reason_find(name) : REASON_INTERNAL;
  printable(detail, sizeof(detail),
            json_string_value(json_object_get(o, "detail")));
  if (why == REASON_NONE) why = REASON_INTERNAL;
  if (name)
    refused(why, detail, r);
  else
    enroll_refuse(r, why,
                  "what answers is no enrolment service (HTTP status %d)",
                  status);
  json_decref(o);
}

/* --- certificates as text */

static bool is_pem_body(const char *s, size_t len) {
  static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz0123456789+/=\r\n";
  for (size_t i = 0; i < len; i++)
    if (!s[i] || !strchr(base64, s[i])) return false;
  return true;
}

/* The certificates in text and nothing else of it, so that a file holds only
 * what was judged. */
static int take_pem(struct sbuf *to, const char *text, size_t len) {
  static const char begin[] = "-----BEGIN CERTIFICATE-----";
  static const char end[] = "-----END CERTIFICATE-----";
  const size_t n_begin = sizeof(begin) - 1, n_end = sizeof(end) - 1;
  if (len > ENROLL_PEM_MAX) return ZTNA_ESIZE;
  for (const char *a = text, *b, *stop = text + len;; text = b + n_end) {
    if (!(a = memmem(text, (size_t)(stop - text), begin, n_begin))) break;
    b = memmem(a, (size_t)(stop - a), end, n_end);
    if (!b || !is_pem_body(a + n_begin, (size_t)(b - a) - n_begin))
      return ZTNA_EMALFORMED;
    sbuf_add(to, a, (size_t)(b - a) + n_end);
    sbuf_add(to, "\n", 1);
  }
  if (to->failed) return ZTNA_ENOMEM;
  return to->len ? 0 : ZTNA_EMALFORMED;
}

static int take_member(const json_t *o, const char *name, struct sbuf *to) {
  const json_t *s = json_object_get(o, name);
  if (!json_is_string(s)) return ZTNA_EMALFORMED;
  return take_pem(to, json_string_value(s), json_string_length(s));
}

static int take_answer(const char *body, size_t len, struct enroll_result *r) {
  json_t *o = len <= ENROLL_ANSWER_MAX
                  ? json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL)
                  : NULL;
  int rc = o ? take_member(o, "certificate", &r->cert) : ZTNA_EMALFORMED;
  if (rc == 0) rc = take_member(o, "ca", &r->ca);
  json_decref(o);
  if (rc == ZTNA_ENOMEM) return no_memory(r);
  if (rc < 0)
    return enroll_refuse(r, REASON_MALFORMED,
                         "the service's answer breaks its format: it is %s",
                         rc == ZTNA_ESIZE || len > ENROLL_ANSWER_MAX
                             ? "too long"
                             : "no certificate with its CA");
  return 0;
}

/* --- is it ours */

/* The key fits, one of these CAs has signed it. */
static int check_chain(const struct enroll_expect *x, const char *ca,
                       size_t ca_len, struct enroll_result *r) {
  const struct ztna_identity own = {.cert = r->cert.s,
                                    .cert_len = r->cert.len,
                                    .key = x->key,
                                    .key_len = x->key_len,
                                    .ca = ca,
                                    .ca_len = ca_len};
  struct tls *t;
  char why[256];
  int rc = tls_new(&t, &own, why, sizeof(why));
  if (rc < 0)
    return enroll_refuse(r, REASON_BAD_CERTIFICATE,
                         "the service answered with a certificate that is "
                         "none for this machine: %s",
                         why);
  identity_done(&r->id);
  rc = identity_copy(&r->id, tls_identity(t));
  tls_free(t);
  return rc < 0 ? no_memory(r) : 0;
}

/* What the answer's CA file leaves out entirely would be nobody's successor. */
static bool shares_ca(const struct enroll_expect *x,
                      const struct enroll_result *r, uint8_t *der,
                      uint8_t *other) {
  const char *at = x->ca;
  size_t left = x->ca_len;
  int n, k;
  while ((n = cert_pem_next(&at, &left, der, CERT_DER_MAX)) > 0) {
    const char *at2 = r->ca.s;
    size_t left2 = r->ca.len;
    while ((k = cert_pem_next(&at2, &left2, other, CERT_DER_MAX)) > 0)
      if (n == k && !memcmp(der, other, (size_t)n)) return true;
  }
  return false;
}

static int check_ca(const struct enroll_expect *x, struct enroll_result *r) {
  uint8_t *der = malloc(2 * CERT_DER_MAX);
  if (!der) return no_memory(r);
  bool shared = shares_ca(x, r, der, der + CERT_DER_MAX);
  free(der);
  if (shared) return check_chain(x, r->ca.s, r->ca.len, r);
  return enroll_refuse(r, REASON_BAD_CERTIFICATE,
                       "the service answered with CAs of which none is trusted "
                       "here");
}

static int check_name(const struct enroll_expect *x, struct enroll_result *r) {
  if (x->same && strcmp(r->id.spiffe, x->same->spiffe) != 0)
    return enroll_refuse(r, REASON_IDENTITY_MISMATCH,
                         "the service answered with a certificate of %s, this "
                         "machine is %s",
                         r->id.spiffe, x->same->spiffe);
  if (r->id.role == ROLE_ENROLL || r->id.role == ROLE_NONE)
    return enroll_refuse(r, REASON_IDENTITY_MISMATCH,
                         "the service answered with a certificate of %s, which "
                         "no machine that enrols should have",
                         r->id.spiffe);
  if (strcmp(r->id.trust_domain, x->trust_domain) == 0) return 0;
  return enroll_refuse(r, REASON_IDENTITY_MISMATCH,
                       "the service is of %s, the certificate it answered with "
                       "of %s",
                       x->trust_domain, r->id.trust_domain);
}

static int check_dates(struct enroll_result *r) {
  char now[UTC_STRLEN], from[UTC_STRLEN], to[UTC_STRLEN];
  int64_t at = tls_now();
  if (r->id.not_before <= at && at < r->id.not_after) return 0;
  return enroll_refuse(r, REASON_CERTIFICATE_EXPIRED,
                       "the new certificate is valid from %s to %s, but here "
                       "it is %s: is this machine's clock right?",
                       utc_print(r->id.not_before, from),
                       utc_print(r->id.not_after, to), utc_print(at, now));
}

int enroll_answer_judge(const struct enroll_expect *x, const char *body,
                        size_t len, struct enroll_result *r) {
  int rc = take_answer(body, len, r);
  if (rc == 0) rc = check_chain(x, x->ca, x->ca_len, r);
  if (rc == 0) rc = check_ca(x, r);
  if (rc == 0) rc = check_name(x, r);
  if (rc == 0) rc = check_dates(r);
  if (rc == 0) return 0;
  sbuf_done(&r->cert);
  sbuf_done(&r->ca);
  return rc;
}
