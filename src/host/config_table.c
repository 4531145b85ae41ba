#include "host/config_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "host/check.h"
#include "host/config.h"
#include "host/forward_rule.h"
#include "transport/identity.h"

/* --- names */

static bool only(const char *text, const char *others) {
  for (; *text; text++)
    if (!islower((unsigned char)*text) && !isdigit((unsigned char)*text) &&
        !strchr(others, *text))
      return false;
  return true;
}

const char *config_check_service(const char *text) {
  if (isalnum((unsigned char)*text) && strlen(text) <= 63 && only(text, "-_."))
    return NULL;
  return "a service id (lower-case letters, digits, - _ . and a letter or "
         "digit first, 63 at most)";
}

const char *config_check_service_pattern(const char *text) {
  if (*text && strlen(text) <= 63 && only(text, "-_.*")) return NULL;
  return "a service id, or a pattern with * like \"web-*\"";
}

static bool is_spiffe(const char *text, const char *others) {
  static const char scheme[] = "spiffe://";
  size_t n = strlen(scheme);
  if (strncmp(text, scheme, n) != 0 || !text[n]) return false;
  for (text += n; *text; text++)
    if (!isalnum((unsigned char)*text) && !strchr(others, *text)) return false;
  return true;
}

const char *config_check_agent_pattern(const char *text) {
  if (!strcmp(text, "*") || is_spiffe(text, ".-_/*")) return NULL;
  return "a SPIFFE ID, or a pattern with * like "
         "\"spiffe://example.org/agent/*\"";
}

const char *config_check_agent(const char *text) {
  const char *role = strstr(text, "/agent/");
  if (is_spiffe(text, ".-_/") && role && role[strlen("/agent/")]) return NULL;
  return "an agent's SPIFFE ID like \"spiffe://example.org/agent/laptop-7\"";
}

/* What the kernel takes as an interface's name (dev_valid_name). */
static const char *check_tun(const char *text) {
  size_t n = strlen(text);
  if (n > 0 && n < 16 && !strpbrk(text, "/: \t\r\n") && strcmp(text, ".") &&
      strcmp(text, ".."))
    return NULL;
  return "an interface name of at most 15 characters like \"ztna0\"";
}

static const char *check_escapes(const char *text) {
  uint8_t bytes[CHECK_BYTES_MAX];
  if (check_bytes(text, bytes, sizeof(bytes)) >= 0) return NULL;
  return "text of at most 1024 bytes, with \\r, \\n, \\t, \\\\ and \\xNN for "
         "others";
}

static const char *check_header(const char *text) {
  for (; *text; text++)
    if ((unsigned char)*text <= ' ' || *text == 0x7f)
      return "a host, and a port if need be";
  return NULL;
}

static const char *check_path(const char *text) {
  if (*text == '/' && !strpbrk(text, " \t\r\n")) return NULL;
  return "a path that begins with /";
}

/* --- names of enums */

static const char *const levels[] = {"err", "warn", "info", "debug", NULL};
static const char *const formats[] = {"text", "json", NULL};
static const char *const retries[] = {"auto", "always", "never", NULL};
static const char *const congestions[] = {"bbr", "cubic", NULL};
static const char *const checks[] = {"none", "http", "tcp", "udp", NULL};
const char *const config_protocols[] = {"udp", "tcp", "icmp", NULL};

/* --- what all roles share */

static const struct field identity_fields[] = {
    FIELD(identity_config, cert, .type = F_FILE, .written = true,
          .help = "own certificate, PEM, intermediates behind it"),
    FIELD(identity_config, key, .type = F_FILE,
          .help = "its private key, PEM, readable by its owner only"),
    FIELD(identity_config, ca, .type = F_FILE, .written = true,
          .help = "certificates of the CA that both sides trust, PEM"),
    FIELD(identity_config, crl, .type = F_FILE,
          .help = "lists of revoked certificates of that CA, PEM, or one as "
                  "DER"),
    FIELD(identity_config, enroll, .type = F_HOSTPORT,
          .help = "renew the certificate at this enrolment service in time"),
    FIELD_END,
};

static const struct field log_fields[] = {
    FIELD(log_config, level, .type = F_ENUM, .names = levels, .dflt = "info",
          .help = "least level that is logged"),
    FIELD(log_config, format, .type = F_ENUM, .names = formats, .dflt = "text",
          .help = "of log lines on stderr"),
    FIELD_END,
};

