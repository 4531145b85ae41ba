/* identity_ends.c - see identity_ends.h. */
#include "host/identity_ends.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ztna/err.h>

#include "base/utc.h"

enum {
  MINUTE = 60,
  HOUR = 3600,
  DAY = 86400,
  WARN_BEFORE = 14 * DAY,
  SHORT_LIFE = 6 * 7 * DAY,
};

static bool is_kind(const struct identity_end *e, const char *kind) {
  return !strcmp(e->kind, kind);
}

/* --- reading */

static struct identity_end *add(struct identity_ends *e, const char *kind,
                                const char *name, int64_t from, int64_t until) {
  struct identity_end *to = &e->v[e->n++];

  *to = (struct identity_end){.kind = kind, .from = from, .until = until};
  snprintf(to->name, sizeof(to->name), "%s", name);
  return to;
}

static int read_cert(struct identity_ends *e, const struct ztna_identity *own,
                     uint8_t *der, bool renewed) {
  struct identity id;
  int n = cert_pem_to_der(own->cert, own->cert_len, der, CERT_DER_MAX);

  if (n < 0 || identity_from_der(&id, der, (size_t)n) < 0)
    return ZTNA_EMALFORMED;
  add(e, "certificate", id.spiffe, id.not_before, id.not_after)->renewed =
      renewed;
  identity_done(&id);
  return 0;
}

static int read_cas(struct identity_ends *e, const struct ztna_identity *own,
                    uint8_t *der) {
  const char *at = own->ca;
  size_t left = own->ca_len;
  struct cert_ca ca;
  int n;

  while (e->n_ca < ENDS_MAX &&
         (n = cert_pem_next(&at, &left, der, CERT_DER_MAX)) != ZTNA_ENOENT) {
    if (n < 0 || cert_read_ca(&ca, der, (size_t)n) < 0) return ZTNA_EMALFORMED;
    add(e, "ca", ca.common_name, ca.not_before, ca.not_after);
    e->n_ca++;
  }
  return 0;
}

static int read_crls(struct identity_ends *e, const struct ztna_identity *own) {
  const char *at = own->crl;
  size_t left = own->crl_len;
  uint8_t *der = malloc(left + 1);
  struct cert_crl crl;
  int n, rc = der ? 0 : ZTNA_ENOMEM;

  while (rc == 0 && e->n_crl < ENDS_MAX &&
         (n = cert_crl_take(&at, &left, der, own->crl_len)) != ZTNA_ENOENT) {
    if (n < 0 || cert_read_crl(&crl, der, (size_t)n) < 0) {
      rc = ZTNA_EMALFORMED;
      break;
    }
    add(e, "crl", crl.issuer, crl.this_update, crl.next_update)->n_revoked =
        crl.n;
    e->n_crl++;
  }
  free(der);
  return rc;
}

int identity_ends_read(struct identity_ends *e, const struct ztna_identity *own,
                       bool renewed) {
  uint8_t *der = malloc(CERT_DER_MAX);
  int rc = der ? 0 : ZTNA_ENOMEM;

  *e = (struct identity_ends){.n = 0};
  if (rc == 0) rc = read_cert(e, own, der, renewed);
  if (rc == 0) rc = read_cas(e, own, der);
  if (rc == 0 && own->crl) rc = read_crls(e, own);
  free(der);
  return rc;
}

void identity_ends_keep(struct identity_ends *e,
                        const struct identity_ends *was) {
  for (size_t i = 0; i < e->n; i++)
    for (size_t k = 0; k < was->n; k++)
      if (is_kind(&e->v[i], was->v[k].kind) &&
          !strcmp(e->v[i].name, was->v[k].name) &&
          e->v[i].until == was->v[k].until)
        e->v[i].told_at = was->v[k].told_at;
}

/* --- warnings */

int64_t identity_end_warns_at(const struct identity_end *e) {
  int64_t life = e->until - e->from;

  if (e->until == INT64_MAX) return INT64_MAX;
  if (e->renewed) return e->until - life / 6;
  return life < SHORT_LIFE ? e->until - life / 3 : e->until - WARN_BEFORE;
}

/* A CA that ran out is not in force any more: what it signed is refused, which
 * is what was warned of; a file with an old one is no trouble. */
static bool is_warned_of(const struct identity_end *e, int64_t now) {
  if (is_kind(e, "ca") && now > e->until) return false;
  return now >= identity_end_warns_at(e);
}

/* "6 days" */
static void print_span(int64_t s, char buf[32]) {
  int64_t unit = s >= 2 * DAY ? DAY : s >= 2 * HOUR ? HOUR : MINUTE;
  long long n = (long long)(s / unit);

  snprintf(buf, 32, "%lld %s%s", n,
           unit == DAY    ? "day"
           : unit == HOUR ? "hour"
                          : "minute",
           n == 1 ? "" : "s");
}

static const char *advice(const struct identity_end *e) {
  if (is_kind(e, "crl")) return "make it anew: ztna cert crl";
  if (is_kind(e, "ca"))
    return "put the next one beside it into identity.ca everywhere";
  return e->renewed ? "its renewal is overdue: is identity.enroll reached?"
                    : "replace identity.cert";
}

static const char *consequence(const struct identity_end *e) {
  return is_kind(e, "crl") ? "who was revoked since is let in"
                           : "everybody will refuse it";
}

