/* ways.c - see ways.h. */
#include "role/ways.h"

#include <string.h>
#include <ztna/err.h>

#include "base/time.h"

/* Probes while nothing comes back; five of them must be lost, too, before an
 * idle path is left: at 5 % loss each way one of a million silences is chance.
 * A busy one is left when its patience (path.h) is over. */
#define PROBE_EVERY (60 * MS)
#define SUSPECT_AFTER (300 * MS)
#define PROBE_SUSPECT_EVERY (200 * MS)
#define DEAD_AFTER (3 * SEC)
/* One that came back must stay for so long, twice as long each time. */
#define GOOD_FIRST SEC
#define GOOD_MAX (60 * SEC)
#define FORGIVEN_AFTER (60 * SEC)
/* So much faster, and not before the last move has settled. */
#define BETTER_BY (5 * MS)
#define SETTLE (5 * SEC)

void ways_init(struct ways *s, bool decides, const struct ways_ops *ops,
               void *ud) {
  memset(s, 0, sizeof(*s));
  s->decides = decides;
  s->ops = ops;
  s->ud = ud;
}

int ways_add(struct ways *s, struct way *w) {
  if (s->n == WAYS_MAX) return ZTNA_EFULL;
  s->v[s->n++] = w;
  return 0;
}

void ways_left(struct ways *s, struct way *w) {
  w->joined = w->suspect = w->dead = false;
  if (s->wanted == w) s->wanted = NULL;
}

void ways_del(struct ways *s, struct way *w) {
  ways_left(s, w);
  if (s->chosen == w) s->chosen = NULL;
  for (size_t i = 0; i < s->n; i++)
    if (s->v[i] == w) {
      memmove(&s->v[i], &s->v[i + 1], (s->n - i - 1) * sizeof(s->v[0]));
      s->n--;
      return;
    }
}

/* --- choosing --- */

bool way_is_there(const struct way *w) {
  return w->joined && path_is_live(w->path);
}

bool way_works(const struct way *w) { return way_is_there(w) && !w->suspect; }

bool ways_work(const struct ways *s) {
  for (size_t i = 0; i < s->n; i++)
    if (way_works(s->v[i])) return true;
  return false;
}

bool ways_work_direct(const struct ways *s) {
  for (size_t i = 0; i < s->n; i++)
    if (s->v[i]->kind == WAY_DIRECT && way_works(s->v[i])) return true;
  return false;
}

bool ways_have_direct(const struct ways *s) {
  for (size_t i = 0; i < s->n; i++)
    if (s->v[i]->kind == WAY_DIRECT && way_is_there(s->v[i])) return true;
  return false;
}

static uint64_t rtt_of(const struct way *w) {
  struct quic_info i;

  quic_info(path_conn(w->path), &i);
  return i.srtt;
}

enum grade { GONE, SUSPECT, LEAVING, WORKS, GOOD };

/* How good it is now: what works and was good for a while, what works, what is
 * at least there. */
static enum grade grade(const struct way *w, uint64_t now) {
  if (!way_is_there(w)) return GONE;
  if (w->suspect) return SUSPECT;
  if (w->leaving) return LEAVING;
  return now >= w->good_at ? GOOD : WORKS;
}

static bool is_better(const struct way *a, const struct way *b, uint64_t now) {
  enum grade ga = grade(a, now), gb = b ? grade(b, now) : GONE;

  if (ga != gb) return ga > gb;
  if (!ga) return false;
  if (a->kind != b->kind) return a->kind == WAY_DIRECT;
  return rtt_of(a) < rtt_of(b);
}

static struct way *best(const struct ways *s, uint64_t now) {
  struct way *w = NULL;

  for (size_t i = 0; i < s->n; i++)
    if (is_better(s->v[i], w, now)) w = s->v[i];
  return w;
}

static void move(struct ways *s, struct way *to, bool planned, uint64_t now) {
  struct way *from = s->chosen;

  if (from == to) return;
  s->chosen = to;
  s->moved_at = now;
  s->n_moves++;
  if (from && !planned) s->n_failovers++;
  s->ops->on_chosen(s->ud, from, to, planned);
}

/* Away from one that works only for what is clearly better. */
static bool is_worth_it(const struct ways *s, const struct way *to,
                        uint64_t now) {
  const struct way *from = s->chosen;

  if (grade(to, now) < GOOD) return false;
  if (from->leaving) return true;
  if (to->kind != from->kind) return to->kind == WAY_DIRECT;
  return now >= s->moved_at + SETTLE && rtt_of(to) + BETTER_BY < rtt_of(from);
}

