/* identity_file.h - certificate, key, CAs and lists of revoked certificates of
 * a running role: read again when one of them changes, taken over when they fit
 * each other and are the same identity's, else told of while the former stay in
 * force; and warned of before they run out. */
#ifndef ZTNA_HOST_IDENTITY_FILE_H
#define ZTNA_HOST_IDENTITY_FILE_H

#include <jansson.h>
#include <uv.h>
#include <ztna/identity.h>

#include "base/sbuf.h"
#include "host/config.h"
#include "transport/tls.h"

struct identity_file;

struct identity_file_ops {
  /* Takes over another certificate of the same identity, other CAs or lists,
   * out of the loop. tls is lent until the next take has returned, own's bytes
   * during the call. 0; or an error with a sentence in why (room bytes), and
   * nothing changed. */
  int (*take)(void *ctx, struct tls *tls, const struct ztna_identity *own,
              char *why, size_t room);
};

/* name: of the role, for the log. files: lent, with the bytes that tls was made
 * of, the key's included; they may go afterwards. tls is taken over: whoever
 * uses it is gone when identity_file_free is called. NULL: no memory. */
struct identity_file *identity_file_new(const char *name,
                                        const struct identity_config *files,
                                        struct tls *tls);
/* The role runs in this loop. */
void identity_file_start(struct identity_file *f, uv_loop_t *loop,
                         const struct identity_file_ops *ops, void *ctx);
/* Before the loop ends; not started is fine. */
void identity_file_stop(struct identity_file *f);
void identity_file_free(struct identity_file *f); /* NULL is fine */

/* What is in force; another one behind each take. */
struct tls *identity_file_tls(const struct identity_file *f);
/* The SPIFFE ID, as long as f. */
const char *identity_file_spiffe(const struct identity_file *f);
/* SIGHUP: reads all again, without patience for files that do not fit yet. */
void identity_file_reload(struct identity_file *f);

/* {"ok", "cert", "not_after", "expires_in_s", "warning", "ca", "crl",
 * "reloads", "failures", "error"} */
json_t *identity_file_status(const struct identity_file *f);
void identity_file_metrics(const struct identity_file *f, struct sbuf *out);

#endif
