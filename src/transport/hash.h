/* hash.h - SHA-256 by wolfSSL, for who chains records. */
#ifndef ZTNA_HASH_H
#define ZTNA_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HASH_LEN = 32 };

/* Allocates nothing, may be called by any thread. */
void hash_sha256(const void *data, size_t len, uint8_t out[HASH_LEN]);

#endif
