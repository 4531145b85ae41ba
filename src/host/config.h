/* config.h - the configuration of all roles (CLI.md): flag before environment
 * before file before default. */
#ifndef ZTNA_HOST_CONFIG_H
#define ZTNA_HOST_CONFIG_H

#include <ztna/identity.h>

#include "base/log.h"
#include "host/audit.h"
#include "host/flags.h"
#include "host/logger.h"
#include "part/policy.h"

/* Bits: which sections are asked for. */
enum {
  CONFIG_RELAY = 1,
  CONFIG_CONNECTOR = 2,
  CONFIG_AGENT = 4,
  CONFIG_PRESENT = 8,   /* whatever sections the file has, one at least */
  CONFIG_IDENTITY = 16, /* cert, key and ca without any role (probe) */
  CONFIG_NO_FILES = 32, /* touch no other file: tests */
  CONFIG_ENROLL = 64,
};

/* Bytes of a file; the longest list that `ztna cert crl` makes has 11 MB. */
enum {
  IDENTITY_CERT_MAX = 1 << 20,
  IDENTITY_KEY_MAX = 64 << 10,
  IDENTITY_CRL_MAX = 16 << 20, /* as CRL_FILE_MAX */
};

/* PEM files; crl may be DER. The bytes are NUL terminated, the NUL not
 * counted. */
struct identity_config {
  char *cert, *key, *ca, *crl; /* file names; crl may be NULL */
  char *enroll; /* host:port of the service that renews cert; NULL: none */
  char *cert_pem, *key_pem, *ca_pem, *crl_bytes; /* loaded when a role was
                                                    asked for */
  size_t cert_len, key_len, ca_len, crl_len;
};

static inline struct ztna_identity
config_identity(const struct identity_config *c) {
  return (struct ztna_identity){.cert = c->cert_pem,
                                .cert_len = c->cert_len,
                                .key = c->key_pem,
                                .key_len = c->key_len,
                                .ca = c->ca_pem,
                                .ca_len = c->ca_len,
                                .crl = c->crl_bytes,
                                .crl_len = c->crl_len};
}

struct log_config {
  enum log_level level;
  enum logger_format format;
};

/* What a running role gives up; empty or false: it does not. */
struct sandbox_config {
  char *user; /* to become when root started it */
  bool capabilities, seccomp, landlock;
};

struct http_config {
  struct ztna_addr listen; /* family 0: no local HTTP */
};

/* A service with addresses of its own choice. */
struct relay_service {
  char *id;
  struct ztna_addr *virtual_ips; /* at most one of each family, port 0 */
  size_t n_virtual_ips;
};

enum config_retry { RETRY_AUTO, RETRY_ALWAYS, RETRY_NEVER };

struct relay_config {
  struct ztna_addr *listen;
  size_t n_listen;
  struct ztna_addr *stun; /* second ports; none: each of listen with port + 1 */
  size_t n_stun;
  struct ztna_addr *stun_ips; /* of each family none or two, port 0 */
  size_t n_stun_ips;
  struct ztna_prefix *service_pool; /* at most one of each family */
  size_t n_service_pool;
  struct ztna_prefix *agent_pool; /* at most one of each family */
  size_t n_agent_pool;
  struct relay_service *services;
  size_t n_services;
  char *policy; /* file name; NULL: nothing is allowed */
  enum config_retry retry;
  char *retry_keys; /* file name; NULL: a key of this relay's own */
  char **relays; /* host:port of the fleet's others, told to all who connect */
  size_t n_relays;
  uint32_t max_connections; /* control connections */
  uint32_t max_routes;
  uint64_t route_rate;  /* bytes/s of one route; 0: no limit */
  uint64_t route_burst; /* bytes */
  struct audit_config audit;
};

struct backend_config {
  unsigned protocol;   /* one PROTO_ bit of policy.h */
  uint16_t port;       /* as agents dial it; 0 for ICMP */
  char *to;            /* host:port; for ICMP a host */
  bool proxy_protocol; /* TCP: begin with a PROXY header, version 2 */
};

enum check_type { CHECK_NONE, CHECK_HTTP, CHECK_TCP, CHECK_UDP };

/* Asks the service's first backend of that protocol (http: TCP), or the one
 * with that port. */
struct check_config {
  enum check_type type;            /* CHECK_NONE: always taken as healthy */
  uint16_t port;                   /* as agents dial it; 0: the first one */
  char *path;                      /* http: "/" */
  char *host;                      /* http: Host header; NULL: the backend */
  struct policy_ports status;      /* http: 200 to 399 */
  char *send, *expect;             /* udp: bytes, see check_bytes */
  uint64_t every, timeout;         /* ns */
  uint32_t fail_after, pass_after; /* checks in a row */
};

