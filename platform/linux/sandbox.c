/* sandbox.c - in which order privileges go: each step may need what a later one
 * takes. */
#include "../sandbox.h"

#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sandbox_int.h"

/* --- memory that nobody reads */

static bool forbid_dumps(void) {
  struct rlimit none = {0, 0};
  bool done = setrlimit(RLIMIT_CORE, &none) == 0;

  /* Also keeps others of the same user from tracing us. */
  if (!SANDBOX_SANITIZER) done &= prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
  return done;
}

void sandbox_begin(void) {
  forbid_dumps();
  umask(077);
  setenv("UV_USE_IO_URING", "0", 1);
}

static void core_dumps(struct sandbox_layer *l) {
  l->in_force = forbid_dumps(); /* another user is dumpable anew */
  if (!l->in_force)
    SAY(l, "%s", strerror(errno));
  else
    SAY(l, SANDBOX_SANITIZER ? "none; a build that finds leaks may be traced"
                             : "none, and nobody may trace this process");
}

static void no_new_privileges(struct sandbox_layer *l) {
  l->in_force = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
  if (l->in_force)
    SAY(l, "what it executes gains nothing");
  else
    SAY(l, "%s", strerror(errno));
}

/* --- names */

static void load_service(const char *name, struct sandbox_names *n) {
  char file[96];

  if (!strcmp(name, "files") || !strcmp(name, "dns")) return;
  n->sockets = true;
  snprintf(file, sizeof(file), "libnss_%.60s.so.2", name);
  dlopen(file, RTLD_NOW); /* missing: the C library passes over it, too */
}

/* "hosts: files mdns4_minimal [NOTFOUND=return] dns # as it is" */
static void load_services(char *line, struct sandbox_names *n) {
  char *save = NULL;

  line[strcspn(line, "#\n")] = 0;
  for (char *w = strtok_r(line, " \t", &save); w;
       w = strtok_r(NULL, " \t", &save))
    if (isalnum((unsigned char)*w)) load_service(w, n);
}

struct sandbox_names sandbox_names_load(enum sandbox_role role) {
  struct sandbox_names n = {.used = !sandbox_is_asked(role)};
  FILE *f = n.used ? fopen("/etc/nsswitch.conf", "re") : NULL;
  char line[512];

  while (f && fgets(line, sizeof(line), f))
    if (!strncmp(line, "hosts:", 6)) load_services(line + 6, &n);
  if (f) fclose(f);
  return n;
}

/* --- all of it */

/* Capabilities and Landlock are a thread's own. */
static bool is_alone(void) {
  DIR *d = opendir("/proc/self/task");
  int n = 0;

  if (!d) return true;
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n == 1;
}

static void not_for_all(struct sandbox_layer *l) {
  if (!l->in_force) return;
  l->in_force = false;
  SAY(l, "another thread began before it");
}

void sandbox_enter(const struct sandbox_plan *plan, struct sandbox_report *r) {
  struct sandbox_names names = sandbox_names_load(plan->role);
  bool alone = is_alone();

  memset(r, 0, sizeof(*r));
  sandbox_bound(plan);
  sandbox_user(plan, &r->user);
  sandbox_capabilities(plan, &r->capabilities);
  core_dumps(&r->core_dumps);
  no_new_privileges(&r->no_new_privileges);
  sandbox_landlock(plan, &names, &r->landlock);
  sandbox_seccomp(plan, &names, &r->seccomp); /* forbids the others */
  if (alone) return;
  not_for_all(&r->capabilities);
  not_for_all(&r->landlock);
}
