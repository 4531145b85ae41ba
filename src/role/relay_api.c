/* relay_api.c - which request goes where, and who may make it. */
#include "role/relay_int.h"

#include <stdlib.h>

#define ZTNA_VERSION "0.1.0"

enum {
  OF_AGENT = 1 << ROLE_AGENT,
  OF_CONNECTOR = 1 << ROLE_CONNECTOR,
  OF_ADMIN = 1 << ROLE_ADMIN,
  OF_BOTH = OF_AGENT | OF_CONNECTOR,
  OF_ANY = OF_BOTH | OF_ADMIN,
};

/* --- small ones */

static json_t *limits(void) {
  return json_pack("{s:i, s:i}", "grants", RELAY_GRANTS, "services",
                   RELAY_OFFERS);
}

static json_t *relays(const struct relay *r) {
  json_t *list = json_array();
  for (char **s = r->relays; *s; s++)
    json_array_append_new(list, json_string(*s));
  return list;
}

json_t *relay_api_self(struct session *s) {
  struct relay *r = s->relay;
  const struct identity *peer = relay_session_peer(s);
  char handle[RELAY_HEX_HANDLE];
  json_t *o = json_pack(
      "{s:s, s:I, s:o, s:s, s:s, s:[s, s, s, s], s:o, s:I, s:o, s:s}",
      "identity", peer->spiffe, "not_after", (json_int_t)peer->not_after,
      "observed", relay_json_addr(&s->remote), "relay",
      tls_identity(r->o.tls)->spiffe, "version", ZTNA_VERSION, "features",
      "resume", "health", "renew", "instead", "limits", limits(), "time",
      (json_int_t)relay_unix(r), "relays", relays(r), "connection",
      hex_print(quic_handle(h3_conn(s->h3)), HANDLE_LEN, handle));
  if (o && s->role == ROLE_AGENT)
    json_object_set_new(o, "addresses",
                        relay_json_ips(s->party->addrs, s->party->n_addrs));
  return o;
}

static void get_self(struct session *s, struct h3_req *req, const uint8_t *id) {
  relay_json_respond(req, 200, relay_api_self(s));
}

/* A list of services is made for each who asks. */
static bool may_list(struct session *s, struct h3_req *req) {
  if (relay_limit_list(s)) return true;
  relay_api_refuse(s, req, REASON_RATE_LIMITED, "lists of many services");
  return false;
}

/* In place of another connection, whose events end. */
static void get_events(struct session *s, struct h3_req *req,
                       const uint8_t *id) {
  static const char instead[] = "?instead=";
  const char *query = strchr(h3_path(req), '?');
  uint8_t handle[HANDLE_LEN];
  enum reason why;
  if (!query || strncmp(query, instead, sizeof(instead) - 1)) {
    if (may_list(s, req)) relay_events_begin(s, req);
    return;
  }
  if (!may_list(s, req)) return;
  why = hex_parse(handle, HANDLE_LEN, query + sizeof(instead) - 1)
            ? relay_party_hand_over(s, req, handle)
            : REASON_MALFORMED;
  if (why != REASON_NONE)
    relay_api_refuse(s, req, why, "no such connection to take over from");
}

static void get_services(struct session *s, struct h3_req *req,
                         const uint8_t *id) {
  if (!may_list(s, req)) return;
  json_t *list = relay_registry_list(s->relay, s->party);
  relay_json_respond(req, 200, json_pack("{s:o}", "services", list));
}

/* --- the table */

/* `*` in a path is an id of 32 hex digits. */
static const struct endpoint {
  const char *method, *path;
  unsigned callers;
  void (*serve)(struct session *s, struct h3_req *req, const uint8_t *id);
} endpoints[] = {
    {"GET", "/v1/self", OF_ANY, get_self},
    {"GET", "/v1/events", OF_BOTH, get_events},
    {"GET", "/v1/services", OF_AGENT, get_services},
    {"PUT", "/v1/connector", OF_CONNECTOR, relay_registry_put},
    {"PUT", "/v1/connector/health", OF_CONNECTOR, relay_registry_health},
    {"POST", "/v1/grants", OF_AGENT, relay_grant_post},
    {"DELETE", "/v1/grants/*", OF_BOTH, relay_grant_delete},
    {"DELETE", "/v1/routes/*", OF_BOTH, relay_meeting_delete},
    {"POST", "/v1/routes/*/answer", OF_CONNECTOR, relay_ask_answer},
};

