/* audit_line.h - one line of the audit log: a JSON object whose members have a
 * fixed order,
 *
 *   {"seq":7,"time":"...","event":"flow-end", ... ,"prev":HASH,"hash":HASH}
 *
 * hash is the SHA-256 of all bytes before `,"hash"`, prev the hash of the line
 * before it: no line can be changed, left out or moved without the others
 * telling. */
#ifndef ZTNA_HOST_AUDIT_LINE_H
#define ZTNA_HOST_AUDIT_LINE_H

#include "base/audit.h"

enum {
  AUDIT_BODY_MAX = 4096, /* everything but seq, prev and hash */
  AUDIT_LINE_MAX = AUDIT_BODY_MAX + 256,
  AUDIT_HEX = 65, /* a hash as text */
  AUDIT_TIME = 25,
};

/* What the first line follows. */
extern const char audit_no_hash[AUDIT_HEX];

/* --- writing */

/* Members of a body, one after the other. */
struct audit_text {
  char s[AUDIT_BODY_MAX];
  size_t len;
  bool overflow;
};

/* Begins with "time" and "event". wall: ns since 1970. */
void audit_text_init(struct audit_text *t, uint64_t wall, const char *event);
void audit_text_string(struct audit_text *t, const char *key, const char *s);
void audit_text_number(struct audit_text *t, const char *key, uint64_t n);
/* now, wall: the same moment by both clocks, so that the record's times can be
 * told. False: it does not fit. */
bool audit_text_record(struct audit_text *t, const struct audit_record *r,
                       uint64_t now, uint64_t wall);

/* The whole line with its newline into to, AUDIT_LINE_MAX bytes; hash: of the
 * line before, and of this one afterwards. Returns the length. */
size_t audit_line_make(char *to, uint64_t seq, const char *body, size_t len,
                       char hash[AUDIT_HEX]);

/* --- reading */

struct audit_line {
  uint64_t seq;
  char prev[AUDIT_HEX], hash[AUDIT_HEX];
  char event[24];
  bool is_true; /* its hash is that of its bytes */
};

/* A line without its newline. False: it is no record, not even a false one. */
bool audit_line_read(struct audit_line *l, const char *s, size_t len);
/* A number among the line's members, 0 when there is none. */
uint64_t audit_line_number(const char *s, size_t len, const char *key);
/* Does it end as a record does? A record that was cut off does not. */
bool audit_line_is_finished(const char *s, size_t len);

#endif