static const struct field sandbox_fields[] = {
    FIELD(sandbox_config, user, .type = F_STR, .dflt = "ztna", .meta = "NAME",
          .help = "when root starts a role, become this user if there is one; "
                  "empty: stay root"),
    FIELD(sandbox_config, capabilities, .type = F_BOOL, .dflt = "true",
          .help = "give up all capabilities, but an agent with a TUN "
                  "CAP_NET_ADMIN"),
    FIELD(sandbox_config, seccomp, .type = F_BOOL, .dflt = "true",
          .help = "give up all system calls but those that are needed"),
    FIELD(sandbox_config, landlock, .type = F_BOOL, .dflt = "true",
          .help = "give up all files but those that the configuration names, "
                  "with their directories"),
    FIELD_END,
};

static const struct field http_fields[] = {
    FIELD(http_config, listen, .type = F_ADDR,
          .help = "serve /healthz, /readyz, /metrics and /status here"),
    FIELD_END,
};

#define COMMON_FIELDS                                                          \
  FIELD(config, identity, .type = F_OBJECT, .fields = identity_fields,         \
        .help = "who this is"),                                                \
      FIELD(config, log, .type = F_OBJECT, .fields = log_fields,               \
            .help = "logging"),                                                \
      FIELD(config, http, .type = F_OBJECT, .fields = http_fields,             \
            .help = "local HTTP"),                                             \
      FIELD(config, sandbox, .type = F_OBJECT, .fields = sandbox_fields,       \
            .help = "what a running role gives up"),                           \
      FIELD(config, state_dir, .type = F_FILE, .dflt = "state", .meta = "DIR", \
            .written = true, .help = "keeps what should survive a restart")

const struct field config_common_fields[] = {COMMON_FIELDS, FIELD_END};

/* --- what agent and connector share */

static const char help_direct[] =
    "let packets go between agent and connector directly, where networks let "
    "them; else all go through a relay";
static const char help_direct_networks[] =
    "private networks where the other end may be looked for directly, besides "
    "those of this machine's interfaces: 10.20.0.0/16";
static const char help_port_mapping[] =
    "ask the router for a port that leads here, by NAT-PMP and UPnP, which "
    "makes direct paths likelier; it is given back at the end";

/* --- what relay, connector and enrolment service share */

static const struct field audit_fields[] = {
    FIELD(audit_config, file, .type = F_FILE, .written = true,
          .help = "append who used what here, see ztna audit"),
    FIELD(audit_config, rotate, .type = F_SIZE, .min = 64 << 10,
          .max = INT64_C(1) << 40, .dflt = "64MiB",
          .help = "begin a new file when it would be larger"),
    FIELD(audit_config, keep, .type = F_INT, .min = 1, .max = 10000,
          .dflt = "10", .help = "former files, FILE.1 the youngest"),
    FIELD_END,
};

static const char help_audit[] = "who used what, in a file";

/* --- relay */

static const struct field relay_service_fields[] = {
    FIELD_LIST(relay_service, virtual_ips, .type = F_IPS, .min = 1, .max = 2,
               .required = true,
               .help = "its addresses, one of each family at most"),
    FIELD_END,
};

