/* audit_file.c - see audit_file.h. */
#include "host/audit_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ztna/err.h>

#include "base/hex.h"
#include "base/log.h"
#include "host/clock.h"
#include "transport/hash.h"

enum {
  TAIL_MAX = 1 << 20, /* a whole record is looked for in so much */
  NAME_ROOM = 300,
  OPEN_FLAGS = O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
};

static int say(char *why, int rc, const char *what, const char *detail) {
  snprintf(why, AUDIT_WHY, "%s%s%s", what, detail ? ": " : "",
           detail ? detail : "");
  return rc;
}

/* --- bytes out */

static int room_for(struct audit_file *f, size_t len) {
  size_t cap = f->out_cap ? f->out_cap : 1 << 16;
  char *p;

  while (cap < f->out_len + len) cap *= 2;
  if (cap == f->out_cap) return 0;
  p = realloc(f->out, cap);
  if (!p) return -ENOMEM;
  f->out = p;
  f->out_cap = cap;
  return 0;
}

/* A disk that is full may take a part: the rest follows when it has room. */
int audit_file_write(struct audit_file *f) {
  while (f->out_len) {
    ssize_t n = write(f->fd, f->out, f->out_len);

    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n ? -errno : -EIO;
    memmove(f->out, f->out + n, f->out_len - (size_t)n);
    f->out_len -= (size_t)n;
    f->size += (uint64_t)n;
  }
  return 0;
}

void audit_file_sync(struct audit_file *f) {
  if (fdatasync(f->fd) < 0) return; /* what cannot be synced stays written */
}

static int append(struct audit_file *f, const char *body, size_t len) {
  int rc = room_for(f, AUDIT_LINE_MAX);

  if (rc < 0) return rc;
  f->out_len +=
      audit_line_make(f->out + f->out_len, ++f->seq, body, len, f->last);
  return 0;
}

/* --- names */

static void numbered(const struct audit_file *f, unsigned i,
                     char to[NAME_ROOM]) {
  if (i)
    snprintf(to, NAME_ROOM, "%s.%u", f->name, i);
  else
    snprintf(to, NAME_ROOM, "%s", f->name);
}

