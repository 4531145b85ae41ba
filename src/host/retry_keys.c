#include "host/retry_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ztna/err.h>

#include "base/hex.h"
#include "host/file.h"

static int say(char *why, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int say(char *why, int rc, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(why, RETRY_KEYS_WHY, fmt, ap);
  va_end(ap);
  return rc;
}

/* --- lines */

/* Without a comment and the blanks around; may be empty. */
static char *trim(char *line) {
  static const char blanks[] = " \t\r";
  line[strcspn(line, "#")] = 0;
  line += strspn(line, blanks);
  size_t n = strlen(line);
  while (n && strchr(blanks, line[n - 1])) line[--n] = 0;
  return line;
}

static int add(struct retry_keys *k, const char *name, unsigned nr,
               const char *digits, char *why) {
  uint8_t *key = k->key[k->n];
  if (k->n == QUIC_RETRY_KEYS)
    return say(why, ZTNA_ECONFIG, "%s:%u: want %d keys at most", name, nr,
               QUIC_RETRY_KEYS);
  if (!hex_parse(key, QUIC_RETRY_KEY_LEN, digits))
    return say(why, ZTNA_ECONFIG,
               "%s:%u: want a key of %d hex digits, got %zu "
               "characters",
               name, nr, 2 * QUIC_RETRY_KEY_LEN, strlen(digits));
  for (size_t i = 0; i < k->n; i++)
    if (!memcmp(k->key[i], key, QUIC_RETRY_KEY_LEN))
      return say(why, ZTNA_ECONFIG, "%s:%u: want another key than the %zu. one",
                 name, nr, i + 1);
  k->n++;
  return 0;
}

int retry_keys_parse(struct retry_keys *k, const char *name, char *text,
                     char *why) {
  unsigned nr = 0;
  char *line, *rest = text;
  int rc = 0;
  *k = (struct retry_keys){0};
  while (rc == 0 && (line = strsep(&rest, "\n"))) {
    nr++;
    line = trim(line);
    if (*line) rc = add(k, name, nr, line, why);
  }
  if (rc == 0 && !k->n)
    rc = say(why, ZTNA_ECONFIG, "%s: want one to %d keys, got none", name,
             QUIC_RETRY_KEYS);
  if (rc < 0) retry_keys_wipe(k);
  return rc;
}

void retry_keys_wipe(struct retry_keys *k) { file_wipe(k, sizeof(*k)); }

/* --- the file */

/* Asked of the open file: nobody can swap it in between. */
static int judge(int fd, const char *name, char *why) {
  struct stat st;
  if (fstat(fd, &st) < 0)
    return say(why, ZTNA_EIO, "%s: %s", name, strerror(errno));
  if (!S_ISREG(st.st_mode))
    return say(why, ZTNA_ECONFIG, "%s: want a regular file", name);
  if (st.st_mode & 077)
    return say(why, ZTNA_ECONFIG,
               "%s: others may read it (mode %03o); run: chmod 600 %s", name,
               (unsigned)st.st_mode & 0777, name);
  if (st.st_size > RETRY_KEYS_FILE_MAX)
    return say(why, ZTNA_ECONFIG, "%s: larger than %d bytes", name,
               RETRY_KEYS_FILE_MAX);
  return 0;
}

static int read_text(int fd, const char *name, char *text, char *why) {
  int rc = judge(fd, name, why);
  if (rc < 0) return rc;
  ssize_t n = read(fd, text, RETRY_KEYS_FILE_MAX);
  if (n < 0) return say(why, ZTNA_EIO, "%s: %s", name, strerror(errno));
  text[n] = 0;
  return 0;
}

int retry_keys_load(struct retry_keys *k, const char *name, char *why) {
  char text[RETRY_KEYS_FILE_MAX + 1];
  *k = (struct retry_keys){0};
  int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return say(why, ZTNA_EIO, "%s: %s", name, strerror(errno));
  int rc = read_text(fd, name, text, why);
  close(fd);
  if (rc == 0) rc = retry_keys_parse(k, name, text, why);
  file_wipe(text, sizeof(text));
  return rc;
}
