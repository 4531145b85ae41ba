/* tcp.h - the pieces of tool_tcp, each a file tcp_*.c. System errors that are
 * no result end the program with a sentence (bench/bare.h). */
#ifndef E2E_TCP_H
#define E2E_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TCP_ROOM = 128 * 1024 };

/* --- tcp_net.c: sockets, options, figures */

/* A listener on [::]:PORT, which serves IPv4 as well. */
int tcp_listen(unsigned port);
/* Connected to "ADDR:PORT" without Nagle's delay, or a negative errno. Reads
 * and writes give up after 90 s. */
int tcp_dial(const char *to);
/* 0 or a negative errno; all bytes or none that count. */
int tcp_write(int fd, const void *bytes, size_t n);
/* Closes with RST. */
void tcp_abort(int fd);
/* An errno as a word for tests to compare: ok, refused, reset, ... */
const char *tcp_word(int error);
/* The number behind KEY= among the arguments. */
double tcp_option(int argc, char **argv, const char *key, double otherwise);

struct tcp_samples {
  double *v; /* seconds */
  size_t n, max;
};
void tcp_sample(struct tcp_samples *s, double seconds);
void tcp_merge(struct tcp_samples *to, struct tcp_samples *from);
/* PREFIXp50_us= and so on, sorted in passing. */
void tcp_print(struct tcp_samples *s, const char *prefix);

/* --- tcp_bytes.c: bytes whose every offset is known, so that a receiver needs
 * nothing but the seed to know what should have come */

struct tcp_bytes {
  uint64_t seed, at;   /* offset of the next byte */
  uint64_t hash, part; /* of the words so far, and of one that is incomplete */
};
void tcp_bytes_make(struct tcp_bytes *b, void *to, size_t n);
/* The next n bytes came: true when they are right. */
bool tcp_bytes_came(struct tcp_bytes *b, const void *data, size_t n);
uint64_t tcp_bytes_hash(const struct tcp_bytes *b);

/* --- subcommands; argv begins behind their name */

int tcp_serve(int argc, char **argv);
int tcp_get(int argc, char **argv);
int tcp_put(int argc, char **argv);
int tcp_probe(int argc, char **argv);
int tcp_rr(int argc, char **argv);
int tcp_crr(int argc, char **argv);
int tcp_many(int argc, char **argv);
int tcp_bulk(int argc, char **argv);

#endif
