/* field.h - one table of fields loads the JSON, takes flags and environment,
 * checks ranges, prints help, and frees what was loaded.
 *
 *   static const struct field fields[] = {
 *     FIELD(relay_config, idle_after, .type = F_NS, .dflt = "30s",
 *           .min = SEC, .max = 600 * SEC, .help = "forget a silent peer
 * after"), FIELD_LIST(relay_config, listen, .type = F_ADDRS, .dflt =
 * "0.0.0.0:4433", .help = "addresses to listen on"), FIELD_END,
 *   };
 *
 * A list is two neighbouring members of the struct: `T *x; size_t n_x;`. */
#ifndef ZTNA_HOST_FIELD_H
#define ZTNA_HOST_FIELD_H

#include <stdbool.h>
#include <stdio.h>
#include <ztna/addr.h>

#include "base/sbuf.h"
#include "base/time.h"
#include "host/json_file.h"
#include "host/mistake.h"

enum field_type {
  F_END,
  /* member type; in JSON */
  F_BOOL,     /* bool; true, false */
  F_INT,      /* any integer; 5 */
  F_SIZE,     /* uint64_t bytes; "64KiB", 65536 */
  F_NS,       /* uint64_t ns; "250ms", "10s", "5m" */
  F_TIME,     /* int64_t seconds since 1970, never 0; "2026-12-31T18:00:00Z",
                 "2026-12-31" */
  F_STR,      /* char *; "text" */
  F_FILE,     /* char *; a file name, relative to the configuration file */
  F_ENUM,     /* an enum, numbered like .names; "name" */
  F_SET,      /* unsigned, bit i for .names[i]; ["name", ...] */
  F_BIT,      /* unsigned, one such bit; "name" */
  F_ADDR,     /* struct ztna_addr; "192.0.2.1:53", port required */
  F_HOSTPORT, /* char *; "name:port", "192.0.2.1:53", "[2001:db8::1]:53" */
  F_IP,       /* struct ztna_addr; without port */
  F_PREFIX,   /* struct ztna_prefix; "10.0.0.0/8" */
  F_PORT,     /* struct policy_ports; 80, "8000-8100" */
  /* lists: T *x; size_t n_x */
  F_STRS,      /* char ** */
  F_ADDRS,     /* struct ztna_addr *, with ports */
  F_IPS,       /* struct ztna_addr *, without ports */
  F_HOSTPORTS, /* char ** */
  F_PREFIXES,  /* struct ztna_prefix *; "10.0.0.0/8" */
  F_PORTS,     /* struct policy_ports *; [80, "8000-8100"] */
  /* with .fields */
  F_OBJECT,  /* a struct; {...} */
  F_OBJECTS, /* struct *, list; [{...}, ...] */
  F_MAP,     /* struct *, list; {"name": {...}, ...}; the name goes to the
                struct's first member, a char * */
};

struct field {
  const char *name; /* the key; with - for _ the flag */
  enum field_type type;
  size_t offset, size; /* of the member; size of one element for lists */
  const char *dflt;    /* as a flag would give it, lists with commas; NULL: zero
                          bytes */
  const char *help;    /* half a sentence */
  const char *meta;    /* for help, in place of the type's word */
  /* Numbers, sizes, ns; bytes of text; elements of a list. max 0: the type's
   * own bound. */
  int64_t min, max;
  bool required;              /* must be in the file, unless a flag gives it */
  bool file_only;             /* no flag, no environment */
  bool written;               /* F_FILE: made or changed by a running role */
  const char *const *names;   /* F_ENUM, F_SET; ends with NULL */
  const struct field *fields; /* F_OBJECT, F_OBJECTS, F_MAP */
  /* Text, each element of lists of text, names of maps: NULL when it is fine,
   * else what is wanted ("a service id: ..."). */
  const char *(*check)(const char *text);
};

#define FIELD(s, m, ...)                            \
  {                                                 \
    .name = #m, .offset = offsetof(struct s, m),    \
    .size = sizeof(((struct s *)0)->m), __VA_ARGS__ \
  }
/* The array type's size is -1 unless n_m follows m. */
#define FIELD_LIST(s, m, ...)                                                \
  {                                                                          \
    .name = #m,                                                              \
    .offset = offsetof(struct s, m) +                                        \
              0 * sizeof(char[offsetof(struct s, n_##m) ==                   \
                                      offsetof(struct s, m) + sizeof(void *) \
                                  ? 1                                        \
                                  : -1]),                                    \
    .size = sizeof(*((struct s *)0)->m), __VA_ARGS__                         \
  }
#define FIELD_END \
  { .type = F_END }

/* --- loading: defaults, then JSON, then environment, then flags */

/* Where a value was written; found again by the member's address and size, so
 * that later checks can name the place. */
struct field_place {
  const void *at;
  size_t size;
  char *source;  /* file, flag or variable */
  uint32_t line; /* 0 for a flag or variable */
  char *path;    /* "connector.services[2].to" */
};

/* One load. */
struct field_load {
  const char *file; /* its name for messages; may be NULL */
  const char *dir;  /* where relative file names begin; NULL: here */
  struct mistakes mistakes;
  struct field_place *places;
  size_t *place_index; /* field_place.c */
  size_t n_places, cap_places;
  bool no_memory;
};

void field_load_init(struct field_load *l, const char *file, const char *dir);
void field_load_done(struct field_load *l);

/* base is zeroed storage. */
void field_defaults(struct field_load *l, const struct field *fields,
                    void *base);
/* at: an object. path: of it, "" for the whole file. Lists replace lists. */
void field_from_json(struct field_load *l, const struct field *fields,
                     void *base, const char *path, struct json_at at);
/* One value written as on the command line; source: "--listen",
 * "ZTNA_RELAY_LISTEN"; path: for messages. more: append to a list that came
 * from the same source. Not for F_OBJECTS and F_MAP. */
void field_from_text(struct field_load *l, const struct field *field,
                     void *base, const char *path, const char *source,
                     const char *text, bool more);
/* All fields that the environment names: prefix "ZTNA_RELAY_" and the path in
 * capitals. */
void field_from_env(struct field_load *l, const struct field *fields,
                    void *base, const char *path, const char *prefix);
/* After all sources: a mistake for each required member that none gave. */
void field_need(struct field_load *l, const struct field *fields, void *base);
/* Frees what was loaded and zeroes the members. */
void field_done(const struct field *fields, void *base);

/* A mistake at the place where the member got its value, or at the object it
 * is in when it has none. FIELD_WRONG(l, service->id, "want ...", ...). */
void field_wrong(struct field_load *l, const void *at, size_t size,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
#define FIELD_WRONG(l, member, ...) \
  field_wrong(l, &(member), sizeof(member), __VA_ARGS__)
/* NULL when it has its default. */
const struct field_place *field_place_of(const struct field_load *l,
                                         const void *at, size_t size);

/* --- flags and help */

/* The field that a flag (without --, - for _) or path ("log.level") names,
 * inside F_OBJECTs too; *offset from base. NULL: none. */
const struct field *field_find(const struct field *fields, const char *flag,
                               size_t *offset);
/* Calls back for each field that a flag may set: flag "log-level". */
typedef void (*field_on_flag)(void *ctx, const struct field *f,
                              const char *flag);
void field_each_flag(const struct field *fields, field_on_flag on, void *ctx);
/* Help lines, a flag each: type, help, range and default. */
void field_help(struct sbuf *out, const struct field *fields);
/* The same for keys of the file, objects with what is in them. */
void field_help_keys(struct sbuf *out, const struct field *fields, int indent);

#endif
