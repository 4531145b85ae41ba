/* h3.h - HTTP/3 (RFC 9114) for the control API: requests with JSON bodies,
 * endless responses of lines, problem+json errors (RFC 9457), GOAWAY. The home
 * of nghttp3. A session is the user of one quic_conn:
 *
 *   client: s = h3_new(...); quic_dial with ops = h3_client_ops(), ud = s
 *   server: on_accept returns h3_new(...); accept_ops = h3_server_ops()
 *
 * The session frees itself after on_end. Limits: header list 16 KB, body 64 KB
 * (the request is refused with 413), QPACK dynamic table 0, 32 streams. A
 * server refuses a request that is not complete after 10 s (408), and closes a
 * connection (rate-limited) that does not take what it asked for, or begins
 * more than 100 streams a second. */
#ifndef ZTNA_H3_H
#define ZTNA_H3_H

#include "transport/quic.h"

struct h3;      /* a session */
struct h3_req;  /* server: one request, until h3_respond or h3_end */
struct h3_call; /* client: one request, until its last callback */

enum {
  H3_BODY_MAX = 65536,     /* of a request */
  H3_BODIES_MAX = 262144,  /* of all requests of a connection at a time */
  H3_ANSWER_MAX = 1048576, /* of a whole answer, as the client takes it */
  H3_LINES_MAX = 262144,   /* waiting for one reader, their upkeep included */
  H3_HELD_MAX = 1572864,   /* of all answers and lines of a connection */
};

struct h3_ops {
  /* As in struct quic_ops. From on_ready on calls may be made. */
  int (*on_ready)(struct h3 *s, void *ud, const struct identity *peer);
  void (*on_end)(struct h3 *s, void *ud, const struct quic_end *why);
  void (*on_address)(struct h3 *s, void *ud, const struct ztna_addr *remote);
  /* Server: a whole request. Answer it now or later. */
  void (*on_request)(struct h3 *s, void *ud, struct h3_req *r);
  /* Server: the client gave the request up, or the connection ended; r is gone
   * after this. Not called for requests that were answered or ended. */
  void (*on_gone)(struct h3 *s, void *ud, struct h3_req *r);
  /* Server: a request was refused before the user saw it. */
  void (*on_refused)(struct h3 *s, void *ud, enum reason why);
  /* Server: h3_deadline came closer. */
  void (*on_deadline)(struct h3 *s, void *ud);
  /* Client: the server takes no new requests. Calls that still wait for a
   * stream end with status 0 after this. */
  void (*on_goaway)(struct h3 *s, void *ud);
};

const struct quic_ops *h3_client_ops(void);
const struct quic_ops *h3_server_ops(void);
/* Client and server parameters with the limits above. Idle connections end
 * after 30 s; the client keeps them alive every 15 s. */
struct quic_params h3_params(bool server);

/* authority: for the client's :authority, copied. NULL: no memory. */
struct h3 *h3_new(bool server, const char *authority, const struct h3_ops *ops,
                  void *ud);
/* Only for a session whose connection was never made (quic_dial failed). */
void h3_free(struct h3 *s);
struct quic_conn *h3_conn(const struct h3 *s);     /* NULL before it is known */
void h3_attach(struct h3 *s, struct quic_conn *c); /* after quic_dial/accept */
void *h3_ud(const struct h3 *s);

/* --- server --- */
const char *h3_method(const struct h3_req *r);
const char *h3_path(const struct h3_req *r);              /* with query */
const char *h3_body(const struct h3_req *r, size_t *len); /* NUL terminated */
void h3_set_tag(struct h3_req *r, void *tag);             /* user's own */
void *h3_tag(const struct h3_req *r);
/* Ends the request. json may be NULL (204 style answers). Copies the body. */
void h3_respond(struct h3_req *r, int status, const char *json, size_t len);
/* problem+json: {"type":"urn:ztna:<reason>","title":sentence,"status":...,
 * "reason":name,"detail":detail,"fix":who}. detail may be NULL. */
void h3_problem(struct h3_req *r, enum reason why, const char *detail);
/* An endless 200 response, content type application/x-ndjson. */
void h3_begin_lines(struct h3_req *r);
/* One line; the newline is added. ZTNA_EFULL: more than H3_LINES_MAX wait; the
 * caller should close the connection (rate-limited). */
int h3_line(struct h3_req *r, const char *line, size_t len);
void h3_end(struct h3_req *r); /* ends an endless response */
/* When h3_tick is to be called, NEVER at first. h3_tick may close the
 * connection, and refuses requests. */
uint64_t h3_deadline(const struct h3 *s);
void h3_tick(struct h3 *s, uint64_t now);
/* GOAWAY in two steps; the second follows by itself a round trip later. */
void h3_goaway(struct h3 *s);

/* --- client --- */
/* status 0: the connection ended, the stream was reset first, or the answer was
 * over a limit. The body is NUL terminated, lent, never NULL; what problem+json
 * says is in body. Called once. */
typedef void (*h3_done_fn)(void *ud, struct h3_call *c, int status,
                           const char *body, size_t len);
/* One line of an endless response (without newline, NUL terminated, lent). Only
 * for status 200; the body of another status goes to on_done. */
typedef void (*h3_line_fn)(void *ud, struct h3_call *c, const char *line,
                           size_t len);
/* body may be NULL. on_line may be NULL (then the whole body goes to on_done).
 * NULL: not ready, GOAWAY was seen, or no memory. When the peer allows no
 * further stream the call waits (at most 64 waiting). */
struct h3_call *h3_call(struct h3 *s, const char *method, const char *path,
                        const char *body, size_t len, h3_done_fn on_done,
                        h3_line_fn on_line, void *ud);
/* Forgets the call: no callback any more; the stream is reset. */
void h3_cancel(struct h3_call *c);

#endif
