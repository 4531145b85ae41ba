/* relay_ports.c - see relay_ports.h. */
#include "relay_ports.h"

#include <ztna/err.h>

#include "base/log.h"

static bool covers(const struct ztna_addr *bound, const struct ztna_addr *ip) {
  return bound->family == ip->family &&
         (ztna_addr_is_unspecified(bound) || ztna_addr_same_ip(bound, ip));
}

static void pair(struct relay_ports *p, const struct ztna_addr *main,
                 const struct ztna_addr *second) {
  p->pairs[p->n_pairs++] = (struct relay_stun_pair){*main, *second};
}

/* 0, so that the kernel chooses it, where that chose the main one, too. */
static uint16_t next_port(const struct relay_config *c,
                          const struct ztna_addr *main) {
  for (size_t i = 0; i < c->n_listen; i++)
    if (ztna_addr_equal(&c->listen[i], main)) return (uint16_t)(main->port + 1);
  return 0;
}

static void bind_default(struct relay_ports *p, const struct relay_config *c,
                         struct udp *u) {
  char text[ZTNA_ADDR_STRLEN];
  for (int i = 0; i < p->n_main; i++) {
    struct ztna_addr main = udp_local(u, i), second = main;
    second.port = next_port(c, &main);
    int n = udp_bind_optional(u, &second);
    if (n < 0) {
      log_warn("relay: no second STUN port beside %s: agents cannot tell what "
               "their NATs do; set relay.stun to an address that is free",
               ztna_addr_print(&main, text));
      continue;
    }
    second = udp_local(u, n);
    pair(p, &main, &second);
  }
}

static bool bind_configured(struct relay_ports *p, const struct relay_config *c,
                            struct udp *u) {
  char text[ZTNA_ADDR_STRLEN];
  for (size_t i = 0; i < c->n_stun; i++) {
    int n = udp_bind(u, &c->stun[i]);
    size_t before = p->n_pairs;
    if (n < 0) return false;
    struct ztna_addr second = udp_local(u, n);
    for (int k = 0; k < p->n_main; k++) {
      struct ztna_addr main = udp_local(u, k);
      if (covers(&main, &second) || covers(&second, &main))
        pair(p, &main, &second);
    }
    if (p->n_pairs > before) continue;
    log_err("relay: stun: %s shares no address with any of listen",
            ztna_addr_print(&second, text));
    return false;
  }
  return true;
}

static bool is_paired(const struct relay_stun_pair *p,
                      const struct ztna_addr *ip) {
  return covers(&p->main, ip) && covers(&p->second, ip);
}

/* Both have the same two ports. */
static bool are_alike(const struct relay_ports *p, const struct ztna_addr *a,
                      const struct ztna_addr *b) {
  for (size_t i = 0; i < p->n_pairs; i++)
    for (size_t k = 0; k < p->n_pairs; k++)
      if (is_paired(&p->pairs[i], a) && is_paired(&p->pairs[k], b) &&
          p->pairs[i].main.port == p->pairs[k].main.port &&
          p->pairs[i].second.port == p->pairs[k].second.port)
        return true;
  return false;
}

/* Wildcard sockets tell nothing of what the machine has. */
static bool is_ours(const struct ztna_addr *ip) {
  struct udp *u = udp_new();
  bool ours = u && udp_bind(u, ip) >= 0;
  udp_free(u);
  return ours;
}

static bool check_ips(const struct relay_ports *p,
                      const struct relay_config *c) {
  char one[ZTNA_ADDR_STRLEN], two[ZTNA_ADDR_STRLEN];
  for (size_t i = 0; i < c->n_stun_ips; i++) {
    const struct ztna_addr *a = &c->stun_ips[i];
    if (!is_ours(a)) {
      log_err("relay: stun_ips: want addresses of this machine, got %s",
              ztna_addr_print_ip(a, one));
      return false;
    }
    for (size_t k = 0; k < i; k++) {
      const struct ztna_addr *b = &c->stun_ips[k];
      if (a->family != b->family || are_alike(p, a, b)) continue;
      log_err("relay: stun_ips: listen and stun must have both %s and %s, with "
              "the same two ports",
              ztna_addr_print_ip(b, one), ztna_addr_print_ip(a, two));
      return false;
    }
  }
  return true;
}

bool relay_ports_bind(struct relay_ports *p, const struct relay_config *c,
                      struct udp *u) {
  *p = (struct relay_ports){.n_main = udp_count(u)};
  if (!c->n_stun)
    bind_default(p, c, u);
  else if (!bind_configured(p, c, u))
    return false;
  return check_ips(p, c);
}