const struct field config_relay_fields[] = {
    FIELD_LIST(relay_config, listen, .type = F_ADDRS, .min = 1, .max = 16,
               .dflt = "0.0.0.0:4433,[::]:4433",
               .help = "UDP addresses that agents and connectors dial"),
    FIELD_LIST(relay_config, stun, .type = F_ADDRS, .min = 1, .max = 16,
               .help = "second UDP ports, which tell agents what their NATs do "
                       "(RFC 5780); without it each of listen with port + 1"),
    FIELD_LIST(relay_config, stun_ips, .type = F_IPS, .min = 2, .max = 4,
               .help = "two addresses of this machine, or two of each family, "
                       "that answer STUN for each other"),
    FIELD_LIST(relay_config, service_pool, .type = F_PREFIXES, .min = 1,
               .max = 2, .dflt = "10.100.0.0/24,fd5a:10::/64",
               .help = "services get their addresses here"),
    FIELD_LIST(relay_config, agent_pool, .type = F_PREFIXES, .min = 1, .max = 2,
               .dflt = "100.64.0.0/16,fd5a:64::/64",
               .help = "agents get their tunnel addresses here"),
    FIELD_LIST(relay_config, services, .type = F_MAP,
               .fields = relay_service_fields, .check = config_check_service,
               .help = "services with addresses of their own"),
    FIELD(relay_config, policy, .type = F_FILE,
          .help = "who may use what; without it nothing is allowed"),
    FIELD(relay_config, retry, .type = F_ENUM, .names = retries, .dflt = "auto",
          .help = "QUIC Retry for new connections: auto when many are "
                  "half-open"),
    FIELD(relay_config, retry_keys, .type = F_FILE,
          .help = "keys of Retry tokens, one to four lines of 64 hex digits, "
                  "the first makes them; relays behind one name share the "
                  "file; without it each relay has its own"),
    FIELD_LIST(relay_config, relays, .type = F_HOSTPORTS, .max = 64,
               .help = "the fleet's other relays, told to all who connect"),
    FIELD(relay_config, max_connections, .type = F_INT, .min = 1,
          .max = 1000000, .dflt = "10000",
          .help = "agents and connectors at a time"),
    FIELD(relay_config, max_routes, .type = F_INT, .min = 1, .max = 10000000,
          .dflt = "50000", .help = "routes at a time"),
    FIELD(relay_config, route_rate, .type = F_SIZE, .dflt = "0B",
          .help = "most bytes a second of one route; 0B: no limit"),
    FIELD(relay_config, route_burst, .type = F_SIZE, .min = 64 << 10,
          .max = 1 << 30, .dflt = "1MiB",
          .help = "bytes a route may send at once above its rate"),
    FIELD(relay_config, audit, .type = F_OBJECT, .fields = audit_fields,
          .help = help_audit),
    FIELD_END,
};

/* --- connector */

static const struct field backend_fields[] = {
    FIELD(backend_config, protocol, .type = F_BIT, .names = config_protocols,
          .required = true, .help = "udp, tcp or icmp"),
    FIELD(backend_config, port, .type = F_INT, .min = 1, .max = 65535,
          .help = "as agents dial it; without it that of \"to\""),
    FIELD(backend_config, to, .type = F_STR, .min = 1, .required = true,
          .meta = "HOST:PORT",
          .help = "where the service listens, host:port; for icmp a host"),
    FIELD(backend_config, proxy_protocol, .type = F_BOOL, .dflt = "false",
          .help = "tcp: say who it is first, PROXY protocol version 2"),
    FIELD_END,
};

static const struct field check_fields[] = {
    FIELD(check_config, type, .type = F_ENUM, .names = checks, .required = true,
          .dflt = "none", .help = "how the service is asked: http, tcp or udp"),
    FIELD(check_config, port, .type = F_INT, .min = 1, .max = 65535,
          .help = "which backend, by the port that agents dial; without it the "
                  "first of that protocol"),
    FIELD(check_config, path, .type = F_STR, .min = 1, .max = 512, .dflt = "/",
          .check = check_path, .help = "of an http check"),
    FIELD(check_config, host, .type = F_STR, .min = 1, .max = 255,
          .check = check_header, .meta = "HOST",
          .help = "Host header of an http check; without it \"to\" of the "
                  "backend"),
    FIELD(check_config, status, .type = F_PORT, .dflt = "200-399",
          .meta = "N-M", .help = "status that an http check takes as healthy"),
    FIELD(check_config, send, .type = F_STR, .check = check_escapes,
          .help = "datagram of a udp check, \\xNN for any byte"),
    FIELD(check_config, expect, .type = F_STR, .check = check_escapes,
          .help = "what its answer must contain; without it any will do"),
    FIELD(check_config, every, .type = F_NS, .min = 100 * MS, .max = 3600 * SEC,
          .dflt = "5s", .help = "between two checks"),
    FIELD(check_config, timeout, .type = F_NS, .min = 10 * MS, .max = 60 * SEC,
          .dflt = "2s", .help = "wait this long for an answer"),
    FIELD(check_config, fail_after, .type = F_INT, .min = 1, .max = 100,
          .dflt = "3", .help = "down after so many failures in a row"),
    FIELD(check_config, pass_after, .type = F_INT, .min = 1, .max = 100,
          .dflt = "1", .help = "up after so many answers in a row"),
    FIELD_END,
};