const char *identity_end_words(const struct identity_end *e, int64_t now,
                               char buf[ENDS_WORDS]) {
  const char *what = is_kind(e, "crl")  ? "the list of revoked certificates of "
                     : is_kind(e, "ca") ? "the CA's certificate "
                                        : "the own certificate ";
  const char *quote = is_kind(e, "certificate") ? "" : "\"";
  const char *name = is_kind(e, "certificate") ? "" : e->name;
  char span[32], at[UTC_STRLEN];
  const char *behind = is_kind(e, "certificate") ? "" : " ";

  utc_print(e->until, at);
  if (now > e->until) {
    snprintf(buf, ENDS_WORDS, "%s%s%s%s%sran out at %s: %s; %s", what, quote,
             name, quote, behind, at, consequence(e), advice(e));
  } else {
    print_span(e->until - now, span);
    snprintf(buf, ENDS_WORDS, "%s%s%s%s%sends in %s, at %s: %s", what, quote,
             name, quote, behind, span, at, advice(e));
  }
  return buf;
}

/* When the next line is due. */
static int64_t tells_at(const struct identity_end *e) {
  int64_t last_day = e->until - DAY, daily = e->told_at + DAY;

  if (e->until == INT64_MAX) return INT64_MAX;
  if (!e->told_at) return identity_end_warns_at(e);
  if (e->told_at >= last_day) return e->told_at + HOUR;
  return daily < last_day ? daily : last_day;
}

void identity_ends_tell(struct identity_ends *e, int64_t now,
                        void (*tell)(void *ctx, bool is_over,
                                     const char *words),
                        void *ctx) {
  char words[ENDS_WORDS];

  for (size_t i = 0; i < e->n; i++) {
    struct identity_end *end = &e->v[i];

    if (!is_warned_of(end, now) || now < tells_at(end)) continue;
    end->told_at = now;
    tell(ctx, now > end->until, identity_end_words(end, now, words));
  }
}

int64_t identity_ends_next(const struct identity_ends *e, int64_t now) {
  int64_t next = now + HOUR; /* clocks are set, machines sleep */

  for (size_t i = 0; i < e->n; i++) {
    int64_t at = tells_at(&e->v[i]), until = e->v[i].until;

    if (at > now && at < next) next = at;
    if (until >= now && until < next) next = until + 1;
  }
  return next;
}

bool identity_ends_lost_ca(const struct identity_ends *e, int64_t then,
                           int64_t now) {
  for (size_t i = 1; i <= e->n_ca; i++)
    if (e->v[i].until >= then && e->v[i].until < now) return true;
  return false;
}

/* --- told to people */

static void add_end(json_t *to, const struct identity_end *e, int64_t now) {
  char at[UTC_STRLEN], words[ENDS_WORDS];

  if (e->until != INT64_MAX) {
    json_object_set_new(to, "not_after", json_string(utc_print(e->until, at)));
    json_object_set_new(to, "expires_in_s", json_integer(e->until - now));
  }
  if (is_warned_of(e, now))
    json_object_set_new(to, "warning",
                        json_string(identity_end_words(e, now, words)));
}

static json_t *list_cas(const struct identity_ends *e, int64_t now) {
  json_t *list = json_array();

  for (size_t i = 1; i <= e->n_ca; i++) {
    json_t *o = json_pack("{s:s, s:b}", "name", e->v[i].name, "in_force",
                          now >= e->v[i].from && now <= e->v[i].until);

    add_end(o, &e->v[i], now);
    json_array_append_new(list, o);
  }
  return list;
}

static json_t *list_crls(const struct identity_ends *e, int64_t now) {
  json_t *list = json_array();

  for (size_t i = 1 + e->n_ca; i < e->n; i++) {
    json_t *o = json_pack("{s:s, s:I}", "issuer", e->v[i].name, "revoked",
                          (json_int_t)e->v[i].n_revoked);

    add_end(o, &e->v[i], now);
    json_array_append_new(list, o);
  }
  return list;
}

void identity_ends_status(const struct identity_ends *e, int64_t now,
                          json_t *to) {
  add_end(to, &e->v[0], now);
  json_object_set_new(to, "ca", list_cas(e, now));
  json_object_set_new(to, "crl", list_crls(e, now));
}

static void metric(int64_t first, const char *name, const char *help,
                   struct sbuf *out) {
  if (first == INT64_MAX) return;
  sbuf_printf(out,
              "# HELP %s %s, seconds since 1970\n"
              "# TYPE %s gauge\n"
              "%s %lld\n",
              name, help, name, name, (long long)first);
}

static int64_t first_of(const struct identity_end *v, size_t n,
                        int64_t behind) {
  int64_t first = INT64_MAX;

  for (size_t i = 0; i < n; i++)
    if (v[i].until < first && v[i].until > behind) first = v[i].until;
  return first;
}

/* Those that ran out do not count while another is there. */
static int64_t first_ca(const struct identity_ends *e, int64_t now) {
  int64_t first = first_of(e->v + 1, e->n_ca, now);

  return first == INT64_MAX ? first_of(e->v + 1, e->n_ca, 0) : first;
}

void identity_ends_metrics(const struct identity_ends *e, int64_t now,
                           struct sbuf *out) {
  metric(e->v[0].until, "ztna_certificate_expires_seconds",
         "when the own certificate ends", out);
  metric(first_ca(e, now), "ztna_ca_expires_seconds",
         "when the first of the CAs in force ends", out);
  metric(first_of(e->v + 1 + e->n_ca, e->n_crl, 0), "ztna_crl_expires_seconds",
         "when the first list of revoked certificates wants to be made anew",
         out);
}
