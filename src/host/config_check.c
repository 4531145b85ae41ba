#include "host/config_check.h"

#include <stdlib.h>
#include <string.h>

#include "host/file.h"
#include "host/value.h"
#include "part/token.h"

/* --- addresses */

/* Never an agent's or a service's: the route would hurt this machine. */
static const char *prefix_trouble(const struct ztna_prefix *p) {
  static const struct {
    const char *prefix, *what;
  } bad[] = {
      {"127.0.0.0/8", "loopback"},      {"::1/128", "loopback"},
      {"169.254.0.0/16", "link-local"}, {"fe80::/10", "link-local"},
      {"224.0.0.0/4", "multicast"},     {"ff00::/8", "multicast"},
  };
  if (p->bits == 0) return "a default route";
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    struct ztna_prefix b;
    if (ztna_prefix_parse(&b, bad[i].prefix) == 0 &&
        ztna_prefix_overlaps(p, &b))
      return bad[i].what;
  }
  return NULL;
}

static struct ztna_prefix host_prefix(const struct ztna_addr *a) {
  return (struct ztna_prefix){.addr = *a, .bits = a->family == 4 ? 32 : 128};
}

static void check_prefixes(struct field_load *l, struct ztna_prefix *v,
                           size_t n) {
  char text[ZTNA_ADDR_STRLEN];
  for (size_t i = 0; i < n; i++) {
    if (!v[i].addr.family) continue;
    const char *what = prefix_trouble(&v[i]);
    if (what)
      FIELD_WRONG(l, v[i], "want a network of unicast addresses, got %s: %s",
                  ztna_prefix_print(&v[i], text), what);
  }
}

static void check_pool(struct field_load *l, struct ztna_prefix *v, size_t n) {
  check_prefixes(l, v, n);
  for (size_t i = 0; i < n; i++) {
    unsigned width = v[i].addr.family == 4 ? 32 : 128;
    if (!v[i].addr.family) continue;
    if (v[i].bits > width - 3)
      FIELD_WRONG(l, v[i], "want room for addresses, /%u at most, got /%u",
                  width - 3, v[i].bits);
    if (i > 0 && v[0].addr.family == v[i].addr.family)
      FIELD_WRONG(l, v[i], "want one prefix of each family, got two of IPv%u",
                  v[i].addr.family);
  }
}

static void check_pools_apart(struct field_load *l, struct relay_config *c) {
  char text[ZTNA_ADDR_STRLEN];
  for (size_t i = 0; i < c->n_agent_pool; i++)
    for (size_t k = 0; k < c->n_service_pool; k++) {
      struct ztna_prefix *a = &c->agent_pool[i], *s = &c->service_pool[k];
      if (!a->addr.family || !s->addr.family || !ztna_prefix_overlaps(a, s))
        continue;
      FIELD_WRONG(l, *a, "want a network apart from service_pool, which has %s",
                  ztna_prefix_print(s, text));
    }
}

/* --- relay */

static const struct relay_service *other_owner(const struct relay_config *c,
                                               size_t upto,
                                               const struct ztna_addr *a) {
  for (size_t i = 0; i <= upto; i++)
    for (size_t k = 0; k < c->services[i].n_virtual_ips; k++) {
      const struct ztna_addr *b = &c->services[i].virtual_ips[k];
      if (a == b) return NULL;
      if (ztna_addr_same_ip(a, b)) return &c->services[i];
    }
  return NULL;
}

static void check_virtual_ip(struct field_load *l, struct relay_config *c,
                             size_t nr, struct ztna_addr *a) {
  char text[ZTNA_ADDR_STRLEN];
  struct ztna_prefix p = host_prefix(a);
  const char *what = prefix_trouble(&p);
  if (!a->family) return;
  if (what || ztna_addr_is_unspecified(a))
    FIELD_WRONG(l, *a, "want a unicast address, got %s",
                what ? what : "no address");
  const struct relay_service *owner = other_owner(c, nr, a);
  if (owner)
    FIELD_WRONG(l, *a, "want an address of its own, got %s of \"%s\"",
                ztna_addr_print_ip(a, text), owner->id ? owner->id : "");
  for (size_t i = 0; i < c->n_agent_pool; i++)
    if (c->agent_pool[i].addr.family && ztna_prefix_has(&c->agent_pool[i], a))
      FIELD_WRONG(l, *a, "want an address outside agent_pool, got %s",
                  ztna_addr_print_ip(a, text));
}

