/* cert_show.c - `ztna cert show`: what a certificate says, or a list of revoked
 * ones, in words. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cert.h"
#include "host/clock.h"
#include "host/file.h"

/* --- words */

int cert_say(int code, const char *verb, const char *fmt, ...) {
  va_list ap;
  fprintf(stderr, "ztna cert%s%s: ", *verb ? " " : "", verb);
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  fputc('\n', stderr);
  return code;
}

int64_t cert_now(void) { return (int64_t)(clock_wall() / SEC); }

const char *cert_time(int64_t t, bool iso, char *buf, size_t room) {
  struct tm tm;
  time_t when = (time_t)t;
  const char *fmt = iso ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%d %H:%M:%S UTC";
  if (!gmtime_r(&when, &tm) || !strftime(buf, room, fmt, &tm))
    snprintf(buf, room, "%lld", (long long)t);
  return buf;
}

/* Whole days until then, rounded down: -1 on the day after it. */
static int64_t days_until(int64_t t, int64_t now) {
  int64_t s = t - now;
  return s >= 0 ? s / CERT_DAY : -((-s + CERT_DAY - 1) / CERT_DAY);
}

static void print_validity(int64_t not_before, int64_t not_after) {
  char from[40], to[40];
  int64_t now = cert_now(), left = days_until(not_after, now);
  printf("  valid        %s until %s ",
         cert_time(not_before, false, from, sizeof(from)),
         cert_time(not_after, false, to, sizeof(to)));
  if (now < not_before)
    printf("(not yet)\n");
  else if (now > not_after)
    printf("(EXPIRED)\n");
  else
    printf("(%lld day%s left)\n", (long long)left, left == 1 ? "" : "s");
}

/* Like `openssl x509 -fingerprint -sha256`. */
static void print_fingerprint(const uint8_t hash[32]) {
  printf("  fingerprint  SHA-256 ");
  for (int i = 0; i < 32; i++) printf("%s%02X", i ? ":" : "", hash[i]);
  printf("\n");
}

static void print_serial(const struct identity *id) {
  printf("  serial       %s\n", id->serial); /* as in `revoked` of a policy */
}

static void print_names(const struct identity *id) {
  char ip[ZTNA_ADDR_STRLEN];
  const char *between = "  names        ";
  size_t n;
  for (size_t i = 0; i < id->n_dns; i++) {
    if (identity_service(id, i, &n)) continue;
    printf("%s%s", between, id->dns[i]);
    between = ", ";
  }
  for (size_t i = 0; i < id->n_ips; i++) {
    printf("%s%s", between, ztna_addr_print_ip(&id->ips[i], ip));
    between = ", ";
  }
  if (*between == ',') printf("\n");
}

static void print_services(const struct identity *id) {
  bool connector = id->role == ROLE_CONNECTOR;
  const char *between = connector ? "  serves       " : "  may use      ";
  size_t n;
  if (!connector && id->role != ROLE_AGENT) return;
  for (size_t i = 0; i < id->n_dns; i++) {
    const char *s = identity_service(id, i, &n);
    if (!s) continue;
    printf("%s%.*s", between, (int)n, s);
    if (n == 1 && *s == '*') printf(" (any service)");
    between = ", ";
  }
  if (*between == ',')
    printf("\n");
  else
    printf("%s%s\n", between,
           connector ? "nothing (issued without --service)"
                     : "what the relay's policy allows");
}

void cert_print_identity(const struct identity *id) {
  print_services(id);
  print_names(id);
  print_serial(id);
  print_validity(id->not_before, id->not_after);
  print_fingerprint(id->sha256);
}

void cert_print_ca(const struct cert_ca *ca) {
  print_validity(ca->not_before, ca->not_after);
  print_fingerprint(ca->sha256);
}

/* --- show */

static json_t *json_time(int64_t t) {
  char buf[40];
  return json_string(cert_time(t, true, buf, sizeof(buf)));
}

static void json_common(json_t *j, int64_t not_before, int64_t not_after,
                        const uint8_t hash[32]) {
  char hex[65];
  int64_t now = cert_now();
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
  json_object_set_new(j, "not_before", json_time(not_before));
  json_object_set_new(j, "not_after", json_time(not_after));
  json_object_set_new(j, "days_left", json_integer(days_until(not_after, now)));
  json_object_set_new(j, "valid_now",
                      json_boolean(now >= not_before && now <= not_after));
  json_object_set_new(j, "sha256", json_string(hex));
}

static void json_names(json_t *j, const struct identity *id) {
  json_t *services = json_array(), *dns = json_array(), *ips = json_array();
  char ip[ZTNA_ADDR_STRLEN];
  size_t n;
  for (size_t i = 0; i < id->n_dns; i++) {
    const char *s = identity_service(id, i, &n);
    if (s)
      json_array_append_new(services, json_stringn(s, n));
    else
      json_array_append_new(dns, json_string(id->dns[i]));
  }
  for (size_t i = 0; i < id->n_ips; i++)
    json_array_append_new(ips,
                          json_string(ztna_addr_print_ip(&id->ips[i], ip)));
  json_object_set_new(j, "services", services);
  json_object_set_new(j, "dns", dns);
  json_object_set_new(j, "ips", ips);
}

static json_t *json_leaf(const struct identity *id) {
  json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "schema",
                        "ztna.cert/1", "kind", "leaf", "identity", id->spiffe,
                        "trust_domain", id->trust_domain, "role",
                        role_name(id->role), "name", id->name);
  json_names(j, id);
  json_object_set_new(j, "serial", json_string(id->serial));
  json_common(j, id->not_before, id->not_after, id->sha256);
  return j;
}

