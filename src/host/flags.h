/* flags.h - a command line by field tables: `--listen 0.0.0.0:4433`,
 * `--listen=...`, `--json`, `--no-direct`, `--` ends flags. */
#ifndef ZTNA_HOST_FLAGS_H
#define ZTNA_HOST_FLAGS_H

#include "host/field.h"

enum { FLAGS_MAX = 256, FLAGS_GROUPS = 4 };

/* A table and the path of its fields in messages: "" for what all roles share,
 * "relay" for a role's section. */
struct flag_group {
  const struct field *fields;
  const char *path;
};

struct flag {
  const struct field *field;
  size_t group;
  size_t offset;    /* of the struct that holds the field's member, in the
                       group's struct */
  const char *text; /* value */
  char name[72];    /* "--listen" */
};

struct flags {
  struct flag_group groups[FLAGS_GROUPS];
  size_t n_groups;
  struct flag v[FLAGS_MAX];
  size_t n;
  char **args; /* what is not a flag; points into argv, which is reordered */
  int n_args;
  bool help; /* --help or -h */
};

/* Sorts argv[0 .. argc-1] (without program and command) into flags and
 * arguments; groups are set before. 0, or ZTNA_EINVAL with a sentence in why:
 * unknown flag (with the nearest), no value, too many. Values are judged when
 * they are applied. */
int flags_parse(struct flags *f, int argc, char **argv, char *why, size_t room);
/* Applies the flags of one group to its struct. */
void flags_apply(const struct flags *f, size_t group, struct field_load *l,
                 void *base);
#endif
