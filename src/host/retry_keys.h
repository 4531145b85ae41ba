/* retry_keys.h - the file of keys that make and check Retry tokens, shared by
 * relays behind one name and exchanged while they run: one to four lines of 64
 * hexadecimal digits, the first makes tokens, all are taken. `#` begins a
 * comment. */
#ifndef ZTNA_HOST_RETRY_KEYS_H
#define ZTNA_HOST_RETRY_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "transport/quic.h"

enum { RETRY_KEYS_WHY = 320, RETRY_KEYS_FILE_MAX = 4096 };

struct retry_keys {
  uint8_t key[QUIC_RETRY_KEYS][QUIC_RETRY_KEY_LEN];
  size_t n;
};

/* The text is overwritten. 0, or ZTNA_ECONFIG with a sentence in why
 * (RETRY_KEYS_WHY bytes), which names a line and never quotes it. */
int retry_keys_parse(struct retry_keys *k, const char *name, char *text,
                     char *why);
/* One that others may read is refused. 0, ZTNA_ECONFIG or ZTNA_EIO; k is empty
 * after a failure. */
int retry_keys_load(struct retry_keys *k, const char *name, char *why);
void retry_keys_wipe(struct retry_keys *k);

#endif
