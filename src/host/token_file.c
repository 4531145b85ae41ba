/* token_file.c - see token_file.h. */
#include "host/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ztna/err.h>

#include "base/hex.h"
#include "base/time.h"
#include "host/file_write.h"
#include "host/json_file.h"
#include "transport/hash.h"

enum {
  LOCK_TRIES = 200,
  LOCK_EVERY_NS = 5000000,
  NAME_ROOM = PATH_MAX,
  HASH_DIGITS = 2 * HASH_LEN,
};

/* The file while it is ours alone. */
struct tokens {
  char file[NAME_ROOM];
  const char *dir;
  int lock; /* -1: not held */
  struct token_list list;
};

/* --- the lock */

/* Who asks is a loop, or a person: neither waits for ever. */
static int lock(int fd) {
  const struct timespec pause = {.tv_nsec = LOCK_EVERY_NS};
  for (int i = 0; i < LOCK_TRIES; i++) {
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK && errno != EINTR) return ZTNA_EIO;
    nanosleep(&pause, NULL);
  }
  return ZTNA_EAGAIN;
}

/* What root makes here is for the user that the service becomes, who owns the
 * directory; and who could have put another's file there. */
static void give_away(const struct tokens *t) {
  struct stat dir, file;
  if (geteuid() != 0 || stat(t->dir, &dir) < 0 || fstat(t->lock, &file) < 0)
    return;
  if (!S_ISREG(file.st_mode) || file.st_nlink != 1 || file.st_size != 0) return;
  if (file.st_uid == dir.st_uid) return;
  if (fchown(t->lock, dir.st_uid, dir.st_gid) < 0) return;
}

static int open_lock(struct tokens *t, const char *state_dir,
                     struct sbuf *why) {
  char name[NAME_ROOM];
  t->dir = state_dir;
  t->lock = -1;
  if (mkdir(state_dir, 0700) < 0 && errno != EEXIST) {
    sbuf_printf(why, "state_dir %s: cannot be made: %s\n", state_dir,
                strerror(errno));
    return ZTNA_EIO;
  }
  int n = snprintf(name, sizeof(name), "%s/tokens.lock", state_dir);
  snprintf(t->file, sizeof(t->file), "%s/tokens.json", state_dir);
  t->lock = n < NAME_ROOM
                ? open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
                : -1;
  if (t->lock >= 0) {
    give_away(t);
    return 0;
  }
  sbuf_printf(why, "%s: %s\n", name, strerror(errno));
  return errno == EACCES ? ZTNA_EPERM : ZTNA_EIO;
}

/* --- reading and writing */

/* Who may write it gives out identities; who may read it learns names. */
static int judge_mode(const struct tokens *t, struct sbuf *why) {
  struct stat st;
  if (lstat(t->file, &st) < 0) return 0; /* reading says why */
  if (!S_ISREG(st.st_mode)) {
    sbuf_printf(why, "%s: want a regular file\n", t->file);
    return ZTNA_ECONFIG;
  }
  if (!(st.st_mode & 077)) return 0;
  sbuf_printf(why,
              "%s: others can read or change it (mode %04o); chmod 600 %s\n",
              t->file, (unsigned)st.st_mode & 07777, t->file);
  return ZTNA_ECONFIG;
}

static int load(struct tokens *t, struct sbuf *why) {
  char *text, reason[FILE_WHY];
  size_t len;
  int rc = judge_mode(t, why);
  if (rc < 0) return rc;
  rc = file_read(t->file, JSON_FILE_MAX, &text, &len, reason);
  if (rc == ZTNA_ENOENT) return 0;
  if (rc < 0) {
    sbuf_printf(why, "%s: %s\n", t->file, reason);
    return rc;
  }
  rc = token_list_parse(&t->list, t->file, text, len, why);
  free(text);
  return rc;
}

static int begin(struct tokens *t, const char *state_dir, struct sbuf *why) {
  *t = (struct tokens){.lock = -1};
  int rc = open_lock(t, state_dir, why);
  if (rc < 0) return rc;
  rc = lock(t->lock);
  if (rc < 0) {
    sbuf_printf(why, "%s: %s\n", t->file,
                rc == ZTNA_EAGAIN ? "another process holds tokens.lock"
                                  : strerror(errno));
    return rc;
  }
  return load(t, why);
}