static const struct field service_fields[] = {
    FIELD(service_config, id, .type = F_STR, .min = 1, .required = true,
          .check = config_check_service, .help = "its name, a service id"),
    FIELD_LIST(service_config, backends, .type = F_OBJECTS, .min = 1, .max = 64,
               .fields = backend_fields, .help = "where it listens"),
    FIELD(service_config, backend, .type = F_STR, .min = 1, .meta = "HOST:PORT",
          .help = "short for one backend, same port inside and outside"),
    FIELD(service_config, protocol, .type = F_BIT, .names = config_protocols,
          .help = "of \"backend\""),
    FIELD(service_config, proxy_protocol, .type = F_BOOL, .dflt = "false",
          .help = "to \"backend\""),
    FIELD(service_config, check, .type = F_OBJECT, .fields = check_fields,
          .help = "is it healthy?"),
    FIELD_LIST(service_config, agents, .type = F_STRS, .min = 1, .max = 256,
               .check = config_check_agent_pattern, .meta = "PATTERN,...",
               .help = "who may use it at most; relays decide within that"),
    FIELD(service_config, weight, .type = F_INT, .min = 1, .max = 100,
          .dflt = "1", .help = "share, among connectors of one service"),
    FIELD_END,
};

const struct field config_connector_fields[] = {
    FIELD_LIST(connector_config, relays, .type = F_HOSTPORTS, .min = 1,
               .max = 64, .required = true, .help = "host:port to serve at"),
    FIELD_LIST(connector_config, services, .type = F_OBJECTS, .min = 1,
               .max = 1024, .required = true, .fields = service_fields,
               .help = "list of what is served"),
    FIELD_LIST(connector_config, listen, .type = F_ADDRS, .min = 1, .max = 16,
               .dflt = "0.0.0.0:0,[::]:0",
               .help = "local UDP addresses; port 0: any"),
    FIELD(connector_config, congestion, .type = F_ENUM, .names = congestions,
          .dflt = "bbr", .help = "congestion control of paths"),
    FIELD(connector_config, direct, .type = F_BOOL, .dflt = "true",
          .help = help_direct),
    FIELD_LIST(connector_config, direct_networks, .type = F_PREFIXES, .max = 16,
               .help = help_direct_networks),
    FIELD(connector_config, port_mapping, .type = F_BOOL, .dflt = "true",
          .help = help_port_mapping),
    FIELD(connector_config, drain_timeout, .type = F_NS, .max = 86400 * SEC,
          .dflt = "10s",
          .help = "at a stop TCP connections may go on for so long, 0s: not at "
                  "all"),
    FIELD(connector_config, max_flows, .type = F_INT, .min = 1, .max = 1000000,
          .dflt = "16384", .help = "UDP and ICMP conversations at a time"),
    FIELD(connector_config, max_flows_per_agent, .type = F_INT, .min = 1,
          .max = 1000000, .dflt = "1024", .help = "of them, of one agent"),
    FIELD(connector_config, udp_idle_after, .type = F_NS, .min = SEC,
          .max = 3600 * SEC, .dflt = "60s",
          .help = "forget a silent UDP or ICMP conversation after"),
    FIELD(connector_config, max_tcp_flows, .type = F_INT, .min = 1,
          .max = 1000000, .dflt = "8192", .help = "TCP connections at a time"),
    FIELD(connector_config, max_tcp_flows_per_agent, .type = F_INT, .min = 1,
          .max = 1000000, .dflt = "1024", .help = "of them, of one agent"),
    FIELD(connector_config, max_buffered, .type = F_SIZE, .min = 1 << 20,
          .max = INT64_C(1) << 40, .dflt = "256MiB",
          .help = "bytes kept for all of them; above it agents that hold an "
                  "average share or more begin nothing new"),
    FIELD(connector_config, connect_timeout, .type = F_NS, .min = 100 * MS,
          .max = 120 * SEC, .dflt = "5s",
          .help = "wait this long for a TCP backend"),
    FIELD(connector_config, audit, .type = F_OBJECT, .fields = audit_fields,
          .help = help_audit),
    FIELD_END,
};

/* --- agent */

