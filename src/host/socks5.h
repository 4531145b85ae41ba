/* socks5.h - the messages of SOCKS version 5 (RFC 1928) as far as a server
 * without authentication needs them. Data plus pure functions; every byte that
 * is read may be an attack.
 *
 *   greeting  5 | n | n methods                         -> 5 | method
 *   request   5 | command | 0 | type | address | port   -> the same, command
 *                                                          now a reply code
 *   datagram  0 0 | fragment 0 | type | address | port | data
 *   address   type 1: 4 bytes, 4: 16 bytes, 3: length, name */
#ifndef ZTNA_HOST_SOCKS5_H
#define ZTNA_HOST_SOCKS5_H

#include <stddef.h>
#include <stdint.h>
#include <ztna/addr.h>

enum {
  SOCKS5_GREETING_MAX = 2 + 255,
  SOCKS5_MESSAGE_MAX = 4 + 1 + 255 + 2,
  SOCKS5_NO_AUTH = 0,
  SOCKS5_NO_METHOD = 255,
};

enum socks5_command { SOCKS5_CONNECT = 1, SOCKS5_BIND = 2, SOCKS5_UDP = 3 };

enum socks5_reply {
  SOCKS5_OK = 0,
  SOCKS5_FAILED = 1,
  SOCKS5_NOT_ALLOWED = 2,
  SOCKS5_NET_UNREACHABLE = 3,
  SOCKS5_HOST_UNREACHABLE = 4,
  SOCKS5_REFUSED = 5,
  SOCKS5_NO_COMMAND = 7,
  SOCKS5_NO_TYPE = 8,
};

struct socks5_message {
  uint8_t what;  /* command or reply; 0 in a datagram */
  char name[64]; /* lower case, without a dot at its end; "": an address */
  struct ztna_addr addr;
  uint16_t port;
};

/* Each returns the bytes it took, or 0 when more are needed: *need in all,
 * never more than belong to it; ZTNA_EMALFORMED. *method: what to answer. */
int socks5_read_greeting(uint8_t *method, const uint8_t *data, size_t len,
                         size_t *need);
/* ZTNA_EINVAL: a type of address, or a name longer than any service's, that we
 * do not know. */
int socks5_read_request(struct socks5_message *m, const uint8_t *data,
                        size_t len, size_t *need);
/* The header's length; ZTNA_EMALFORMED, also for fragments (RFC 1928, 7: drop
 * them when they are not supported). */
int socks5_read_datagram(struct socks5_message *m, const uint8_t *data,
                         size_t len);

/* Return the length, SOCKS5_MESSAGE_MAX at most. */
size_t socks5_write_message(uint8_t *to, const struct socks5_message *m);
size_t socks5_write_datagram(uint8_t *to, const struct socks5_message *m);
/* A reply with an address (family 0: 0.0.0.0:0). */
size_t socks5_write_reply(uint8_t *to, enum socks5_reply code,
                          const struct ztna_addr *bound);

/* What it names, as ztna_agent_sock_open takes it: the name or the address as
 * text. text holds ZTNA_ADDR_STRLEN bytes. */
const char *socks5_target(const struct socks5_message *m, char *text);

#endif
