/* ways.h - the ways of a link (PROTOCOL 5, "Paths"): which paths it has, over
 * relays and direct, which of them carries its packets, and when one is left
 * because nothing comes back.
 *
 * The agent decides and says `use {n}` on the path that is to be used; the
 * connector follows, and looks for itself only while that path is not there or
 * suspect. Either moves away from a suspect path at once. */
#ifndef ZTNA_ROLE_WAYS_H
#define ZTNA_ROLE_WAYS_H

#include "role/path.h"

enum { WAYS_MAX = 10 };

enum way_kind { WAY_RELAY, WAY_DIRECT };

/* Embedded in what its owner keeps of a path; zero-initialised but for path and
 * kind. */
struct way {
  struct path *path; /* lent */
  enum way_kind kind;
  bool joined; /* both ends know that this connection is the link's */
  bool suspect, dead;
  bool leaving; /* another takes its place: only for want of any */
  uint64_t suspect_at, probe_at;
  uint64_t good_at; /* not returned to before */
  unsigned n_suspected;
};

struct ways_ops {
  /* to carries the packets from now on; from may be NULL, or be gone already.
   * planned: from works, nothing is lost. */
  void (*on_chosen)(void *ud, struct way *from, struct way *to, bool planned);
  /* This one has become suspect (it is left, when there is another). */
  void (*on_suspect)(void *ud, struct way *w);
  /* It has been suspect for 3 s. May be NULL. */
  void (*on_dead)(void *ud, struct way *w);
};

struct ways {
  struct way *v[WAYS_MAX];
  size_t n;
  struct way *chosen; /* NULL: none has joined yet, or it was taken out */
  struct way *wanted; /* connector: as the agent said last */
  bool decides;       /* the agent's end */
  uint32_t use;       /* the highest n said or heard */
  uint64_t moved_at;
  uint64_t n_moves, n_failovers;
  const struct ways_ops *ops;
  void *ud;
};

void ways_init(struct ways *s, bool decides, const struct ways_ops *ops,
               void *ud);
/* ZTNA_EFULL. */
int ways_add(struct ways *s, struct way *w);
/* Before its path is freed. No callback: the next ways_tick chooses. */
void ways_del(struct ways *s, struct way *w);
/* Its connection is the link's from now on; chooses. A connection that ends, or
 * another that takes its place, takes that back: ways_left. */
void ways_joined(struct ways *s, struct way *w, uint64_t now);
void ways_left(struct ways *s, struct way *w);
/* Connector: `use {n}` came on w. An n that is not higher is old. */
void ways_use(struct ways *s, struct way *w, uint32_t n, uint64_t now);
/* The peer hears nothing of us there, or the network says that it is gone. */
void ways_suspect(struct ways *s, struct way *w, uint64_t now);
/* Joined, and its connection is there. */
bool way_is_there(const struct way *w);
/* One that could carry packets at once. */
bool way_works(const struct way *w);
bool ways_have_direct(const struct ways *s); /* joined, suspect or not */
bool ways_work(const struct ways *s);        /* at least one */
bool ways_work_direct(const struct ways *s); /* at least one of these */

/* What both ends say of the link's paths goes over a relay if one works: the
 * direct path is what may be lost. Takes the reference; false: none works. */
bool ways_say(struct ways *s, json_t *m);
uint64_t ways_rtt(const struct ways *s); /* of that path, ns; 0: none */

/* Watches all of them and chooses. */
void ways_tick(struct ways *s, uint64_t now);
uint64_t ways_deadline(const struct ways *s, uint64_t now);
/* {kind, live, chosen, suspect, remote, ...path_status}. */
json_t *way_status(const struct ways *s, const struct way *w);

#endif
