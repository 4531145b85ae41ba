/* socks5.c - see socks5.h. */
#include "host/socks5.h"

#include <ctype.h>
#include <string.h>
#include <ztna/err.h>

enum { VERSION = 5, TYPE_V4 = 1, TYPE_NAME = 3, TYPE_V6 = 4 };

/* --- reading */

/* More is needed, `total` in all. */
static int more(size_t *need, size_t total) {
  *need = total;
  return 0;
}

int socks5_read_greeting(uint8_t *method, const uint8_t *data, size_t len,
                         size_t *need) {
  size_t total;

  if (len && data[0] != VERSION) return ZTNA_EMALFORMED;
  if (len < 2) return more(need, 2);
  total = 2 + (size_t)data[1];
  if (len < total) return more(need, total);
  *method = SOCKS5_NO_METHOD;
  for (size_t i = 2; i < total; i++)
    if (data[i] == SOCKS5_NO_AUTH) *method = SOCKS5_NO_AUTH;
  return (int)total;
}

/* Names are ids of services: letters, digits and few signs, of any case as with
 * other host names, maybe with the root's dot. */
static int read_name(struct socks5_message *m, const uint8_t *data,
                     size_t len) {
  if (len && data[len - 1] == '.') len--;
  if (!len || data[len - 1] == '.') return ZTNA_EMALFORMED;
  if (len >= sizeof(m->name)) return ZTNA_EINVAL;
  for (size_t i = 0; i < len; i++) {
    if (!isalnum(data[i]) && !memchr("-_.:", data[i], 4))
      return ZTNA_EMALFORMED;
    m->name[i] = (char)tolower(data[i]);
  }
  return 0;
}

/* type | address | port. As the public ones. */
static int read_place(struct socks5_message *m, const uint8_t *data, size_t len,
                      size_t *need) {
  size_t n, at = 1;
  int rc = 0;

  if (len < 2) return more(need, 2); /* every type has one more byte */
  switch (data[0]) {
  case TYPE_V4:
    n = 4;
    break;
  case TYPE_V6:
    n = 16;
    break;
  case TYPE_NAME:
    n = data[1];
    at = 2;
    break;
  default:
    return ZTNA_EINVAL;
  }
  if (len < at + n + 2) return more(need, at + n + 2);
  m->port = (uint16_t)(data[at + n] << 8 | data[at + n + 1]);
  if (data[0] == TYPE_NAME)
    rc = read_name(m, data + at, n);
  else
    m->addr = n == 4 ? ztna_addr_v4(data + at, m->port)
                     : ztna_addr_v6(data + at, m->port, 0);
  return rc < 0 ? rc : (int)(at + n + 2);
}

int socks5_read_request(struct socks5_message *m, const uint8_t *data,
                        size_t len, size_t *need) {
  int n;

  memset(m, 0, sizeof(*m));
  if (len && data[0] != VERSION) return ZTNA_EMALFORMED;
  if (len > 2 && data[2]) return ZTNA_EMALFORMED;
  if (len < 5) return more(need, 5);
  m->what = data[1];
  n = read_place(m, data + 3, len - 3, need);
  if (n == 0) *need += 3;
  return n > 0 ? n + 3 : n;
}

int socks5_read_datagram(struct socks5_message *m, const uint8_t *data,
                         size_t len) {
  size_t need;
  int n;

  memset(m, 0, sizeof(*m));
  if (len < 4 || data[0] || data[1] || data[2]) return ZTNA_EMALFORMED;
  n = read_place(m, data + 3, len - 3, &need);
  return n > 0 ? n + 3 : ZTNA_EMALFORMED;
}

/* --- writing */

static size_t write_place(uint8_t *to, const struct socks5_message *m) {
  size_t n = strlen(m->name), at = 1;

  if (n) {
    to[0] = TYPE_NAME;
    to[at++] = (uint8_t)n;
    memcpy(to + at, m->name, n);
  } else {
    n = m->addr.family == 6 ? 16 : 4;
    to[0] = n == 4 ? TYPE_V4 : TYPE_V6;
    memcpy(to + at, m->addr.ip, n);
  }
  to[at + n] = (uint8_t)(m->port >> 8);
  to[at + n + 1] = (uint8_t)m->port;
  return at + n + 2;
}

size_t socks5_write_message(uint8_t *to, const struct socks5_message *m) {
  to[0] = VERSION;
  to[1] = m->what;
  to[2] = 0;
  return 3 + write_place(to + 3, m);
}

size_t socks5_write_datagram(uint8_t *to, const struct socks5_message *m) {
  memset(to, 0, 3);
  return 3 + write_place(to + 3, m);
}

size_t socks5_write_reply(uint8_t *to, enum socks5_reply code,
                          const struct ztna_addr *bound) {
  struct socks5_message m = {
      .what = (uint8_t)code, .addr = *bound, .port = bound->port};

  return socks5_write_message(to, &m);
}

const char *socks5_target(const struct socks5_message *m, char *text) {
  return m->name[0] ? m->name : ztna_addr_print_ip(&m->addr, text);
}