static void choose(struct ways *s, uint64_t now) {
  struct way *to = best(s, now), *from = s->chosen;
  bool works = from && way_works(from);

  if (!s->decides && s->wanted && way_works(s->wanted)) {
    move(s, s->wanted, works, now);
    return;
  }
  if (!to || to == from) return;
  if (!works) {
    if (!from || grade(to, now) > grade(from, now)) move(s, to, false, now);
  } else if (s->decides && is_worth_it(s, to, now)) {
    move(s, to, true, now);
  }
}

void ways_joined(struct ways *s, struct way *w, uint64_t now) {
  w->joined = true;
  w->suspect = false;
  w->probe_at = now;
  w->good_at = now;
  choose(s, now);
}

void ways_use(struct ways *s, struct way *w, uint32_t n, uint64_t now) {
  if (n <= s->use || !w->joined) return;
  s->use = n;
  s->wanted = w;
  choose(s, now);
}

/* --- watching --- */

void ways_suspect(struct ways *s, struct way *w, uint64_t now) {
  if (w->suspect || !way_is_there(w)) return;
  if (now >= w->suspect_at + FORGIVEN_AFTER) w->n_suspected = 0;
  w->suspect = true;
  w->dead = false;
  w->suspect_at = w->probe_at = now;
  w->n_suspected++;
  s->ops->on_suspect(s->ud, w);
  choose(s, now);
}

static void recovered(struct way *w, uint64_t now) {
  uint64_t wait = GOOD_FIRST << (w->n_suspected < 7 ? w->n_suspected - 1 : 6);

  w->suspect = false;
  w->good_at = now + (wait < GOOD_MAX ? wait : GOOD_MAX);
}

static void probe(struct way *w, uint64_t every, uint64_t now) {
  if (now < w->probe_at) return;
  w->probe_at = now + every;
  path_probe(w->path, now);
}

static void watch(struct ways *s, struct way *w, uint64_t now) {
  uint64_t since;

  if (!way_is_there(w)) return;
  since = path_silent_since(w->path);
  if (w->suspect) {
    if (since > now && path_acked_at(w->path) > w->suspect_at)
      recovered(w, now);
    else
      probe(w, PROBE_SUSPECT_EVERY, now);
  } else if (now >= since) {
    probe(w, PROBE_EVERY, now);
    if (path_is_busy(w->path) || now >= since + SUSPECT_AFTER)
      ways_suspect(s, w, now);
  }
  if (!w->suspect || w->dead || now < w->suspect_at + DEAD_AFTER) return;
  w->dead = true;
  if (s->ops->on_dead) s->ops->on_dead(s->ud, w);
}

void ways_tick(struct ways *s, uint64_t now) {
  for (size_t i = 0; i < s->n; i++) watch(s, s->v[i], now);
  choose(s, now);
}

static uint64_t way_deadline(const struct way *w, uint64_t now) {
  uint64_t since, at;

  if (!way_is_there(w)) return NEVER;
  since = path_silent_since(w->path);
  if (w->suspect) {
    at = w->dead ? NEVER : w->suspect_at + DEAD_AFTER;
    return time_min(at, w->probe_at);
  }
  if (since != NEVER) return now >= since ? w->probe_at : since;
  return w->good_at > now ? w->good_at : NEVER;
}

uint64_t ways_deadline(const struct ways *s, uint64_t now) {
  uint64_t at = NEVER;

  for (size_t i = 0; i < s->n; i++)
    at = time_min(at, way_deadline(s->v[i], now));
  return at;
}

/* --- said --- */

static const struct way *to_talk(const struct ways *s) {
  const struct way *any = NULL;

  for (size_t i = 0; i < s->n; i++) {
    const struct way *w = s->v[i];

    if (!way_works(w)) continue;
    if (w->kind == WAY_RELAY && !w->leaving) return w;
    if (!any || w == s->chosen) any = w;
  }
  return any;
}

bool ways_say(struct ways *s, json_t *m) {
  const struct way *w = to_talk(s);

  if (w)
    path_say(w->path, m);
  else
    json_decref(m);
  return w;
}

uint64_t ways_rtt(const struct ways *s) {
  const struct way *w = to_talk(s);

  return w ? rtt_of(w) : 0;
}

/* --- asked --- */

json_t *way_status(const struct ways *s, const struct way *w) {
  json_t *j =
      json_pack("{s:s, s:b, s:b, s:b}", "kind",
                w->kind == WAY_DIRECT ? "direct" : "relay", "chosen",
                w == s->chosen, "joined", w->joined, "suspect", w->suspect);

  if (w->leaving) json_object_set_new(j, "leaving", json_true());
  path_status(w->path, j);
  return j;
}
