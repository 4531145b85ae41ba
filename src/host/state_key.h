/* state_key.h - the 32 bytes from which a relay's keys derive: made at the
 * first start, kept in state_dir/state.key, readable by its owner alone. */
#ifndef ZTNA_HOST_STATE_KEY_H
#define ZTNA_HOST_STATE_KEY_H

#include <stddef.h>
#include <stdint.h>

enum { STATE_KEY_LEN = 32, STATE_KEY_WHY = 320 };

/* Reads the key, or makes it (mode 0600) and the directory (0700) when there is
 * none. One that others may read, or of another size, is refused. 0,
 * ZTNA_ECONFIG or ZTNA_EIO with a sentence in why (STATE_KEY_WHY bytes). */
int state_key_load(const char *dir, uint8_t key[STATE_KEY_LEN], char *why);

#endif
