/* token_file.h - tokens.json in the state directory of an enrolment service
 * (docs/ENROLL.md): which tokens there are, and which were used. The service
 * and `ztna token` change it at the same time: each reads, changes and replaces
 * it while it holds the lock `tokens.lock`. Of secrets it has hashes alone. */
#ifndef ZTNA_HOST_TOKEN_FILE_H
#define ZTNA_HOST_TOKEN_FILE_H

#include "base/sbuf.h"
#include "base/reason.h"
#include "part/token.h"
#include "role/token_grant.h"
#include "transport/cert.h"

enum {
  TOKEN_FILE_TOKENS = 1000,     /* at a time; who is long past is left out */
  TOKEN_FILE_AGAIN = 600,       /* s: the same key may ask again for so long */
  TOKEN_FILE_KEEP = 30 * 86400, /* s that a token stays after its end */
};

struct token_entry {
  char *id;   /* 16 digits */
  char *hash; /* SHA-256 of id and secret, 64 digits */
  int role;   /* token_file_roles */
  char *name;
  char **services; /* ids, or * */
  size_t n_services;
  char **dns;
  size_t n_dns;
  struct ztna_addr *ip;
  size_t n_ip;
  uint64_t lifetime;     /* of the certificate, ns */
  int64_t made, expires; /* seconds since 1970 */
  int64_t used;          /* 0: not yet */
  char *key;             /* that used it, SHA-256, 64 digits; NULL: none */
};

struct token_list {
  struct token_entry *tokens;
  size_t n_tokens;
};

/* "relay", "connector", "agent", by the number of role; ends with NULL. */
extern const char *const token_file_roles[];
enum role token_entry_role(const struct token_entry *e);
/* NULL; or what is missing or too much for its role, a sentence. */
const char *token_entry_wrong(const struct token_entry *e);

/* All of these: 0, or ZTNA_ENOMEM, ZTNA_ECONFIG (the file's mistakes),
 * ZTNA_EPERM, ZTNA_EIO, ZTNA_EAGAIN (another process holds the lock), with
 * lines for people in why. A file that is not there is an empty list. Free the
 * list by token_list_done; zeroed is fine. */
int token_file_read(const char *state_dir, struct token_list *to,
                    struct sbuf *why);
/* Copies e. Also ZTNA_EEXIST (its id) and ZTNA_EFULL. */
int token_file_add(const char *state_dir, const struct token_entry *e,
                   int64_t now, struct sbuf *why);
/* The token is gone, used or not. ZTNA_ENOENT: there is none of this id. */
int token_file_remove(const char *state_dir, const char *id, int64_t now,
                      struct sbuf *why);
/* As struct enroll_ops has it. REASON_INTERNAL: why says what is wrong. */
enum reason token_file_take(const char *state_dir, int64_t now,
                            const uint8_t id[TOKEN_ID_LEN],
                            const uint8_t secret[TOKEN_SECRET_LEN],
                            const uint8_t key_sha256[CERT_SPKI_HASH_LEN],
                            struct token_grant *out, const char **detail,
                            struct sbuf *why);

/* From memory: mistakes to why, name stands for the file. 0, ZTNA_ECONFIG or
 * ZTNA_ENOMEM. */
int token_list_parse(struct token_list *to, const char *name, const char *text,
                     size_t len, struct sbuf *why);
/* As token_list_parse reads it. 0 or ZTNA_ENOMEM. */
int token_list_print(const struct token_list *l, struct sbuf *out);
void token_list_done(struct token_list *l);

/* 64 digits and a NUL. */
void token_hash(const uint8_t id[TOKEN_ID_LEN],
                const uint8_t secret[TOKEN_SECRET_LEN], char *text);

#endif