static json_t *json_ca(const struct cert_ca *ca) {
  json_t *j =
      json_pack("{s:s, s:s, s:s, s:s}", "schema", "ztna.cert/1", "kind", "ca",
                "trust_domain", ca->trust_domain, "name", ca->common_name);
  json_common(j, ca->not_before, ca->not_after, ca->sha256);
  return j;
}

static int json_print(json_t *j) {
  char *text = json_dumps(j, JSON_INDENT(2));
  if (text) puts(text);
  free(text);
  json_decref(j);
  return text ? EXIT_DONE : EXIT_FAILED;
}

static int show_leaf(const struct identity *id, bool json) {
  if (json) return json_print(json_leaf(id));
  printf("  identity     %s\n  role         %s\n", id->spiffe,
         role_name(id->role));
  cert_print_identity(id);
  return EXIT_DONE;
}

static int show_ca(const struct cert_ca *ca, bool json) {
  if (json) return json_print(json_ca(ca));
  printf("  authority    %s\n  signs for    %s\n", ca->common_name,
         *ca->trust_domain ? ca->trust_domain : "(no trust domain)");
  cert_print_ca(ca);
  return EXIT_DONE;
}

static int show_der(const char *file, const uint8_t *der, size_t len,
                    bool json) {
  struct identity id;
  struct cert_ca ca;
  if (identity_from_der(&id, der, len) == 0) {
    int code = show_leaf(&id, json);
    identity_done(&id);
    return code;
  }
  if (cert_read_ca(&ca, der, len) == 0) return show_ca(&ca, json);
  return cert_say(EXIT_FAILED, "show",
                  "%s: a certificate that names no ztna identity "
                  "(spiffe://<trust-domain>/<role>/<name>)",
                  file);
}

/* --- lists of revoked certificates */

static json_t *json_crl(struct cert_crl *crl) {
  char serial[2 * IDENTITY_SERIAL_MAX + 1];
  int64_t now = cert_now(), at;
  json_t *list = json_array();
  json_t *j = json_pack("{s:s, s:s, s:s, s:I, s:o, s:b}", "schema",
                        "ztna.cert/1", "kind", "crl", "issuer", crl->issuer,
                        "number", (json_int_t)crl->number, "this_update",
                        json_time(crl->this_update), "valid_now",
                        now >= crl->this_update && now <= crl->next_update);
  if (crl->next_update != INT64_MAX) {
    json_object_set_new(j, "next_update", json_time(crl->next_update));
    json_object_set_new(j, "days_left",
                        json_integer(days_until(crl->next_update, now)));
  }
  while (cert_crl_next(crl, serial, &at) > 0)
    json_array_append_new(
        list, json_pack("{s:s, s:o}", "serial", serial, "at", json_time(at)));
  json_object_set_new(j, "revoked", list);
  return j;
}

static int show_crl(struct cert_crl *crl, bool json) {
  char serial[2 * IDENTITY_SERIAL_MAX + 1], when[40];
  int64_t at;
  if (json) return json_print(json_crl(crl));
  printf("  list of      %s\n  number       %llu\n", crl->issuer,
         (unsigned long long)crl->number);
  if (crl->next_update == INT64_MAX)
    printf("  valid        since %s, without end\n",
           cert_time(crl->this_update, false, when, sizeof(when)));
  else
    print_validity(crl->this_update, crl->next_update);
  printf("  revoked      %zu certificate%s\n", crl->n, crl->n == 1 ? "" : "s");
  while (cert_crl_next(crl, serial, &at) > 0)
    printf("    %s since %s\n", serial,
           cert_time(at, false, when, sizeof(when)));
  return EXIT_DONE;
}

/* Each list of the file; ZTNA_ENOENT when it holds none. */
static int show_crls(const char *file, const char *bytes, size_t len,
                     bool json) {
  uint8_t *der = malloc(len + 1);
  struct cert_crl crl;
  int n, code = ZTNA_ENOENT;
  while (der && (n = cert_crl_take(&bytes, &len, der, len)) != ZTNA_ENOENT) {
    if (n < 0 || cert_read_crl(&crl, der, (size_t)n) < 0) {
      code = cert_say(EXIT_FAILED, "show",
                      "%s: a damaged list of revoked certificates", file);
      break;
    }
    code = show_crl(&crl, json);
  }
  free(der);
  return code;
}

int cert_show(const struct cert_opts *o, struct applet_call *c) {
  uint8_t der[CERT_DER_MAX];
  char *bytes, why[FILE_WHY];
  const char *file = c->args[1];
  size_t len;
  if (file_read(file, CERT_FILE_MAX, &bytes, &len, why) < 0)
    return cert_say(EXIT_FAILED, "show", "%s: %s", file, why);
  int n = cert_pem_to_der(bytes, len, der, sizeof(der));
  int code = n < 0 ? show_crls(file, bytes, len, o->json) : ZTNA_ENOENT;
  bool key = n < 0 && strstr(bytes, "PRIVATE KEY-----");
  file_wipe(bytes, len);
  free(bytes);
  if (code >= 0) return code;
  if (key)
    return cert_say(
        EXIT_FAILED, "show",
        "%s: holds a private key; the certificate is in the .pem file", file);
  if (n < 0)
    return cert_say(EXIT_FAILED, "show", "%s: holds no certificate in PEM form",
                    file);
  return show_der(file, der, (size_t)n, o->json);
}
