/* cert_authority.c - a directory's certificate authority, for whatever signs
 * with its key. */
#include <stdio.h>
#include <stdlib.h>

#include "cert.h"
#include "host/file.h"

static int load(const char *verb, const char *file, char **bytes, size_t *len) {
  char why[FILE_WHY];
  int rc = file_read(file, CERT_FILE_MAX, bytes, len, why);
  if (rc == 0) return EXIT_DONE;
  return cert_say(EXIT_FAILED, verb, "%s: %s%s", file, why,
                  rc == ZTNA_ENOENT ? "; make a CA first: ztna cert init" : "");
}

int cert_authority_load(struct cert_authority *a, const char *verb,
                        const char *dir) {
  int code;
  snprintf(a->cert_file, sizeof(a->cert_file), "%s/ca.pem", dir);
  snprintf(a->key_file, sizeof(a->key_file), "%s/ca.key", dir);
  if ((code = load(verb, a->cert_file, &a->cert, &a->cert_len))) return code;
  a->der_len = cert_pem_to_der(a->cert, a->cert_len, a->der, sizeof(a->der));
  if (a->der_len < 0 || cert_read_ca(&a->ca, a->der, (size_t)a->der_len) < 0)
    return cert_say(EXIT_FAILED, verb,
                    "%s: holds no CA's certificate in PEM form", a->cert_file);
  int mode = file_mode(a->key_file);
  if (mode > 0 && (mode & 077))
    return cert_say(EXIT_FAILED, verb,
                    "%s: others can read it; run: chmod 600 %s", a->key_file,
                    a->key_file);
  return load(verb, a->key_file, &a->key, &a->key_len);
}

int cert_authority_wrong_key(const struct cert_authority *a, const char *verb) {
  return cert_say(
      EXIT_FAILED, verb,
      "%s: not the private key of %s, or not readable (an EC key in "
      "PEM form without a password is wanted)",
      a->key_file, a->cert_file);
}

void cert_authority_done(struct cert_authority *a) {
  free(a->cert);
  if (a->key) file_wipe(a->key, a->key_len);
  free(a->key);
}