static void end(struct tokens *t) {
  token_list_done(&t->list);
  if (t->lock >= 0) close(t->lock); /* the lock is gone with it */
}

static void drop(struct token_list *l, size_t nr) {
  struct token_list one = {.tokens = malloc(sizeof(*l->tokens)), .n_tokens = 1};
  struct token_entry gone = l->tokens[nr];
  memmove(&l->tokens[nr], &l->tokens[nr + 1],
          (--l->n_tokens - nr) * sizeof(*l->tokens));
  if (!one.tokens) return;
  *one.tokens = gone;
  token_list_done(&one);
}

static void prune(struct token_list *l, int64_t now) {
  for (size_t i = l->n_tokens; i-- > 0;) {
    const struct token_entry *e = &l->tokens[i];
    int64_t over = e->used ? e->used : e->expires;
    if (now - over > TOKEN_FILE_KEEP) drop(l, i);
  }
}

/* On the disk when it returns 0. */
static int save(struct tokens *t, int64_t now, struct sbuf *why) {
  struct sbuf text;
  char reason[FILE_WHY];
  sbuf_init(&text, 0);
  prune(&t->list, now);
  int rc = token_list_print(&t->list, &text);
  if (rc == 0 && text.len > JSON_FILE_MAX) rc = ZTNA_EFULL;
  if (rc == ZTNA_EFULL)
    sbuf_printf(why, "%s: it would be larger than %d bytes\n", t->file,
                JSON_FILE_MAX);
  if (rc == 0) {
    rc = file_replace_for(t->file, 0600, text.s, text.len, reason);
    if (rc < 0) sbuf_printf(why, "%s: %s\n", t->file, reason);
  }
  sbuf_done(&text);
  return rc;
}

static struct token_entry *find(const struct token_list *l, const char *id) {
  for (size_t i = 0; i < l->n_tokens; i++)
    if (!strcmp(l->tokens[i].id, id)) return &l->tokens[i];
  return NULL;
}

/* --- list, add, remove */

int token_file_read(const char *state_dir, struct token_list *to,
                    struct sbuf *why) {
  struct tokens t;
  int rc = begin(&t, state_dir, why);
  *to = (struct token_list){0};
  if (rc == 0) {
    *to = t.list;
    t.list = (struct token_list){0};
  }
  end(&t);
  return rc;
}

/* Text of one more, beside that of those that are there: one way to copy. */
static int with(const struct token_list *l, const struct token_entry *e,
                struct token_list *to) {
  struct token_entry *v = calloc(l->n_tokens + 1, sizeof(*v));
  struct token_list both = {.tokens = v, .n_tokens = l->n_tokens + 1};
  struct sbuf text, why;
  if (!v) return ZTNA_ENOMEM;
  sbuf_init(&text, 0);
  sbuf_init(&why, 0);
  if (l->n_tokens) memcpy(v, l->tokens, l->n_tokens * sizeof(*v));
  v[l->n_tokens] = *e;
  int rc = token_list_print(&both, &text);
  if (rc == 0) rc = token_list_parse(to, "tokens", text.s, text.len, &why);
  free(v);
  sbuf_done(&text);
  sbuf_done(&why);
  return rc;
}

static int add(struct tokens *t, const struct token_entry *e, int64_t now,
               struct sbuf *why) {
  struct token_list more;
  if (find(&t->list, e->id)) return ZTNA_EEXIST;
  prune(&t->list, now);
  if (t->list.n_tokens >= TOKEN_FILE_TOKENS) {
    sbuf_printf(why, "%s: holds %d tokens; take some away: ztna token revoke\n",
                t->file, TOKEN_FILE_TOKENS);
    return ZTNA_EFULL;
  }
  int rc = with(&t->list, e, &more);
  if (rc < 0) return rc == ZTNA_ECONFIG ? ZTNA_EINVAL : rc;
  token_list_done(&t->list);
  t->list = more;
  return save(t, now, why);
}

int token_file_add(const char *state_dir, const struct token_entry *e,
                   int64_t now, struct sbuf *why) {
  struct tokens t;
  int rc = begin(&t, state_dir, why);
  if (rc == 0) rc = add(&t, e, now, why);
  end(&t);
  return rc;
}

