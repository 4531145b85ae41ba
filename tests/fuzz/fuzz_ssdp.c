/* fuzz_ssdp.c - any bytes as the answer to a search for the router: a URL that
 * is taken is text, fits, and leads to the router. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "host/portmap_ssdp.h"

#define SEED(s) \
  { s, sizeof(s) - 1 }

const struct fuzz_seed fuzz_seeds[] = {
    SEED("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:"
         "InternetGatewayDevice:1\r\nLOCATION: http://192.168.7.1:5000/"
         "rootDesc.xml\r\nEXT:\r\n\r\n"),
    SEED("location:http://192.168.7.1/x\nLOCATION: http://10.0.0.1/"),
    SEED("Location: http://192.168.7.1:80@evil/\r\n"),
};
const size_t n_fuzz_seeds = sizeof(fuzz_seeds) / sizeof(*fuzz_seeds);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  static const char at[] = "http://192.168.7.1";
  struct ztna_addr router;
  char url[48];
  ztna_addr_parse(&router, "192.168.7.1");
  memset(url, 'x', sizeof(url));
  if (!ssdp_location(data, len, &router, url, sizeof(url))) return 0;
  size_t n = strnlen(url, sizeof(url));
  assert(n < sizeof(url) && n > strlen(at));
  assert(strchr(":/", url[strlen(at)]) && !strchr(url, '@'));
  for (size_t i = 0; i < n; i++) assert(url[i] > ' ' && url[i] <= '~');
  return 0;
}
