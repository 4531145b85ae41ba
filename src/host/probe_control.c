/* probe_control.c - one control connection to one address of a relay: how long
 * it takes, what is agreed upon, what /v1/self says, and how large packets may
 * be. It declares no instance, so it takes nothing from an agent that runs with
 * the same certificate. */
#include "host/probe_int.h"

#include <stdio.h>
#include <string.h>

#include "host/clock.h"

#define HANDSHAKE_WITHIN (2500 * MS)
/* Of path MTU discovery: two probes lost one after the other, on a short way.
 */
#define SIZE_WITHIN SEC

/* "[2001:db8::1]:4433" without port and brackets, as certificates name it. */
static void host_of(char *host, size_t room, const char *name) {
  const char *end = strrchr(name, ':');
  size_t n = end ? (size_t)(end - name) : strlen(name);
  if (n > 1 && name[0] == '[') name++, n -= 2;
  snprintf(host, room, "%.*s", (int)n, name);
}

/* --- what comes */

static const char *wrong_relay(const struct probe_path *p,
                               const struct identity *peer) {
  char host[256];
  host_of(host, sizeof(host), p->target->name);
  if (peer->role != ROLE_RELAY) return "is no relay's";
  if (strcmp(peer->trust_domain, tls_identity(p->probe->o->tls)->trust_domain))
    return "is of another trust domain";
  if (!identity_has_host(peer, host)) return "does not name this address";
  return NULL;
}

static void on_self(void *ud, struct h3_call *call, int status,
                    const char *body, size_t len) {
  struct probe_path *p = ud;
  struct probe_control *c = &p->control;
  c->told = true;
  probe_control_look(p);
  c->wall_ms = (int64_t)(clock_wall() / MS);
  c->self_rtt = c->info.srtt;
  if (status == 200) c->self = json_loadb(body, len, 0, NULL);
}

static int on_ready(struct h3 *s, void *ud, const struct identity *peer) {
  struct probe_path *p = ud;
  struct probe_control *c = &p->control;
  const char *wrong = wrong_relay(p, peer);
  c->reached = true;
  if (wrong) {
    snprintf(c->text, sizeof(c->text), "its certificate %s: %s", wrong,
             peer->spiffe);
    return REASON_IDENTITY_MISMATCH;
  }
  c->ready = true;
  c->ready_at = quic_now(p->probe->quic);
  c->relay_not_after = peer->not_after;
  snprintf(c->relay, sizeof(c->relay), "%s", peer->spiffe);
  snprintf(c->group, sizeof(c->group), "%s", quic_group(h3_conn(s)));
  snprintf(c->cipher, sizeof(c->cipher), "%s", quic_cipher(h3_conn(s)));
  snprintf(c->alpn, sizeof(c->alpn), "%s", h3_client_ops()->alpn);
  probe_control_look(p);
  if (!h3_call(s, "GET", "/v1/self", NULL, 0, on_self, NULL, p)) c->told = true;
  return 0;
}

static void on_end(struct h3 *s, void *ud, const struct quic_end *why) {
  struct probe_path *p = ud;
  struct probe_control *c = &p->control;
  if (s != c->session) return;
  c->session = NULL;
  c->told = true;
  c->why = why->reason;
  c->reached |= why->remote || why->reason != REASON_RELAY_UNREACHABLE;
  if (!c->text[0])
    snprintf(c->text, sizeof(c->text), "%s",
             why->text[0] ? why->text : reason_text(why->reason));
}

static const struct h3_ops ops = {.on_ready = on_ready, .on_end = on_end};

/* --- life */

void probe_control_dial(struct probe_path *p, uint64_t now) {
  struct probe_control *c = &p->control;
  struct quic_dial d = {.ops = h3_client_ops(), .params = h3_params(false)};
  char host[256];
  host_of(host, sizeof(host), p->target->name);
  c->session = h3_new(false, p->target->name, &ops, p);
  if (!c->session) return;
  d.remote = p->addr;
  d.server_name = host;
  d.ud = c->session;
  d.params.pmtud = true;
  d.params.handshake_timeout = HANDSHAKE_WITHIN;
  struct quic_conn *conn = quic_dial(p->probe->quic, &d, now);
  if (!conn) {
    h3_free(c->session);
    c->session = NULL;
    return;
  }
  h3_attach(c->session, conn);
  c->dialled = true;
  c->dialled_at = now;
}

void probe_control_look(struct probe_path *p) {
  struct probe_control *c = &p->control;
  if (c->session && c->ready) quic_info(h3_conn(c->session), &c->info);
}

static bool size_is_known(const struct probe_control *c, uint64_t now) {
  return c->info.udp_payload >= PROBE_SIZE_MAX ||
         now >= c->ready_at + SIZE_WITHIN;
}

bool probe_control_is_over(const struct probe_path *p, uint64_t now) {
  const struct probe_control *c = &p->control;
  if (!c->dialled || !c->session) return true;
  return c->ready && c->told && size_is_known(c, now);
}

uint64_t probe_control_deadline(const struct probe_path *p) {
  const struct probe_control *c = &p->control;
  return c->session && c->ready ? c->ready_at + SIZE_WITHIN : NEVER;
}

void probe_control_close(struct probe_path *p) {
  struct probe_control *c = &p->control;
  probe_control_look(p);
  if (c->session && h3_conn(c->session))
    quic_close(h3_conn(c->session), REASON_SHUTTING_DOWN, NULL);
}