static void check_virtual_ips(struct field_load *l, struct relay_config *c,
                              size_t nr) {
  struct relay_service *s = &c->services[nr];
  for (size_t i = 0; i < s->n_virtual_ips; i++)
    check_virtual_ip(l, c, nr, &s->virtual_ips[i]);
  if (s->n_virtual_ips == 2 && s->virtual_ips[0].family &&
      s->virtual_ips[0].family == s->virtual_ips[1].family)
    FIELD_WRONG(l, s->virtual_ips[1],
                "want one address of each family, got two of IPv%u",
                s->virtual_ips[1].family);
}

static void check_stun(struct field_load *l, struct relay_config *c) {
  char text[ZTNA_ADDR_STRLEN];
  for (size_t i = 0; i < c->n_stun; i++)
    for (size_t k = 0; k < c->n_listen; k++)
      if (c->stun[i].family && c->stun[i].port &&
          ztna_addr_equal(&c->stun[i], &c->listen[k]))
        FIELD_WRONG(l, c->stun[i], "want another port than listen has, got %s",
                    ztna_addr_print(&c->stun[i], text));
}

/* Mistakes in the text were reported already: family 0. */
static void check_stun_ips(struct field_load *l, struct relay_config *c) {
  char text[ZTNA_ADDR_STRLEN];
  size_t n_of[2] = {0};
  for (size_t i = 0; i < c->n_stun_ips; i++) {
    struct ztna_addr *a = &c->stun_ips[i];
    if (!a->family) return;
    n_of[a->family == 6]++;
    if (ztna_addr_is_unspecified(a) || ztna_addr_is_multicast(a))
      FIELD_WRONG(l, *a, "want an address of this machine, got %s",
                  ztna_addr_print_ip(a, text));
    for (size_t k = 0; k < i; k++)
      if (ztna_addr_same_ip(a, &c->stun_ips[k]))
        FIELD_WRONG(l, *a, "want different addresses, got %s twice",
                    ztna_addr_print_ip(a, text));
  }
  for (int i = 0; i < 2; i++)
    if (n_of[i] % 2)
      FIELD_WRONG(l, c->stun_ips, "want two addresses of IPv%d, got %zu",
                  i ? 6 : 4, n_of[i]);
}

void config_check_relay(struct field_load *l, struct relay_config *c) {
  check_stun(l, c);
  check_stun_ips(l, c);
  check_pool(l, c->service_pool, c->n_service_pool);
  check_pool(l, c->agent_pool, c->n_agent_pool);
  check_pools_apart(l, c);
  for (size_t i = 0; i < c->n_services; i++) check_virtual_ips(l, c, i);
}

/* --- connector */

/* Members may be zero because they are wrong and were reported. */
static void check_backend(struct field_load *l, struct backend_config *b) {
  char quoted[VALUE_STRLEN];
  if (!b->to || !b->protocol) return;
  if (b->proxy_protocol && b->protocol != PROTO_TCP)
    FIELD_WRONG(l, b->proxy_protocol, "want it with protocol tcp only");
  if (b->protocol == PROTO_ICMP) {
    if (!value_is_host(b->to))
      FIELD_WRONG(l, b->to, "want a host without port for icmp, got %s",
                  value_quote(b->to, quoted));
    if (b->port)
      FIELD_WRONG(l, b->port, "want no port for icmp, got %u", b->port);
  } else if (!value_is_hostport(b->to)) {
    FIELD_WRONG(l, b->to, "want host:port, got %s", value_quote(b->to, quoted));
  } else if (!field_place_of(l, &b->port, sizeof(b->port))) {
    b->port = (uint16_t)atoi(strrchr(b->to, ':') + 1);
  }
}

static void check_backends(struct field_load *l, struct service_config *s) {
  for (size_t i = 0; i < s->n_backends; i++) {
    struct backend_config *b = &s->backends[i];
    check_backend(l, b);
    for (size_t k = 0; k < i && b->protocol; k++)
      if (s->backends[k].protocol == b->protocol &&
          s->backends[k].port == b->port)
        FIELD_WRONG(l, *b,
                    "want each protocol and port once, "
                    "got the same as backends[%zu]",
                    k);
  }
}

