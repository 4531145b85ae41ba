# lib.sh - hosts in network namespaces and the three programs on them, for the
# scripts beside it. Each script: `. lib.sh`, net_up, pki, start_..., checks.
# Everything made here is removed at exit; only own processes are ended.

ZTNA=${ZTNA:-build/ztna}
case $ZTNA in /*) ;; *) ZTNA=$PWD/$ZTNA ;; esac
TOOL=${TOOL:-${ZTNA%/*}/tests/tool_udp}
T=$(mktemp -d "${TMPDIR:-/tmp}/ztna-e2e.XXXXXX")
N=zt$$            # namespaces: $N-agent, $N-relay, $N-conn
HOSTS=
PIDS=

ok() { echo "ok $1"; }
not_ok() {
  echo "not ok $1"
  FAILED=1
  [ -n "${2:-}" ] && printf '%s\n' "$2" | sed 's/^/# /'
  for f in "$T"/*.log; do
    [ -f "$f" ] && echo "# --- ${f##*/}" && tail -n "${LOG_LINES:-25}" "$f" | sed 's/^/# /'
  done
}
# check NAME COMMAND...: in this shell, so that it may start and stop programs;
# its lines that begin with # are shown
check() {
  local name=$1
  shift
  if "$@" >"$T/check.out" 2>&1; then
    grep '^#' "$T/check.out"
    ok "$name"
  else
    not_ok "$name" "$* -> $(cat "$T/check.out")"
  fi
}
# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
  local end=$(($(date +%s%N) / 1000000 + ${1%.*} * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $(($(date +%s%N) / 1000000)) -lt $end ] || return 1
    sleep 0.05
  done
}
now_ms() { echo $(($(date +%s%N) / 1000000)); }

cleanup() {
  set +m
  local p h
  for p in $PIDS; do kill -9 "$p" 2>/dev/null; wait "$p" 2>/dev/null; done
  for h in $HOSTS; do
    for p in $(ip netns pids "$N-$h" 2>/dev/null); do kill -9 "$p" 2>/dev/null; done
    ip netns del "$N-$h" 2>/dev/null
  done
  [ -n "${KEEP:-}" ] || rm -rf "$T"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

skip_all() { echo "skip ${0##*/} $1"; exit 0; }

need() {
  [ "$(id -u)" = 0 ] || skip_all "needs root"
  ip netns add "$N-try" 2>/dev/null || skip_all "network namespaces are not allowed here"
  local c works=
  ip netns exec "$N-try" true 2>/dev/null && works=1
  ip netns del "$N-try"
  [ "$works" ] || skip_all "programs cannot be run in a network namespace here"
  for c in "$@"; do command -v "$c" >/dev/null || skip_all "needs $c"; done
}

on() { local h=$1; shift; ip netns exec "$N-$h" "$@"; }

# net_option HOST NAME VALUE: as sysctl net.NAME, which small systems lack
net_option() { on "$1" sh -c "echo $3 >/proc/sys/net/$2" 2>/dev/null; }

host() {
  ip netns add "$N-$1"
  HOSTS="$HOSTS $1"
  on "$1" ip link set lo up
  net_option "$1" ipv6/conf/all/accept_dad 0
  net_option "$1" ipv6/conf/default/accept_dad 0
  # as systemd has it: a connector pings backends without any privilege
  net_option "$1" ipv4/ping_group_range '0 2147483647'
}

# link HOST1 HOST2 NUMBER: a veth pair, .1 and .2 of 192.168.NUMBER.0/24 and
# fd00:NUMBER::/64
link() {
  ip link add "v$3a" netns "$N-$1" type veth peer name "v$3b" netns "$N-$2"
  on "$1" ip addr add "192.168.$3.1/24" dev "v$3a"
  on "$2" ip addr add "192.168.$3.2/24" dev "v$3b"
  on "$1" ip addr add "fd00:$3::1/64" dev "v$3a" nodad
  on "$2" ip addr add "fd00:$3::2/64" dev "v$3b" nodad
  on "$1" ip link set "v$3a" up
  on "$2" ip link set "v$3b" up
}

# Three hosts, routed, no shared bridge: agent - relay - conn. The relay's host
# does not forward: agent and connector cannot reach each other.
net_up() {
  host relay
  host agent
  host conn
  link agent relay 1
  link conn relay 2
}

# start NAME HOST COMMAND...: in the background, output to $T/NAME.log
start() {
  local name=$1 h=$2
  shift 2
  ip netns exec "$N-$h" "$@" >>"$T/$name.log" 2>&1 &
  eval "PID_$name=$!"
  PIDS="$PIDS $!"
}
pid_of() { eval "echo \$PID_$1"; }
stop() {
  kill "-${2:-TERM}" "$(pid_of "$1")" 2>/dev/null
  wait "$(pid_of "$1")" 2>/dev/null
}

# A CA and one certificate for each; issue ROLE NAME FLAGS... makes more.
issue() {
  local role=$1 name=$2
  shift 2
  "$ZTNA" cert issue --dir "$T" --role "$role" --name "$name" "$@" >>"$T/cert.out" 2>&1
}
pki() {
  "$ZTNA" cert init --dir "$T" --trust-domain example.org >"$T/cert.out" 2>&1 &&
    issue relay r1 --dns relay.test --ip 192.168.1.2 --ip 192.168.2.2 \
      --ip 192.168.3.2 --ip fd00:1::2 --ip fd00:2::2 --ip fd00:3::2 &&
    issue connector c1 --service echo --service dns --service other &&
    issue agent a1 && issue agent a2
}

identity() { # ROLE-NAME
  echo "\"identity\": {\"cert\": \"$1.pem\", \"key\": \"$1.key\", \"ca\": \"ca.pem\"}, \"log\": {\"level\": \"${LEVEL:-info}\"}"
}
relay_json() {
  cat >"$T/relay.json" <<END
{$(identity relay-r1), "http": {"listen": "127.0.0.1:9090"}, "state_dir": "state",
 "relay": {"listen": ["0.0.0.0:4433", "[::]:4433"],
  "service_pool": ["10.100.0.0/24", "fd5a:10::/64"], "agent_pool": ["100.64.0.0/16", "fd5a:64::/64"],
  "services": {"echo": {"virtual_ips": ["10.100.0.2", "fd5a:10::2"]}, "dns": {"virtual_ips": ["10.100.0.3", "fd5a:10::3"]}},
  "policy": "policy.json"}}
END
  [ -f "$T/policy.json" ] || cat >"$T/policy.json" <<END
{"groups": {"staff": ["spiffe://example.org/agent/a*"]},
 "rules": [{"name": "staff", "agents": ["@staff"], "services": ["echo", "dns"], "protocols": ["udp", "icmp"], "ports": [53, 9999]}],
 "tests": [{"agent": "spiffe://example.org/agent/a1", "service": "echo", "protocol": "udp", "port": 9999, "expect": "allowed"}]}
END
}
connector_json() { # [RELAY]
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["${1:-192.168.2.2:4433}"], "services": [
  {"id": "echo", "backends": [{"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"}]},
  {"id": "dns", "backends": [{"protocol": "udp", "port": 53, "to": "127.0.0.1:53"}]}]}}
