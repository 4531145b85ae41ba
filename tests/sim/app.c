/* app.c - see app.h. */
#include "sim/app.h"

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "codec/ip.h"
#include "sim/world.h"

static const char magic[4] = "ask!";

/* A question's bytes follow from who asks and its number. */
static void question(const struct app *a, uint32_t n, uint8_t *to, size_t len) {
  uint64_t key[2] = {(uint64_t)a->agent, n};

  memcpy(to, magic, 4);
  to[4] = (uint8_t)a->agent;
  to[5] = to[6] = to[7] = 0;
  memcpy(to + 8, &n, 4);
  memset(to + 12, 0, 4);
  for (size_t i = APP_HEAD; i < len; i++)
    to[i] = i % 8 ? (uint8_t)(to[i - 1] * 5 + 1)
                  : (uint8_t)siphash(key, &i, sizeof(i));
}

static bool own_address(struct app *a, bool v6, struct ztna_addr *to) {
  struct ztna_agent *core = a->w->agents[a->agent].core;
  struct ztna_addr v[2];
  int n = core ? ztna_agent_addresses(core, v) : 0;

  for (int i = 0; i < n; i++)
    if (v[i].family == (v6 ? 6 : 4)) {
      *to = v[i];
      return true;
    }
  return false;
}

static bool ask(struct app *a, const char *service, bool v6, size_t len,
                bool ping) {
  struct sim_agent *g = &a->w->agents[a->agent];
  struct ztna_addr from, to = sim_service_addr(service, v6);
  uint8_t data[2048], pkt[2048 + 64];
  struct app_ask *q = &a->asks[a->n_asks % APP_ASKS];
  struct ztna_ip ip;
  int n;

  if (!own_address(a, v6, &from)) return false;
  *q = (struct app_ask){
      .sent_at = a->w->now, .to = to, .len = (uint16_t)len, .ping = ping};
  question(a, a->n_asks, data, len);
  from.port = APP_PORT;
  to.port = SIM_PORT;
  if (ping)
    n = ip_build_echo(pkt, sizeof(pkt), &from, &to, false, APP_ECHO_ID,
                      (uint16_t)a->n_asks, data, len);
  else
    n = ip_build_udp(pkt, sizeof(pkt), &from, &to, 0, data, len);
  a->n_asks++;
  ip = (struct ztna_ip){.data = pkt, .len = (size_t)n};
  ztna_agent_ip_in(g->core, a->w->now, &ip);
  g->node.drain(&g->node);
  return true;
}

bool app_udp(struct app *a, const char *service, bool v6, size_t len) {
  return ask(a, service, v6, len, false);
}

bool app_ping(struct app *a, const char *service, bool v6, size_t len) {
  return ask(a, service, v6, len, true);
}

static void on_turn(void *ud, uint64_t turn) {
  struct app *a = ud;

  if (turn != a->turn || !a->every) return;
  ask(a, a->service, a->v6, 64, a->n_asks % 2);
  vnet_at(a->w->net, a->w->now + a->every, on_turn, a, turn);
}

void app_steady(struct app *a, const char *service, bool v6, uint64_t every) {
  snprintf(a->service, sizeof(a->service), "%s", service);
  a->v6 = v6;
  a->every = every;
  a->turn++;
  if (every) vnet_at(a->w->net, a->w->now, on_turn, a, a->turn);
}

/* --- what comes --- */

static bool is_mine(struct app *a, const struct ip_pkt *p) {
  struct ztna_addr own;

  if (!own_address(a, p->version == 6, &own) ||
      !ztna_addr_same_ip(&own, &p->dst))
    return false;
  if (p->payload_len < APP_HEAD || memcmp(p->payload, magic, 4)) return false;
  return p->payload[4] == a->agent &&
         p->dst.port == (p->kind == IP_UDP ? APP_PORT : APP_ECHO_ID);
}

static void answer(struct app *a, const struct ip_pkt *p) {
  uint8_t data[2048];
  struct app_ask *q;
  uint32_t n;

  if (!is_mine(a, p)) {
    a->n_foreign++;
    return;
  }
  memcpy(&n, p->payload + 8, 4);
  q = &a->asks[n % APP_ASKS];
  question(a, n, data, q->len);
  if (n >= a->n_asks || p->payload_len != q->len ||
      memcmp(data, p->payload, q->len) || !ztna_addr_same_ip(&q->to, &p->src) ||
      q->ping != (p->kind == IP_ECHO_REPLY) ||
      (p->kind == IP_UDP && p->src.port != SIM_PORT)) {
    a->n_foreign++;
    return;
  }
  if (q->got_at) {
    a->n_dup++;
    return;
  }
  q->got_at = a->w->now;
  a->n_got++;
  a->last_rtt = q->got_at - q->sent_at;
  if (a->last_rtt > a->slowest) a->slowest = a->last_rtt;
  if (q->sent_at > a->newest) a->newest = q->sent_at;
}

void app_in(struct app *a, const uint8_t *ip, size_t len) {
  struct ip_pkt p;

  if (a->hook && a->hook(a->hook_ud, ip, len)) return;
  if (ip_parse(&p, ip, len) < 0) {
    a->n_strange++;
  } else if (p.kind == IP_UDP || p.kind == IP_ECHO_REPLY) {
    answer(a, &p);
  } else if (p.kind == IP_ICMP_ERROR) {
    a->n_errors++;
    a->error_type = p.icmp_type;
    a->error_code = p.icmp_code;
  } else {
    a->n_strange++;
  }
}

bool app_back_since(const struct app *a, uint64_t since) {
  return a->newest >= since && a->n_got;
}

bool app_is_clean(const struct app *a) {
  return !a->n_dup && !a->n_foreign && !a->n_strange;
}
