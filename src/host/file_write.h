/* file_write.h - small files, written whole or not at all, whatever happens
 * meanwhile: another file is written, brought to the disk, and renamed. */
#ifndef ZTNA_HOST_FILE_WRITE_H
#define ZTNA_HOST_FILE_WRITE_H

#include <stddef.h>
#include <sys/types.h>

#include "host/file.h"

/* All of these: 0, ZTNA_EPERM, ZTNA_EEXIST, ZTNA_ENOENT or ZTNA_EIO, with half
 * a sentence in why (FILE_WHY bytes). */

/* A file that is not there yet; never through a symbolic link. */
int file_create(const char *name, mode_t mode, const void *bytes, size_t len,
                char *why);
/* In place of the one that is there, whose mode stays, and its owner and group
 * as far as this process may give files away; mode is for when there is none. A
 * symbolic link stays, what it leads to is replaced; root follows only links of
 * its own (ZTNA_EPERM). */
int file_replace(const char *name, mode_t mode, const void *bytes, size_t len,
                 char *why);
/* As file_replace, but with this mode in any case, and what root writes is for
 * the owner of its directory. */
int file_replace_for(const char *name, mode_t mode, const void *bytes,
                     size_t len, char *why);
/* Would file_replace work? Tries it with an empty file, which does not stay. */
int file_try_replace(const char *name, char *why);

#endif
