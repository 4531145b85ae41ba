/* sock.h - TCP sockets that the skin has for a core: the core says what to do
 * with them (operations), the skin says what became of them, and bytes are read
 * into and written from the core's memory.
 *
 * A socket is a number that the core chose. The skin takes operations until
 * there are none after every input, as with datagrams, and does not block:
 *   CONNECT  connect to the first of addrs that answers (RFC 8305), at most
 *            `timeout` long; then _connected or _failed
 *   READ     read while there is room (it stopped because there was none)
 *   WRITE    there are bytes: write until the socket takes no more, go on by
 *            itself when it does
 *   SHUT     after the bytes that are there: end our direction (SHUT_WR)
 *   CLOSE    write what is there and close; what the system does not take at
 *            once is lost, and the peer gets a reset instead of an end
 *   ABORT    close at once, with RST
 * After CLOSE, ABORT and _failed the number may be used again. */
#ifndef ZTNA_SOCK_H
#define ZTNA_SOCK_H

#include <ztna/addr.h>

enum { ZTNA_SOCK_ADDRS = 8 };

struct ztna_sock_op {
  enum ztna_sock_do {
    ZTNA_SOCK_CONNECT,
    ZTNA_SOCK_READ,
    ZTNA_SOCK_WRITE,
    ZTNA_SOCK_SHUT,
    ZTNA_SOCK_CLOSE,
    ZTNA_SOCK_ABORT,
  } what;
  uint32_t sock;
  const struct ztna_addr *addrs; /* CONNECT; lent until the next operation */
  unsigned n_addrs;
  uint64_t timeout; /* CONNECT; ns */
};

enum ztna_sock_error {
  ZTNA_SOCK_REFUSED,     /* ECONNREFUSED */
  ZTNA_SOCK_UNREACHABLE, /* no way there, or prohibited */
  ZTNA_SOCK_TIMEOUT,
  ZTNA_SOCK_RESET,   /* after it was connected */
  ZTNA_SOCK_NO_ROOM, /* no descriptor or memory on this machine */
};

struct ztna_sock_vec { /* laid out as struct iovec */
  uint8_t *base;
  size_t len;
};

#endif