const struct field config_agent_fields[] = {
    FIELD_LIST(agent_config, relays, .type = F_HOSTPORTS, .min = 1, .max = 64,
               .required = true, .help = "host:port to reach services by"),
    FIELD_LIST(agent_config, services, .type = F_STRS, .min = 1, .max = 1024,
               .dflt = "*", .check = config_check_service_pattern,
               .meta = "PATTERN,...",
               .help = "services wanted on this machine"),
    FIELD_LIST(agent_config, networks, .type = F_PREFIXES, .min = 1, .max = 64,
               .dflt = "10.100.0.0/16,fd5a:10::/32,100.64.0.0/10,fd5a:64::/32",
               .help = "accept addresses from relays only in these"),
    FIELD(agent_config, tun, .type = F_STR, .min = 1, .dflt = "ztna0",
          .check = check_tun, .meta = "NAME", .help = "TUN device"),
    FIELD(agent_config, mtu, .type = F_INT, .min = 1280, .max = 1500,
          .dflt = "1280", .help = "of the TUN device"),
    FIELD(agent_config, offload, .type = F_BOOL, .dflt = "true",
          .help = "up to 64 KB at a time from and to the TUN device; with "
                  "--no-offload packet by packet, should a kernel have it "
                  "wrong"),
    FIELD_LIST(agent_config, forward, .type = F_STRS, .max = 64,
               .check = forward_rule_check,
               .meta = "[ADDR:]PORT[/udp]=SERVICE:PORT,...",
               .help = "services on ports of this machine, without a TUN and "
                       "without root"),
    FIELD(agent_config, socks5, .type = F_ADDR,
          .help = "SOCKS5 proxy to services by name, without a TUN and without "
                  "root"),
    FIELD_LIST(agent_config, listen, .type = F_ADDRS, .min = 1, .max = 16,
               .dflt = "0.0.0.0:0,[::]:0",
               .help = "local UDP addresses; port 0: any"),
    FIELD(agent_config, congestion, .type = F_ENUM, .names = congestions,
          .dflt = "bbr", .help = "congestion control of paths"),
    FIELD(agent_config, direct, .type = F_BOOL, .dflt = "true",
          .help = help_direct),
    FIELD_LIST(agent_config, direct_networks, .type = F_PREFIXES, .max = 16,
               .help = help_direct_networks),
    FIELD(agent_config, port_mapping, .type = F_BOOL, .dflt = "true",
          .help = help_port_mapping),
    FIELD_END,
};

/* --- enrolment service */

static const char *check_trust_domain(const char *text) {
  struct identity id;
  char uri[IDENTITY_SPIFFE_MAX + 1];
  int n = snprintf(uri, sizeof(uri), "spiffe://%s/agent/x", text);
  if (n < (int)sizeof(uri) && identity_parse_spiffe(&id, uri, (size_t)n) == 0)
    return NULL;
  return "a trust domain like example.org (lower-case letters, digits, - _ .)";
}

const struct field config_enroll_fields[] = {
    FIELD(enroll_config, ca_dir, .type = F_FILE, .required = true,
          .meta = "DIR",
          .help = "ca.pem and ca.key, as `ztna cert init` makes them"),
    FIELD(enroll_config, trust_domain, .type = F_STR, .meta = "NAME",
          .check = check_trust_domain,
          .help = "what all identities begin with, when ca.pem does not say"),
    FIELD_LIST(enroll_config, listen, .type = F_ADDRS, .min = 1, .max = 16,
               .dflt = "0.0.0.0:4435,[::]:4435",
               .help =
                   "UDP addresses that machines without a certificate dial"),
    FIELD(enroll_config, server, .type = F_HOSTPORT, .required = true,
          .help = "where machines find it, host:port; tokens name it"),
    FIELD(enroll_config, lifetime, .type = F_NS, .min = 10 * SEC,
          .max = INT64_C(36500) * 86400 * SEC, .dflt = "720h",
          .help = "of certificates, unless the token says otherwise"),
    FIELD(enroll_config, max_lifetime, .type = F_NS, .min = 10 * SEC,
          .max = INT64_C(36500) * 86400 * SEC, .dflt = "8760h",
          .help = "of certificates, whatever the token says"),
    FIELD(enroll_config, max_connections, .type = F_INT, .min = 1,
          .max = 100000, .dflt = "1000", .help = "at a time"),
    FIELD(enroll_config, policy, .type = F_FILE,
          .help = "the relays' policy: whom it revokes renews nothing"),
    FIELD(enroll_config, audit, .type = F_OBJECT, .fields = audit_fields,
          .help = "which certificates it made, in a file"),
    FIELD_END,
};

const struct field config_root_fields[] = {
    COMMON_FIELDS,
    FIELD(config, relay, .type = F_OBJECT, .fields = config_relay_fields,
          .help = "the public meeting point"),
    FIELD(config, connector, .type = F_OBJECT,
          .fields = config_connector_fields, .help = "exposes services"),
    FIELD(config, agent, .type = F_OBJECT, .fields = config_agent_fields,
          .help = "reaches services"),
    FIELD(config, enroll, .type = F_OBJECT, .fields = config_enroll_fields,
          .help = "gives certificates to who has a token"),
    FIELD_END,
};
