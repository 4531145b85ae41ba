/* agent_link_status.c - what a person reads of links and their paths. */
#include "role/agent_int.h"

#include <stdlib.h>

static json_t *path_json(const struct link *l, const struct agent_way *w) {
  json_t *j = way_status(&l->ways, &w->way);
  char text[ZTNA_ADDR_STRLEN];

  if (w->way.kind == WAY_RELAY) {
    json_object_set_new(j, "relay",
                        json_string(uplink_name(l->owner->uplinks[w->relay])));
    json_object_set_new(j, "route", json_string(w->route));
    json_object_set_new(j, "renewed_in_s", json_integer(agent_renew_in(w)));
  } else {
    json_object_set_new(j, "remote",
                        json_string(ztna_addr_print(&w->remote, text)));
  }
  return j;
}

static json_t *link_json(struct link *l) {
  json_t *paths = json_array(), *used = json_object(), *j;
  const char *route = "";
  struct agent_way *w;

  for (size_t i = 0; (w = agent_way_at(l, i)); i++) {
    if (!w->way.path) continue;
    if (!*route && !w->way.leaving) route = w->route;
    if (w->way.kind == WAY_RELAY || path_is_live(w->way.path))
      json_array_append_new(paths, path_json(l, w));
  }
  path_status(l->path, used);
  j = json_pack("{s:s, s:s, s:s, s:o, s:o, s:I, s:I}", "connector",
                l->connector, "link", l->id, "route", route, "path", used,
                "paths", paths, "moves", (json_int_t)l->ways.n_moves,
                "failovers", (json_int_t)l->ways.n_failovers);
  if (l->search) json_object_set_new(j, "direct", direct_status(l->search));
  return j;
}

void agent_links_status(const struct ztna_agent *a, json_t *into) {
  for (int i = 0; i < LINKS_MAX; i++)
    if (a->links[i]) json_array_append_new(into, link_json(a->links[i]));
}