static const char admin_path[] = "/v1/admin/";

void relay_api_refuse(struct session *s, struct h3_req *req, enum reason why,
                      const char *detail) {
  struct relay *r = s->relay;
  r->n.refused_requests[why]++;
  /* What ended meanwhile is often asked for, and nobody's mistake. */
  if (why != REASON_ROUTE_UNKNOWN && relay_may_log(r, &r->requests_log))
    log_warn("relay: request refused identity=%s reason=%s detail=%s "
             "request=\"%s %s\"",
             relay_session_peer(s)->spiffe, reason_name(why),
             detail ? detail : reason_text(why), h3_method(req), h3_path(req));
  h3_problem(req, why, detail);
}

/* The id where the pattern has a star. An unreadable one matches too: what no
 * id is names nothing, like an unknown one. */
static bool path_matches(const char *pattern, const char *path,
                         uint8_t id[RELAY_ID_LEN]) {
  const char *star = strchr(pattern, '*');
  if (!star) return !strcmp(pattern, path);
  size_t head = (size_t)(star - pattern);
  if (strncmp(pattern, path, head)) return false;
  size_t n = strcspn(path + head, "/");
  if (strcmp(star + 1, path + head + n)) return false;
  char hex[RELAY_HEX_ID] = "";
  if (n == RELAY_HEX_ID - 1) memcpy(hex, path + head, n + 1), hex[n] = 0;
  if (!hex_parse(id, RELAY_ID_LEN, hex)) memset(id, 0, RELAY_ID_LEN);
  return true;
}

/* NULL: *path_known says whether another method would do. */
static const struct endpoint *endpoint_find(const char *method,
                                            const char *path,
                                            uint8_t id[RELAY_ID_LEN],
                                            bool *path_known) {
  *path_known = false;
  for (size_t i = 0; i < sizeof(endpoints) / sizeof(*endpoints); i++) {
    const struct endpoint *e = &endpoints[i];
    if (!path_matches(e->path, path, id)) continue;
    *path_known = true;
    if (!strcmp(e->method, method)) return e;
  }
  return NULL;
}

static void serve_admin(struct session *s, struct h3_req *req,
                        const char *path) {
  if (s->role != ROLE_ADMIN)
    relay_api_refuse(s, req, REASON_IDENTITY_MISMATCH, "for admins");
  else if (strcmp(h3_method(req), "GET"))
    relay_api_refuse(s, req, REASON_MALFORMED, "want GET");
  else
    relay_admin_get(s, req, path + sizeof(admin_path) - 1);
}

static void serve(struct session *s, struct h3_req *req, const char *path) {
  uint8_t id[RELAY_ID_LEN] = {0};
  bool known;
  const struct endpoint *e = endpoint_find(h3_method(req), path, id, &known);
  if (!e && known)
    relay_api_refuse(s, req, REASON_MALFORMED, "no such method here");
  else if (!e)
    relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN, "no such resource");
  else if (!(e->callers & 1u << s->role))
    relay_api_refuse(s, req, REASON_IDENTITY_MISMATCH,
                     "not for the role in this certificate");
  else
    e->serve(s, req, id);
}

/* What agents ask for a connector must answer: they would use up what it may
 * ask. An answer that nobody waits for is counted where that is found out. */
static bool is_answer(const struct session *s, const char *method,
                      const char *path) {
  uint8_t id[RELAY_ID_LEN];
  return s->role == ROLE_CONNECTOR && !strcmp(method, "POST") &&
         path_matches("/v1/routes/*/answer", path, id);
}

void relay_api_request(struct session *s, struct h3_req *req) {
  char path[128];
  size_t n = strcspn(h3_path(req), "?"), body;

  s->relay->n.n_requests++;
  if (s->closing || !s->admitted) {
    h3_problem(req, REASON_DRAINING, NULL);
    return;
  }
  h3_body(req, &body);
  if (!is_answer(s, h3_method(req), h3_path(req)) &&
      !relay_limit_request(s, body)) {
    relay_api_refuse(s, req, REASON_RATE_LIMITED, "50 requests per second");
    return;
  }
  if (n >= sizeof(path)) {
    relay_api_refuse(s, req, REASON_ROUTE_UNKNOWN, "no such resource");
    return;
  }
  memcpy(path, h3_path(req), n);
  path[n] = 0;
  if (!strncmp(path, admin_path, sizeof(admin_path) - 1))
    serve_admin(s, req, path);
  else
    serve(s, req, path);
}
