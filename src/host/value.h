/* value.h - single values of a configuration as people write them. */
#ifndef ZTNA_HOST_VALUE_H
#define ZTNA_HOST_VALUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { VALUE_STRLEN = 96 };

/* Each is 0 or ZTNA_EMALFORMED. */
int value_int(int64_t *v, const char *text);   /* "-5" */
int value_size(uint64_t *v, const char *text); /* "64KiB", "65536" */
int value_ns(uint64_t *v, const char *text);   /* "250ms", "10s", "5m" */
int value_ports(uint16_t *first, uint16_t *last, const char *text);

bool value_is_host(const char *text);     /* a name or an IP address */
bool value_is_hostport(const char *text); /* "name:1", "[2001:db8::1]:1" */
/* An IP address with a port of its own, or without one. */
bool value_has_port(const char *text);

/* Into VALUE_STRLEN bytes, which they return. */
char *value_print_size(uint64_t v, char *buf);
char *value_print_ns(uint64_t v, char *buf);
/* Quoted and shortened; of PEM text nothing is shown. */
char *value_quote(const char *text, char *buf);
/* For "got ...": `"x"`, `5`, `true`, `a list`, `an object`, `null`. */
char *value_got(const json_t *v, char *buf);

#endif
