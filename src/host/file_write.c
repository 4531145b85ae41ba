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

enum { LINKS_MAX = 8 };

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
static void give(int fd, const struct stat *like) {
  if (like->st_uid == geteuid() && like->st_gid == getegid()) return;
  if (fchown(fd, like->st_uid, like->st_gid) < 0 &&
      fchown(fd, (uid_t)-1, like->st_gid) < 0)
    return;
}

/* The mode as asked for, whatever the umask. 0 or errno; then no file stays. */
static int make(int dir, const char *name, mode_t mode, const struct stat *like,
                const void *bytes, size_t len) {
  int fd =
      openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
             mode & 0700);
  int bad;
  if (fd < 0) return errno;
  if (like) give(fd, like);
  bad = write_all(fd, bytes, len) < 0 || fchmod(fd, mode) < 0 ? errno : 0;
  if (close(fd) < 0 && !bad) bad = errno;
  if (bad) unlinkat(dir, name, 0);
  return bad;
}

/* The name is on the disk, too; not every file system can say so. */
static int sync_directory(int dir) {
  int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return 0;
  int bad = fsync(fd) < 0 && errno == EIO ? EIO : 0;
  close(fd);
  return bad;
}

int file_create(const char *name, mode_t mode, const void *bytes, size_t len,
                char *why) {
  char copy[PATH_MAX];
  int err = make(AT_FDCWD, name, mode, NULL, bytes, len);
  if (err) return say(why, err);
  snprintf(copy, sizeof(copy), "%s", name);
  int dir = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
  err = dir < 0 ? 0 : sync_directory(dir);
  if (dir >= 0) close(dir);
  return err ? say(why, err) : 0;
}

/* --- replacing */

/* Where the file is that is to be replaced. The directory is held: whoever owns
 * it can swap names in it meanwhile, but all that is done is done there. */
struct target {
  int dir; /* -1: none */
  char name[NAME_MAX + 1], fresh[NAME_MAX + 8];
  struct stat st;
  bool there;
};

static void target_done(struct target *t) {
  if (t->dir >= 0) close(t->dir);
  t->dir = -1;
}

static int open_directory(struct target *t, const char *path) {
  char copy[PATH_MAX];
  int from = t->dir;
  if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
    return ENAMETOOLONG;
  t->dir = openat(from < 0 ? AT_FDCWD : from, dirname(copy),
                  O_PATH | O_DIRECTORY | O_CLOEXEC);
  int err = t->dir < 0 ? errno : 0;
  if (from >= 0) close(from);
  snprintf(copy, sizeof(copy), "%s", path);
  if (snprintf(t->name, sizeof(t->name), "%s", basename(copy)) >=
      (int)sizeof(t->name))
    return ENAMETOOLONG;
  return err;
}

/* Root would write wherever the owner of a directory points. */
static bool may_follow(const struct stat *link) {
  return geteuid() != 0 || link->st_uid == 0;
}

static int find(struct target *t, const char *name) {
  char path[PATH_MAX];
  int err = open_directory(t, name);
  for (int i = 0; i < LINKS_MAX && !err; i++) {
    t->there = fstatat(t->dir, t->name, &t->st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!t->there) return errno == ENOENT ? 0 : errno;
    if (S_ISREG(t->st.st_mode)) return 0;
    if (!S_ISLNK(t->st.st_mode)) return EEXIST;
    if (!may_follow(&t->st)) return EPERM;
    ssize_t n = readlinkat(t->dir, t->name, path, sizeof(path));
    if (n < 0) return errno;
    if (n == sizeof(path)) return ENAMETOOLONG;
    path[n] = 0;
    err = open_directory(t, path);
  }
  return err ? err : ELOOP;
}

static int target_find(struct target *t, const char *name) {
  *t = (struct target){.dir = -1};
  int err = find(t, name);
  if (err) return err;
  snprintf(t->fresh, sizeof(t->fresh), "%s.new", t->name);
  unlinkat(t->dir, t->fresh, 0); /* of an attempt that was cut off */
  return 0;
}

int file_try_replace(const char *name, char *why) {
  struct target t;
  int err = target_find(&t, name);
  if (!err) err = make(t.dir, t.fresh, 0600, NULL, "", 0);
  if (!err) unlinkat(t.dir, t.fresh, 0);
  target_done(&t);
  return err ? say(why, err) : 0;
}

static int replace(const struct target *t, mode_t mode, const struct stat *like,
                   const void *bytes, size_t len) {
  int err = make(t->dir, t->fresh, mode, like, bytes, len);
  if (err) return err;
  if (renameat(t->dir, t->fresh, t->dir, t->name) == 0)
    return sync_directory(t->dir);
  err = errno;
  unlinkat(t->dir, t->fresh, 0);
  return err;
}

int file_replace(const char *name, mode_t mode, const void *bytes, size_t len,
                 char *why) {
  struct target t;
  int err = target_find(&t, name);
  if (!err)
    err = replace(&t, t.there ? t.st.st_mode & 0777 : mode,
                  t.there ? &t.st : NULL, bytes, len);
  target_done(&t);
  return err ? say(why, err) : 0;
}

int file_replace_for(const char *name, mode_t mode, const void *bytes,
                     size_t len, char *why) {
  struct target t;
  struct stat dir;
  int err = target_find(&t, name);
  if (!err && fstat(t.dir, &dir) < 0) err = errno;
  if (!err) err = replace(&t, mode, geteuid() == 0 ? &dir : NULL, bytes, len);
  target_done(&t);
  return err ? say(why, err) : 0;
}