int token_file_remove(const char *state_dir, const char *id, int64_t now,
                      struct sbuf *why) {
  struct tokens t;
  int rc = begin(&t, state_dir, why);
  struct token_entry *e = rc == 0 ? find(&t.list, id) : NULL;
  if (rc == 0 && !e) rc = ZTNA_ENOENT;
  if (e) {
    drop(&t.list, (size_t)(e - t.list.tokens));
    rc = save(&t, now, why);
  }
  end(&t);
  return rc;
}

/* --- take */

/* Every byte is looked at, also of a token that is not there. */
static bool is_same(const char *a, const char *b) {
  unsigned char differs = 0;
  for (size_t i = 0; i < HASH_DIGITS; i++)
    differs |= (unsigned char)(a[i] ^ b[i]);
  return differs == 0;
}

static bool has_secret(const struct token_entry *e, const uint8_t *id,
                       const uint8_t *secret) {
  static const char none[HASH_DIGITS + 1] =
      "                                                                ";
  char hash[HASH_DIGITS + 1];
  token_hash(id, secret, hash);
  bool same = is_same(hash, e ? e->hash : none);
  return e && same;
}

/* NULL: it is good for this key. */
static const char *judge(const struct token_entry *e, int64_t now,
                         const char *key) {
  if (!e->used) return now >= e->expires ? "expired" : NULL;
  bool soon = now - e->used <= TOKEN_FILE_AGAIN;
  return soon && is_same(e->key, key) ? NULL : "used";
}

/* It stands as used on the disk, or it was not taken. */
static int use(struct tokens *t, struct token_entry *e, int64_t now,
               const char *key, struct sbuf *why) {
  if (e->used) return 0;
  e->key = strdup(key);
  e->used = now;
  return e->key ? save(t, now, why) : ZTNA_ENOMEM;
}

static char *service_name(enum role role, const char *service) {
  char text[128];
  snprintf(text, sizeof(text), "%s.%.63s.ztna", role_name(role), service);
  return strdup(text);
}

static int grant(const struct token_entry *e, struct token_grant *g) {
  *g = (struct token_grant){.role = token_entry_role(e),
                            .lifetime = (int64_t)(e->lifetime / SEC)};
  snprintf(g->name, sizeof(g->name), "%s", e->name);
  g->dns = calloc(e->n_services + e->n_dns + 1, sizeof(*g->dns));
  if (!g->dns) return ZTNA_ENOMEM;
  for (size_t i = 0; i < e->n_services; i++)
    if (!(g->dns[g->n_dns++] = service_name(g->role, e->services[i])))
      return ZTNA_ENOMEM;
  for (size_t i = 0; i < e->n_dns; i++)
    if (!(g->dns[g->n_dns++] = strdup(e->dns[i]))) return ZTNA_ENOMEM;
  for (size_t i = 0; i < e->n_ip; i++) g->ips[g->n_ips++] = e->ip[i];
  return 0;
}

enum reason token_file_take(const char *state_dir, int64_t now,
                            const uint8_t id[TOKEN_ID_LEN],
                            const uint8_t secret[TOKEN_SECRET_LEN],
                            const uint8_t key_sha256[CERT_SPKI_HASH_LEN],
                            struct token_grant *out, const char **detail,
                            struct sbuf *why) {
  char name[2 * TOKEN_ID_LEN + 1], key[HASH_DIGITS + 1];
  struct tokens t;
  enum reason r = REASON_INTERNAL;
  int rc = begin(&t, state_dir, why);
  struct token_entry *e =
      rc == 0 ? find(&t.list, hex_print(id, TOKEN_ID_LEN, name)) : NULL;
  *detail = "the service's tokens cannot be read or written";
  if (rc == 0) {
    hex_print(key_sha256, CERT_SPKI_HASH_LEN, key);
    *detail = has_secret(e, id, secret) ? judge(e, now, key) : "unknown";
    r = *detail ? REASON_BAD_TOKEN : REASON_NONE;
  }
  /* First what it is good for: saving may leave entries out. */
  if (r == REASON_NONE &&
      ((rc = grant(e, out)) < 0 || (rc = use(&t, e, now, key, why)) < 0)) {
    token_grant_done(out);
    *detail = "the service's tokens cannot be read or written";
    r = REASON_INTERNAL;
  }
  if (rc == ZTNA_ENOMEM) sbuf_printf(why, "no memory\n");
  end(&t);
  return r;
}
