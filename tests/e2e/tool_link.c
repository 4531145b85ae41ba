/* tool_link.c - which path an agent's (or connector's) first link uses, in a
 * line for scripts:
 *
 *   tool_link HTTP
 *   used=direct at=203.0.113.2:41641 well=3 moves=2 failovers=1 rounds=2
 *   state=waiting why=-
 *
 * (one line.) at: the other end of a direct path, the relay of a relayed one;
 * well: paths that are there and not suspect; the last three are of the search
 * for a direct one. Code 1: there is no status, or no link. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <ztna/addr.h>

#include "host/http_get.h"

/* "-" stands for nothing, and a text is one word. */
static void print_word(const char *name, const json_t *j) {
  const char *s = json_string_value(j);

  printf(" %s=", name);
  for (s = s && *s ? s : "-"; *s; s++) putchar(*s == ' ' ? '_' : *s);
}

static void print_number(const char *name, const json_t *j) {
  printf(" %s=%" PRId64, name, (int64_t)json_integer_value(j));
}

static void print_paths(const json_t *paths) {
  const json_t *p, *used = NULL;
  const char *kind = "none";
  unsigned well = 0;
  size_t i;

  json_array_foreach(paths, i, p) {
    well += json_is_true(json_object_get(p, "joined")) &&
            !json_is_true(json_object_get(p, "suspect"));
    if (json_is_true(json_object_get(p, "chosen"))) used = p;
  }
  if (used) kind = json_string_value(json_object_get(used, "kind"));
  printf("used=%s", kind ? kind : "none");
  p = json_object_get(used, "relay");
  print_word("at", p ? p : json_object_get(used, "remote"));
  printf(" well=%u", well);
}

static void print_link(const json_t *link) {
  const json_t *search = json_object_get(link, "direct");

  print_paths(json_object_get(link, "paths"));
  print_number("moves", json_object_get(link, "moves"));
  print_number("failovers", json_object_get(link, "failovers"));
  print_number("rounds", json_object_get(search, "rounds"));
  print_word("state", json_object_get(search, "state"));
  print_word("why", json_object_get(search, "why"));
  printf("\n");
}

int main(int argc, char **argv) {
  struct ztna_addr http;
  struct sbuf body;
  json_t *j, *link;

  if (argc != 2 || ztna_addr_parse(&http, argv[1]) < 0) {
    fprintf(stderr, "tool_link: HTTP\n");
    return 2;
  }
  sbuf_init(&body, 0);
  if (http_get(&http, "/status", 1000, &body) != 200) return 1;
  j = json_loadb(body.s, body.len, 0, NULL);
  link = json_array_get(json_object_get(j, "links"), 0);
  if (link) print_link(link);
  fflush(stdout);
  return !link;
}