static bool is_there(const struct audit_file *f, unsigned i) {
  char name[NAME_ROOM];
  struct stat st;

  numbered(f, i, name);
  return fstatat(f->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Up to the first number that is free, so that one which a crash left free is
 * filled; the oldest goes when none is. */
static int shift(struct audit_file *f) {
  char from[NAME_ROOM], to[NAME_ROOM];
  unsigned free = 1;

  if (!is_there(f, 0)) return 0; /* done by an attempt that failed later */
  while (free < f->keep && is_there(f, free)) free++;
  for (unsigned i = free; i-- > 0;) {
    numbered(f, i, from);
    numbered(f, i + 1, to);
    if (renameat(f->dir, from, f->dir, to) < 0) return -errno;
  }
  return 0;
}

/* --- opening */

static int split(struct audit_file *f, const char *path, char *why) {
  const char *slash = strrchr(path, '/');
  const char *base = slash ? slash + 1 : path;
  char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");

  if (!dir) return say(why, ZTNA_ENOMEM, "no memory", NULL);
  f->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
  free(dir);
  if (f->dir < 0) return say(why, ZTNA_ENOENT, "directory", strerror(errno));
  if (!*base || strlen(base) >= sizeof(f->name))
    return say(why, ZTNA_EINVAL, "want the name of a file", NULL);
  strcpy(f->name, base);
  return 0;
}

/* Whoever could put a link or another file there could read or redirect. */
static int judge(int fd, char *why) {
  struct stat st;

  if (fstat(fd, &st) < 0) return say(why, ZTNA_EIO, "stat", strerror(errno));
  if (!S_ISREG(st.st_mode))
    return say(why, ZTNA_EPERM, "is no regular file", NULL);
  if (st.st_nlink != 1)
    return say(why, ZTNA_EPERM, "has other names too (hard links)", NULL);
  if (st.st_uid != geteuid())
    return say(why, ZTNA_EPERM, "belongs to another user", NULL);
  if ((st.st_mode & 077) && fchmod(fd, 0600) < 0)
    return say(why, ZTNA_EPERM, "chmod 600", strerror(errno));
  if (flock(fd, LOCK_EX | LOCK_NB) < 0)
    return say(why, ZTNA_EEXIST, "is written by another process", NULL);
  return 0;
}

static int open_current(struct audit_file *f, int flags, char *why) {
  int fd = openat(f->dir, f->name, OPEN_FLAGS | O_CREAT | flags, 0600);
  int rc;

  if (fd < 0) {
    rc = errno == ELOOP ? ZTNA_EPERM : errno == EACCES ? ZTNA_EPERM : ZTNA_EIO;
    return say(why, rc, errno == ELOOP ? "is a symbolic link" : "open",
               errno == ELOOP ? NULL : strerror(errno));
  }
  rc = judge(fd, why);
  if (rc == 0) return fd;
  close(fd);
  return rc;
}

/* --- where it ends */

struct tail {
  char *bytes;
  size_t len, from; /* from: behind the last whole record */
  bool open;        /* that one lacks its newline */
};

static int tail_read(struct tail *t, int fd) {
  struct stat st;
  ssize_t n;

  *t = (struct tail){0};
  if (fstat(fd, &st) < 0) return -errno;
  t->len = st.st_size < TAIL_MAX ? (size_t)st.st_size : TAIL_MAX;
  t->bytes = malloc(t->len + 1);
  if (!t->bytes) return -ENOMEM;
  n = pread(fd, t->bytes, t->len, st.st_size - (off_t)t->len);
  return n == (ssize_t)t->len ? 0 : -EIO;
}

/* From behind, line by line. False: no record is there. */
static bool tail_find(struct tail *t, struct audit_line *l) {
  size_t end = t->len;

  while (end > 0) {
    bool closed = t->bytes[end - 1] == '\n';
    size_t stop = closed ? end - 1 : end;
    const char *nl = stop ? memrchr(t->bytes, '\n', stop) : NULL;
    size_t begin = nl ? (size_t)(nl - t->bytes) + 1 : 0;

    if (audit_line_read(l, t->bytes + begin, stop - begin) && l->is_true) {
      t->from = end;
      t->open = !closed;
      return true;
    }
    end = begin;
  }
  return false;
}

/* What a crash left is no record. Its length and hash are, so that it cannot be
 * exchanged for anything else. */
static int close_half(struct audit_file *f, const struct tail *t) {
  const char *half = t->bytes + t->from;
  size_t len = t->len - t->from;
  bool closed = len && half[len - 1] == '\n';
  struct audit_text text;
  uint8_t raw[HASH_LEN];
  char hex[AUDIT_HEX];

  if (!t->open && !len) return 0;
  if (room_for(f, 1) < 0) return -ENOMEM;
  if (!closed) f->out[f->out_len++] = '\n';
  if (t->open) return 0;
  hash_sha256(half, len - closed, raw);
  audit_text_init(&text, clock_wall(), "resumed");
  audit_text_number(&text, "half_bytes", len - closed);
  audit_text_string(&text, "half_sha256", hex_print(raw, sizeof(raw), hex));
  log_warn("audit: the file ended in half a record bytes=%zu: closed by a note",
           len - closed);
  return append(f, text.s, text.len);
}

static int first_record(struct audit_file *f) {
  struct audit_text t;

  audit_text_init(&t, clock_wall(), "file");
  audit_text_string(&t, "role", f->role);
  audit_text_string(&t, "identity", f->identity);
  audit_text_string(&t, "former", f->last);
  return append(f, t.s, t.len);
}

/* A crash may have come between the renaming and the new file. */
static int former_end(struct audit_file *f, char *why) {
  char name[NAME_ROOM];
  struct audit_line l;
  struct tail t;
  int fd, rc;

  numbered(f, 1, name);
  fd = openat(f->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return 0;
  rc = tail_read(&t, fd);
  close(fd);
  if (rc == 0 && tail_find(&t, &l)) {
    f->seq = l.seq;
    strcpy(f->last, l.hash);
  } else if (rc < 0) {
    rc = say(why, ZTNA_EIO, "its former file", strerror(-rc));
  }
  free(t.bytes);
  return rc;
}

static int go_on(struct audit_file *f, char *why) {
  struct audit_line l;
  struct tail t;
  int rc = tail_read(&t, f->fd);

  if (rc < 0) {
    rc = say(why, ZTNA_EIO, "read", strerror(-rc));
  } else if (t.len == 0) {
    rc = former_end(f, why);
    if (rc == 0) rc = first_record(f);
  } else if (!tail_find(&t, &l)) {
    rc = say(why, ZTNA_EMALFORMED,
             "its end holds no audit record; move it out of the way", NULL);
  } else {
    f->seq = l.seq;
    strcpy(f->last, l.hash);
    rc = close_half(f, &t);
  }
  free(t.bytes);
  return rc;
}

int audit_file_open(struct audit_file *f, const char *path, uint64_t rotate,
                    unsigned keep, const char *role, const char *identity,
                    char why[AUDIT_WHY]) {
  int rc;

  *f = (struct audit_file){.fd = -1,
                           .dir = -1,
                           .rotate = rotate,
                           .rotate_at = rotate,
                           .keep = keep ? keep : 1,
                           .role = role,
                           .identity = identity};
  strcpy(f->last, audit_no_hash);
  rc = split(f, path, why);
  if (rc == 0) rc = open_current(f, 0, why);
  if (rc >= 0) {
    f->fd = rc;
    f->size = (uint64_t)lseek(f->fd, 0, SEEK_END);
    rc = go_on(f, why);
  }
  if (rc < 0) audit_file_close(f);
  return rc;
}

void audit_file_close(struct audit_file *f) {
  if (f->fd >= 0) close(f->fd);
  if (f->dir >= 0) close(f->dir);
  free(f->out);
  f->out = NULL;
  f->fd = f->dir = -1;
}

/* --- a new file */

static int begin_file(struct audit_file *f) {
  char why[AUDIT_WHY];
  int rc = shift(f), fd;

  if (rc < 0) {
    log_err("audit: no new file: %s", strerror(-rc));
    return rc;
  }
  fd = open_current(f, O_EXCL, why);
  if (fd < 0) {
    log_err("audit: no new file: %s", why);
    return fd;
  }
  audit_file_sync(f);
  close(f->fd);
  f->fd = fd;
  f->size = 0;
  f->rotate_at = f->rotate;
  f->n_rotated++;
  return first_record(f);
}

/* One that cannot be begun must not end the log: the old one grows by an eighth
 * before the next attempt. */
int audit_file_add(struct audit_file *f, const char *body, size_t len) {
  if (f->size + f->out_len + AUDIT_LINE_MAX > f->rotate_at) {
    int rc = audit_file_write(f);

    if (rc < 0) return rc;
    if (begin_file(f) < 0) f->rotate_at = f->size + f->rotate / 8;
  }
  return append(f, body, len);
}
