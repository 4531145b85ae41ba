/* enroll.h - what the files of `ztna enroll` share. */
#ifndef ZTNA_APPLET_ENROLL_H
#define ZTNA_APPLET_ENROLL_H

#include "applet.h"
#include "part/token.h"
#include "role/enroll_client.h"

struct enroll_opts {
  char *token, *dir, *renew;
  char **relay;
  size_t n_relay;
};

enum { ENROLL_NAME = 512 }; /* bytes of a file's name */

/* To stderr; returns code. */
int enroll_say(int code, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* One question and its answer, in a loop of its own: an EXIT_ code, a failure
 * said; r is the caller's in any case. */
int enroll_once(const struct enroll_options *o, struct enroll_result *r);

/* --- enroll_renew.c: by the certificate that this configuration names; an
 * EXIT_ code, its failure said. */
int enroll_renew(const char *file);

/* --- enroll_files.c: what is kept. Each returns an EXIT_ code, its failure
 * said. */

struct enroll_files {
  char key_now[ENROLL_NAME]; /* until it is known whose key it is */
  char key[ENROLL_NAME], cert[ENROLL_NAME], ca[ENROLL_NAME];
  char json[ENROLL_NAME]; /* an agent's configuration */
  struct sbuf key_pem;
  bool key_is_new; /* made by this call */
  bool json_is_new;
};

/* Directory and key, before anybody is asked: the key of an earlier call with
 * this token when there is one. */
int enroll_files_begin(struct enroll_files *f, const char *dir,
                       const struct token *t);
/* The token is of no use: nor is the key that was made for it. */
void enroll_files_abandon(const struct enroll_files *f);
/* What was granted. Nothing of another identity is touched. */
int enroll_files_keep(struct enroll_files *f, const struct enroll_opts *o,
                      const struct token *t, const struct enroll_result *r);
void enroll_files_done(struct enroll_files *f);

/* --- enroll_tell.c: what to do next, to stdout */

/* The agent's configuration as it is written; free() it. */
char *enroll_agent_json(const struct enroll_opts *o, const struct token *t,
                        const struct identity *id);
void enroll_tell(const struct enroll_files *f, const struct enroll_opts *o,
                 const struct token *t, const struct enroll_result *r);

#endif
