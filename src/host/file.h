/* file.h - small files, whole, into memory. */
#ifndef ZTNA_HOST_FILE_H
#define ZTNA_HOST_FILE_H

#include <stddef.h>

enum { FILE_WHY = 160 };

/* *bytes is NUL terminated (the NUL not counted) and free()d by the caller. 0,
 * ZTNA_ENOENT, ZTNA_EPERM, ZTNA_ESIZE (larger than max), ZTNA_EIO, ZTNA_ENOMEM,
 * with a sentence in why (FILE_WHY bytes). No copy of the bytes stays behind
 * elsewhere in memory. */
int file_read(const char *name, size_t max, char **bytes, size_t *len,
              char *why);
/* The permission bits of a file, -1 when there is none. */
int file_mode(const char *name);
/* Overwrites bytes in a way that compilers keep. */
void file_wipe(void *bytes, size_t len);

#endif
