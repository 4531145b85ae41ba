/* tool_cert.c - certificates and lists of revoked ones with any dates, which
 * `ztna cert` does not make.
 *
 *   tool_cert leaf DIR ROLE NAME FROM UNTIL [NAME...]
 *       DIR/ROLE-NAME.pem and .key by DIR/ca.pem and ca.key, in place of those
 *       that are there; the rest are DNS names or IP addresses
 *   tool_cert crl DIR FROM UNTIL NUMBER [FILE...]
 *       DIR/crl.pem, which names these certificates
 *
 * FROM and UNTIL: seconds from now. Files are renamed into place, the key
 * before its certificate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bare.h"
#include "host/clock.h"
#include "host/file_write.h"
#include "transport/cert.h"
#include "transport/tls.h"

enum { N_MAX = 64 };

struct text {
  char *s;
  size_t len;
};

static void done(struct text *a, struct text *b, struct sbuf *c,
                 struct sbuf *d) {
  free(a->s);
  free(b->s);
  sbuf_done(c);
  if (d) cert_forget(d);
}

static struct text slurp(const char *dir, const char *name) {
  char path[512], why[FILE_WHY];
  struct text t;

  snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", name);
  if (file_read(path, 1 << 20, &t.s, &t.len, why) < 0)
    bare_die("%s: %s", path, why);
  return t;
}

static void spew(const char *dir, const char *name, int mode,
                 const struct sbuf *b) {
  char path[512], why[FILE_WHY];

  snprintf(path, sizeof(path), "%s/%s", dir, name);
  if (file_replace(path, (mode_t)mode, b->s, b->len, why) < 0)
    bare_die("%s: %s", path, why);
}

static int64_t when(const char *text) {
  return (int64_t)(clock_wall() / SEC) + strtoll(text, NULL, 10);
}

static int leaf(int argc, char **argv) {
  struct text ca = slurp(argv[0], "ca.pem"), key = slurp(argv[0], "ca.key");
  struct sbuf cert = {0}, cert_key = {0};
  const char *dns[N_MAX];
  struct ztna_addr ips[IDENTITY_MAX_IPS];
  char uri[300], file[300];
  struct cert_spec s = {.spiffe = uri,
                        .dns = dns,
                        .ips = ips,
                        .not_before = when(argv[3]),
                        .not_after = when(argv[4])};

  snprintf(uri, sizeof(uri), "spiffe://example.org/%s/%s", argv[1], argv[2]);
  for (int i = 5; i < argc && s.n_dns < N_MAX; i++)
    if (s.n_ips == IDENTITY_MAX_IPS ||
        ztna_addr_parse(&ips[s.n_ips], argv[i]) < 0)
      dns[s.n_dns++] = argv[i];
    else
      s.n_ips++;
  if (cert_make_leaf(&s, ca.s, ca.len, key.s, key.len, &cert, &cert_key) < 0)
    bare_die("no certificate");
  snprintf(file, sizeof(file), "%s-%s.key", argv[1], argv[2]);
  spew(argv[0], file, 0600, &cert_key);
  snprintf(file, sizeof(file), "%s-%s.pem", argv[1], argv[2]);
  spew(argv[0], file, 0644, &cert);
  done(&ca, &key, &cert, &cert_key);
  return 0;
}

static void read_serial(const char *file, struct identity *id) {
  static uint8_t der[CERT_DER_MAX];
  struct text pem = slurp("", file);
  int n = cert_pem_to_der(pem.s, pem.len, der, sizeof(der));

  if (n < 0 || identity_from_der(id, der, (size_t)n) < 0)
    bare_die("%s: no certificate", file);
  free(pem.s);
}

static int crl(int argc, char **argv) {
  struct text ca = slurp(argv[0], "ca.pem"), key = slurp(argv[0], "ca.key");
  static struct identity ids[N_MAX];
  struct cert_revoked v[N_MAX];
  struct sbuf out = {0};
  size_t n = 0;

  for (int i = 4; i < argc && n < N_MAX; i++, n++) {
    read_serial(argv[i], &ids[n]);
    v[n] = (struct cert_revoked){ids[n].serial, when("0")};
  }
  if (cert_make_crl(v, n, when(argv[1]), when(argv[2]),
                    strtoull(argv[3], NULL, 10), ca.s, ca.len, key.s, key.len,
                    &out) < 0)
    bare_die("no list");
  spew(argv[0], "crl.pem", 0644, &out);
  while (n > 0) identity_done(&ids[--n]);
  done(&ca, &key, &out, NULL);
  return 0;
}

int main(int argc, char **argv) {
  if (tls_global_init(&clock_rng, NULL) < 0) bare_die("no TLS");
  if (argc >= 7 && !strcmp(argv[1], "leaf")) return leaf(argc - 2, argv + 2);
  if (argc >= 6 && !strcmp(argv[1], "crl")) return crl(argc - 2, argv + 2);
  bare_die("usage: tool_cert leaf DIR ROLE NAME FROM UNTIL [NAME...] | crl DIR "
           "FROM UNTIL NUMBER [FILE...]");
}
