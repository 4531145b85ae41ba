#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ztna/err.h>

static int say(char *why, int err) {
  snprintf(why, FILE_WHY, "%s", strerror(err));
  return err == ENOENT || err == ENOTDIR ? ZTNA_ENOENT
         : err == EACCES || err == EPERM ? ZTNA_EPERM
                                         : ZTNA_EIO;
}

/* Up to room bytes; fewer only at the end. */
static ssize_t read_all(int fd, char *buf, size_t room) {
  size_t n = 0;
  while (n < room) {
    ssize_t got = read(fd, buf + n, room - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    n += (size_t)got;
  }
  return (ssize_t)n;
}

/* One buffer for all: a growing one would leave pieces of a key behind. Pages
 * that are not read into cost nothing. */
static int read_fd(int fd, size_t max, char **bytes, size_t *len, char *why) {
  char *buf = malloc(max + 2);
  if (!buf) return ZTNA_ENOMEM;
  ssize_t n = read_all(fd, buf, max + 1);
  if (n >= 0 && (size_t)n <= max) {
    buf[n] = 0;
    *bytes = buf;
    *len = (size_t)n;
    return 0;
  }
  int rc = n < 0 ? say(why, errno) : ZTNA_ESIZE;
  if (n >= 0) snprintf(why, FILE_WHY, "larger than %zu bytes", max);
  if (n > 0) file_wipe(buf, (size_t)n);
  free(buf);
  return rc;
}

int file_read(const char *name, size_t max, char **bytes, size_t *len,
              char *why) {
  *bytes = NULL;
  *len = 0;
  snprintf(why, FILE_WHY, "no memory");
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return say(why, errno);
  int rc = read_fd(fd, max, bytes, len, why);
  close(fd);
  return rc;
}

int file_mode(const char *name) {
  struct stat st;
  return stat(name, &st) < 0 ? -1 : (int)(st.st_mode & 07777);
}

void file_wipe(void *bytes, size_t len) {
  volatile char *p = bytes;
  while (len--) *p++ = 0;
}