struct service_config {
  char *id; /* lower-case letters, digits, - and _; 63 at most */
  struct backend_config *backends; /* one at least; the short form is one */
  size_t n_backends;
  struct check_config check;
  char **agents; /* SPIFFE patterns; none: whomever relays grant */
  size_t n_agents;
  uint32_t weight; /* 1 to 100, among connectors of one service */
  /* the short form as written; already in backends */
  char *backend;
  unsigned protocol;
  bool proxy_protocol;
};

enum config_congestion { CONGESTION_BBR, CONGESTION_CUBIC };

struct connector_config {
  char **relays; /* host:port, one at least */
  size_t n_relays;
  uint64_t drain_timeout;          /* ns that TCP flows get at a stop */
  struct service_config *services; /* one at least, ids unique */
  size_t n_services;
  struct ztna_addr *listen; /* local UDP addresses; port 0: any */
  size_t n_listen;
  enum config_congestion congestion;
  bool direct, port_mapping; /* paths without a relay; ports of the router */
  struct ztna_prefix *direct_networks; /* private ones where peers may be */
  size_t n_direct_networks;
  uint32_t max_flows, max_flows_per_agent;
  uint64_t udp_idle_after; /* ns */
  uint32_t max_tcp_flows, max_tcp_flows_per_agent;
  uint64_t max_buffered;    /* bytes kept for TCP flows */
  uint64_t connect_timeout; /* ns */
  struct audit_config audit;
};

struct agent_config {
  char **relays; /* host:port, one at least */
  size_t n_relays;
  char **services; /* ids or patterns with * */
  size_t n_services;
  struct ztna_prefix *networks; /* where addresses are accepted from a relay */
  size_t n_networks;
  char *tun; /* device name; NULL: none, since forward or socks5 is given */
  uint32_t mtu;
  bool offload;   /* super-packets from and to the device, if it can */
  char **forward; /* as forward_rule.h reads them */
  size_t n_forward;
  struct ztna_addr socks5;  /* family 0: none */
  struct ztna_addr *listen; /* local UDP addresses; port 0: any */
  size_t n_listen;
  enum config_congestion congestion;
  bool direct, port_mapping; /* paths without a relay; ports of the router */
  struct ztna_prefix *direct_networks; /* private ones where peers may be */
  size_t n_direct_networks;
};

/* It makes its own certificate with the CA's key: of `identity` only crl is
 * used. */
struct enroll_config {
  char *ca_dir;       /* with ca.pem and ca.key */
  char *trust_domain; /* NULL: as the CA says */
  struct ztna_addr *listen;
  size_t n_listen;
  char *server;                    /* host:port that tokens name */
  uint64_t lifetime, max_lifetime; /* of certificates, ns */
  uint32_t max_connections;
  char *policy; /* file name: the relays', for whom it revokes; or NULL */
  struct audit_config audit;
};

struct config {
  unsigned roles; /* CONFIG_ bits of the sections that are here */
  struct identity_config identity;
  struct log_config log;
  struct http_config http;
  struct sandbox_config sandbox;
  char *state_dir; /* need not exist yet */
  struct relay_config relay;
  struct connector_config connector;
  struct agent_config agent;
  struct enroll_config enroll;
};

/* Loads and checks everything, and prints every mistake to stderr. file NULL:
 * flags and environment only. want: CONFIG_ bits. flags may be NULL. 0;
 * ZTNA_ECONFIG; ZTNA_EINVAL (a flag's value is wrong); ZTNA_ENOMEM; *c is empty
 * after a failure. */
int config_load(struct config *c, const char *file, unsigned want,
                const struct flags *flags);
/* The same, mistakes to out, a line each. */
int config_load_to(struct config *c, const char *file, unsigned want,
                   const struct flags *flags, struct sbuf *out);
/* The same from memory, mistakes to out; name stands for the file. */
int config_parse(struct config *c, const char *name, const char *text,
                 size_t len, unsigned want, const struct flags *flags,
                 struct sbuf *out);
/* The backend that its check asks; NULL: there is no check. */
const struct backend_config *
config_checked_backend(const struct service_config *s);
/* Overwrites the key's bytes, once TLS has taken what it needs. */
void config_forget_key(struct config *c);
/* Empty is fine. The key's bytes are overwritten. */
void config_free(struct config *c);

/* The tables for flags and help: the asked roles' and, last, the shared one.
 * Returns how many. */
size_t config_groups(struct flag_group *groups, unsigned want);

#endif