/* {"backend": "127.0.0.1:9999", "protocol": "udp"} */
static void expand_backend(struct field_load *l, struct service_config *s) {
  char quoted[VALUE_STRLEN];
  bool icmp = s->protocol == PROTO_ICMP;
  if (!field_place_of(l, &s->protocol, sizeof(s->protocol)))
    FIELD_WRONG(l, s->backend,
                "needs \"protocol\" beside it: udp, tcp or icmp");
  if (!s->backend || !s->protocol) return;
  if (icmp ? !value_is_host(s->backend) : !value_is_hostport(s->backend)) {
    FIELD_WRONG(l, s->backend, "want %s, got %s",
                icmp ? "a host without port for icmp" : "host:port",
                value_quote(s->backend, quoted));
    return;
  }
  s->backends = calloc(1, sizeof(*s->backends));
  if (s->backends) s->backends->to = strdup(s->backend);
  l->no_memory |= !s->backends || !s->backends->to;
  if (!s->backends) return;
  s->n_backends = 1;
  s->backends->protocol = s->protocol;
  s->backends->proxy_protocol = s->proxy_protocol;
  if (s->proxy_protocol && s->protocol != PROTO_TCP)
    FIELD_WRONG(l, s->proxy_protocol, "want it with protocol tcp only");
  if (!icmp) s->backends->port = (uint16_t)atoi(strrchr(s->backend, ':') + 1);
}

static void check_forms(struct field_load *l, struct service_config *s) {
  bool brief = field_place_of(l, &s->backend, sizeof(s->backend));
  bool full = field_place_of(l, &s->backends, sizeof(s->backends));
  if (brief && full)
    FIELD_WRONG(l, s->backend, "want either \"backend\" or \"backends\"");
  else if (brief)
    expand_backend(l, s);
  else if (full && field_place_of(l, &s->protocol, sizeof(s->protocol)))
    FIELD_WRONG(l, s->protocol, "belongs into each of \"backends\"");
  else if (full &&
           field_place_of(l, &s->proxy_protocol, sizeof(s->proxy_protocol)))
    FIELD_WRONG(l, s->proxy_protocol, "belongs into each of \"backends\"");
  else if (!full)
    FIELD_WRONG(l, *s,
                "needs \"backends\": [{\"protocol\": ..., \"port\": ..., "
                "\"to\": ...}], or \"backend\" and \"protocol\"");
}

/* Backends whose protocol is wrong were reported already. */
static void check_check_backend(struct field_load *l,
                                struct service_config *s) {
  const char *name = s->check.type == CHECK_UDP ? "udp" : "tcp";
  if (!s->n_backends || config_checked_backend(s)) return;
  for (size_t i = 0; i < s->n_backends; i++)
    if (!s->backends[i].protocol) return;
  if (s->check.port)
    FIELD_WRONG(l, s->check.port,
                "want the port of a backend of protocol %s, got %u", name,
                s->check.port);
  else
    FIELD_WRONG(l, s->check.type, "want a backend of protocol %s to check",
                name);
}

static void check_check(struct field_load *l, struct service_config *s) {
  struct check_config *c = &s->check;
  if (c->type == CHECK_NONE) return;
  check_check_backend(l, s);
  if (c->type == CHECK_HTTP && (c->status.first < 100 || c->status.last > 999 ||
                                c->status.first > c->status.last))
    FIELD_WRONG(l, c->status, "want HTTP statuses like \"200-399\"");
  if (c->type == CHECK_UDP && config_checked_backend(s) &&
      (c->send ? !*c->send : !field_place_of(l, &c->send, sizeof(c->send))))
    FIELD_WRONG(l, c->type,
                "needs \"send\": a datagram that the service answers");
}

const struct backend_config *
config_checked_backend(const struct service_config *s) {
  unsigned protocol = s->check.type == CHECK_UDP ? PROTO_UDP : PROTO_TCP;
  for (size_t i = 0; s->check.type != CHECK_NONE && i < s->n_backends; i++)
    if (s->backends[i].protocol == protocol &&
        (!s->check.port || s->backends[i].port == s->check.port))
      return &s->backends[i];
  return NULL;
}

static void check_id(struct field_load *l, struct connector_config *c,
                     size_t nr) {
  struct service_config *s = &c->services[nr];
  for (size_t i = 0; i < nr; i++) {
    struct service_config *o = &c->services[i];
    if (!s->id || !o->id || strcmp(s->id, o->id) != 0) continue;
    const struct field_place *p = field_place_of(l, &o->id, sizeof(o->id));
    FIELD_WRONG(l, s->id, "want an id of its own, got \"%s\" as in line %u",
                s->id, p ? p->line : 0);
    return;
  }
}

void config_check_connector(struct field_load *l, struct connector_config *c) {
  for (size_t i = 0; i < c->n_services; i++) {
    struct service_config *s = &c->services[i];
    if (!field_place_of(l, s, sizeof(*s))) continue; /* is no object */
    check_id(l, c, i);
    check_backends(l, s);
    check_forms(l, s);
    check_check(l, s);
  }
}

