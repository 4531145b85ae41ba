#include "host/state_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ztna/err.h>

#include "host/clock.h"
#include "host/file.h"

static int say(char *why, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int say(char *why, int rc, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, STATE_KEY_WHY, fmt, ap);
  va_end(ap);
  return rc;
}

/* Asked of the open file: nobody can swap it in between. */
static int judge(int fd, const char *name, char *why) {
  struct stat st;
  if (fstat(fd, &st) < 0)
    return say(why, ZTNA_EIO, "%s: %s", name, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return say(why, ZTNA_ECONFIG, "%s: want a regular file", name);
  if (st.st_mode & 077)
    return say(why, ZTNA_ECONFIG,
               "%s: others may read it (mode %03o); chmod 600 it, or delete it "
               "for a new one",
               name, (unsigned)st.st_mode & 0777);
  if (st.st_size != STATE_KEY_LEN)
    return say(why, ZTNA_ECONFIG,
               "%s: want %d bytes, got %lld; delete it for a new one", name,
               STATE_KEY_LEN, (long long)st.st_size);
  return 0;
}

static int read_key(int fd, const char *name, uint8_t *key, char *why) {
  int rc = judge(fd, name, why);
  if (rc < 0) return rc;
  if (read(fd, key, STATE_KEY_LEN) == STATE_KEY_LEN) return 0;
  return say(why, ZTNA_EIO, "%s: cannot be read whole", name);
}

/* O_EXCL: of two starts at once, one makes it. A key that was written in part
 * is taken away again. */
static int make_key(const char *name, uint8_t *key, char *why) {
  int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return say(why, ZTNA_EIO, "%s: %s", name, strerror(errno));
  rng_fill(&clock_rng, key, STATE_KEY_LEN);
  bool whole = write(fd, key, STATE_KEY_LEN) == STATE_KEY_LEN && !fsync(fd);
  int err = errno;
  close(fd);
  if (whole) return 0;
  unlink(name);
  return say(why, ZTNA_EIO, "%s: cannot be written: %s", name, strerror(err));
}

int state_key_load(const char *dir, uint8_t key[STATE_KEY_LEN], char *why) {
  char name[4096];
  if (mkdir(dir, 0700) < 0 && errno != EEXIST)
    return say(why, ZTNA_EIO, "state_dir %s: cannot be made: %s", dir,
               strerror(errno));
  if (snprintf(name, sizeof(name), "%s/state.key", dir) >= (int)sizeof(name))
    return say(why, ZTNA_ECONFIG, "state_dir: its name is too long");
  int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) return make_key(name, key, why);
  if (fd < 0) return say(why, ZTNA_EIO, "%s: %s", name, strerror(errno));
  int rc = read_key(fd, name, key, why);
  close(fd);
  if (rc < 0) file_wipe(key, STATE_KEY_LEN);
  return rc;
}
