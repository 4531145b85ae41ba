#include "host/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ztna/err.h>

static int say(char *why, int err) {
  snprintf(why, FILE_WHY, "%s", strerror(err));
  return err == ENOENT || err == ENOTDIR                 ? ZTNA_ENOENT
         : err == EACCES || err == EPERM || err == EROFS ? ZTNA_EPERM
         : err == EEXIST                                 ? ZTNA_EEXIST
                                                         : ZTNA_EIO;
}

static int write_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = write(fd, bytes, len);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    bytes += n;
    len -= (size_t)n;
  }
  return fsync(fd);
}

/* Who may not give a file to another user gives it to the group at least; it is
 * of no matter to who reads it by its mode. */
static void keep_owner(int fd, const struct stat *was) {
  if (was->st_uid == geteuid() && was->st_gid == getegid()) return;
  if (fchown(fd, was->st_uid, was->st_gid) < 0 &&
      fchown(fd, (uid_t)-1, was->st_gid) < 0)
    return;
}

/* The mode as asked for, whatever the umask. 0 or errno; then no file stays. */
static int make(const char *name, mode_t mode, const struct stat *was,
                const void *bytes, size_t len) {
  int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                mode & 0700);
  int bad;
  if (fd < 0) return errno;
  if (was) keep_owner(fd, was);
  bad = write_all(fd, bytes, len) < 0 || fchmod(fd, mode) < 0 ? errno : 0;
  if (close(fd) < 0 && !bad) bad = errno;
  if (bad) unlink(name);
  return bad;
}

/* The name is on the disk, too. */
static void sync_directory_of(const char *name) {
  char copy[PATH_MAX];
  snprintf(copy, sizeof(copy), "%s", name);
  int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

int file_create(const char *name, mode_t mode, const void *bytes, size_t len,
                char *why) {
  int err = make(name, mode, NULL, bytes, len);
  if (err) return say(why, err);
  sync_directory_of(name);
  return 0;
}

/* Of the file that is to be replaced. */
struct target {
  char real[PATH_MAX], fresh[PATH_MAX + 8];
  struct stat st;
  bool there;
};

static int target_find(struct target *t, const char *name) {
  t->there = realpath(name, t->real) && stat(t->real, &t->st) == 0;
  if (!t->there && errno != ENOENT) return errno;
  if (!t->there) snprintf(t->real, sizeof(t->real), "%s", name);
  snprintf(t->fresh, sizeof(t->fresh), "%s.new", t->real);
  unlink(t->fresh); /* of an attempt that was cut off */
  return 0;
}

int file_try_replace(const char *name, char *why) {
  struct target t;
  int err = target_find(&t, name);
  if (!err) err = make(t.fresh, 0600, NULL, "", 0);
  if (err) return say(why, err);
  unlink(t.fresh);
  return 0;
}

int file_replace(const char *name, mode_t mode, const void *bytes, size_t len,
                 char *why) {
  struct target t;
  int err = target_find(&t, name);
  if (!err)
    err = make(t.fresh, t.there ? t.st.st_mode & 07777 : mode,
               t.there ? &t.st : NULL, bytes, len);
  if (!err && rename(t.fresh, t.real) < 0) {
    err = errno;
    unlink(t.fresh);
  }
  if (err) return say(why, err);
  sync_directory_of(t.real);
  return 0;
}