/* Ports on this machine take the place of a device, unless that was asked for
 * as closely: a flag for them outweighs a file's device. */
static void choose_tun(struct field_load *l, struct agent_config *c) {
  const struct field_place *tun = field_place_of(l, &c->tun, sizeof(c->tun)),
                           *ports = NULL;
  if (c->n_forward) ports = field_place_of(l, &c->forward, sizeof(c->forward));
  if (c->socks5.family && (!ports || ports->line))
    ports = field_place_of(l, &c->socks5, sizeof(c->socks5));
  if (!ports || (tun && (!tun->line || ports->line))) return;
  free(c->tun);
  c->tun = NULL;
}

void config_check_agent_role(struct field_load *l, struct agent_config *c) {
  check_prefixes(l, c->networks, c->n_networks);
  choose_tun(l, c);
}

/* --- enrolment service */

void config_check_enroll(struct field_load *l, struct enroll_config *c) {
  char quoted[VALUE_STRLEN];
  if (c->server && !token_server_is_fine(c->server))
    FIELD_WRONG(l, c->server,
                "want host:port of a host name or an address, got %s",
                value_quote(c->server, quoted));
  if (c->lifetime > c->max_lifetime && c->max_lifetime)
    FIELD_WRONG(l, c->lifetime, "want no more than max_lifetime");
}

/* --- files */

static void read_pem(struct field_load *l, char **name, size_t max,
                     char **bytes, size_t *len) {
  char why[FILE_WHY];
  int rc = file_read(*name, max, bytes, len, why);
  if (rc < 0)
    FIELD_WRONG(l, *name, "want a readable file, got \"%s\": %s", *name, why);
  else if (!strstr(*bytes, "-----BEGIN "))
    FIELD_WRONG(l, *name,
                "want a PEM file (-----BEGIN ...), got \"%s\" without any",
                *name);
}

enum { DER_SEQUENCE = 0x30 };

void config_read_crl(struct field_load *l, struct identity_config *c) {
  char why[FILE_WHY];
  if (!c->crl) return;
  int rc = file_read(c->crl, IDENTITY_CRL_MAX, &c->crl_bytes, &c->crl_len, why);
  if (rc < 0)
    FIELD_WRONG(l, c->crl, "want a readable file, got \"%s\": %s", c->crl, why);
  else if (*c->crl_bytes != DER_SEQUENCE &&
           !strstr(c->crl_bytes, "-----BEGIN "))
    FIELD_WRONG(l, c->crl,
                "want a list of revoked certificates (PEM or DER), got \"%s\" "
                "without any",
                c->crl);
}

/* The bytes of a key that others can read are not even loaded. */
static bool key_is_private(struct field_load *l, struct identity_config *c) {
  int mode = file_mode(c->key);
  if (mode < 0 || !(mode & 077)) return true;
  FIELD_WRONG(l, c->key,
              "want a key that only its owner can read, got \"%s\" with mode "
              "%04o; run: chmod 600 %s",
              c->key, (unsigned)mode, c->key);
  return false;
}

void config_read_identity(struct field_load *l, struct identity_config *c) {
  struct {
    char **name, **bytes;
    size_t *len, max;
    const char *key;
  } files[] = {
      {&c->cert, &c->cert_pem, &c->cert_len, IDENTITY_CERT_MAX, "cert"},
      {&c->key, &c->key_pem, &c->key_len, IDENTITY_KEY_MAX, "key"},
      {&c->ca, &c->ca_pem, &c->ca_len, IDENTITY_CERT_MAX, "ca"}};
  for (size_t i = 0; i < 3; i++) {
    if (!field_place_of(l, files[i].name, sizeof(*files[i].name)))
      field_wrong(l, files[i].name, 0,
                  "needs \"identity\": {\"%s\": FILE}, or --identity-%s FILE; "
                  "`ztna cert` makes one",
                  files[i].key, files[i].key);
    if (!*files[i].name) continue;
    if (files[i].name == &c->key && !key_is_private(l, c)) continue;
    read_pem(l, files[i].name, files[i].max, files[i].bytes, files[i].len);
  }
  config_read_crl(l, c);
}

void config_need_policy(struct field_load *l, struct relay_config *c) {
  char why[FILE_WHY], *bytes;
  size_t len;
  if (!c->policy) return;
  if (file_read(c->policy, JSON_FILE_MAX, &bytes, &len, why) < 0)
    FIELD_WRONG(l, c->policy, "want a readable file, got \"%s\": %s", c->policy,
                why);
  free(bytes);
}