END
}
agent_json() { # NAME [RELAY]
  cat >"$T/agent-$1.json" <<END
{$(identity "agent-$1"), "http": {"listen": "127.0.0.1:9090"},
 "agent": {"relays": ["${2:-192.168.1.2:4433}"], "services": ["*"], "tun": "ztna0"}}
END
}
start_relay() { start relay relay "$ZTNA" relay --config "$T/relay.json"; }
start_connector() { start connector conn "$ZTNA" connector --config "$T/connector.json"; }
start_agent() { start "${2:-agent}" "${1:-agent}" "$ZTNA" agent --config "$T/agent-${3:-a1}.json"; }
ready() { on "$1" "$ZTNA" status --http 127.0.0.1:9090 --json; }
is_ready() { on "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; head -1 <&3 | grep -q 200'; }

# --- what most scripts begin with

# The agent's machine reaches this address through the tunnel.
routes() { on "$1" ip route get "$2" 2>/dev/null | grep -q "dev ztna0"; }

# start_backend: the echo service and, where it is wanted, a real DNS server.
start_backend() { start backend conn "$TOOL" echo 127.0.0.1:9999; }
# DNS_AT=ADDRESS: not on loopback alone.
start_dns() {
  local i
  {
    printf '%s\n' no-daemon no-resolv no-hosts user=root bind-interfaces \
      "listen-address=${DNS_AT:-127.0.0.1}" edns-packet-max=4096 pid-file= \
      address=/web.test/192.0.2.7 address=/web.test/2001:db8::7 \
      txt-record=question-marker.test,answer-marker
    for i in 1 2 3 4 5 6 7 8 9 10; do
      echo "txt-record=big.test,$i-$(printf %0220d 0)"
    done
  } >"$T/dnsmasq.conf"
  start dns conn dnsmasq --conf-file="$T/dnsmasq.conf"
}

# programs_up [RELAY-FOR-AGENT RELAY-FOR-CONNECTOR]: three programs and the echo
# service on hosts that are there, until the agent has its routes.
programs_up() {
  pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
  relay_json
  agent_json a1 "${1:-}"
  connector_json "${2:-}"
  start_backend
  start_relay
  start_connector
  wait_for 5 is_ready conn
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 &&
    wait_for 5 routes agent fd5a:10::2 && return
  not_ok programs_up "the agent has no routes after 10 s"
  exit 1
}
all_up() {
  net_up
  programs_up "$@"
}
