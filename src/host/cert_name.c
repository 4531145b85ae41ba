/* cert_name.c - see cert_name.h. */
#include "host/cert_name.h"

#include <stdio.h>
#include <string.h>

#include "host/config_table.h"
#include "transport/identity.h"

const char *cert_name_check(const char *text) {
  struct identity id;
  char uri[IDENTITY_SPIFFE_MAX + 1];
  int n = snprintf(uri, sizeof(uri), "spiffe://x/agent/%s", text);
  if (n < (int)sizeof(uri) && identity_parse_spiffe(&id, uri, (size_t)n) == 0)
    return NULL;
  return "a name of letters, digits, - _ . (127 at most)";
}

const char *cert_name_check_service(const char *text) {
  return !strcmp(text, "*") ? NULL : config_check_service(text);
}

const char *cert_name_check_dns(const char *text) {
  struct ztna_addr ip;
  size_t n = strlen(text), label = 0;
  if (ztna_addr_parse(&ip, text) == 0) return "a host name; --ip for addresses";
  if (n > 5 && !strcmp(text + n - 5, ".ztna"))
    return "a host name; names that end in .ztna stand for services, see "
           "--service";
  for (const char *c = text; n <= 253; c++) {
    if (!*c || *c == '.') {
      if (label == 0 || label > 63) break;
      if (!*c) return NULL;
      label = 0;
    } else if (++label && !strchr("abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
                                  *c))
      break;
  }
  return "a whole host name like relay.example.org (no wildcards)";
}
