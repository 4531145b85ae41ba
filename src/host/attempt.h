/* attempt.h - one try of what a program would do: a TCP connection, an ICMP
 * echo, a datagram; blocking and bounded in time, for `ztna why`. */
#ifndef ZTNA_HOST_ATTEMPT_H
#define ZTNA_HOST_ATTEMPT_H

#include <stdint.h>
#include <ztna/addr.h>

enum attempt_end {
  ATTEMPT_ANSWERED,
  ATTEMPT_SILENT,      /* nothing came in time */
  ATTEMPT_REFUSED,     /* reset, or port unreachable */
  ATTEMPT_PROHIBITED,  /* by a rule (ICMP: administratively prohibited) */
  ATTEMPT_UNREACHABLE, /* any other ICMP error, or no route */
  ATTEMPT_IMPOSSIBLE,  /* this machine does not let us: see err */
};

struct attempt {
  enum attempt_end end;
  uint64_t took; /* ns */
  int err;       /* errno */
};

/* `to` has a port, but for the echo. */
struct attempt attempt_tcp(const struct ztna_addr *to, int timeout_ms);
/* By a ping socket, or with CAP_NET_RAW by a raw one. */
struct attempt attempt_echo(const struct ztna_addr *to, int timeout_ms);
/* One empty datagram. Silence is what most services answer it with. */
struct attempt attempt_udp(const struct ztna_addr *to, int timeout_ms);

/* The address from which this machine would send to that one; family 0: it has
 * no route. Nothing is sent. */
struct ztna_addr attempt_source(const struct ztna_addr *to);

#endif
