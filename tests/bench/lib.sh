# lib.sh - the hosts, configurations and processes of the measurements; run.sh
# and tests/e2e/alloc.sh begin with it. Wants $B, the build directory.

ZTNA=${ZTNA:-$B/ztna}
. tests/e2e/lib.sh
TOOLS=$(cd "$B/tests" && pwd) || exit 1
CHAIN=$TOOLS/tool_flow

netns() { echo "/run/netns/$N-$1"; }

# One service for packets that stay, one port of it that echoes. The relay is to
# be measured, and no search for another way.
bench_configs() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "bench", "agents": ["spiffe://example.org/agent/a*"],
  "services": ["echo", "load"], "protocols": ["udp", "icmp"]}]}
END
  relay_json
  # Many agents at once from one network, more than a prefix may be.
  sed -i 's/"policy": "policy.json"/&, "retry": "never"/' "$T/relay.json"
  agent_json a1
  sed -i 's/"agent": {/&"direct": false, /' "$T/agent-a1.json"
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"direct": false, "relays": ["192.168.2.2:4433"], "services": [{"id": "echo", "backends": [
  {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
  {"protocol": "udp", "port": 9998, "to": "127.0.0.1:9998"}]}]}}
END
}

# A person without a tunnel: the relay's host forwards.
route_raw() {
  net_option relay ipv4/ip_forward 1
  on agent ip route add 192.168.2.0/24 via 192.168.1.2
  on conn ip route add 192.168.1.0/24 via 192.168.2.2
}

bench_hosts() {
  net_up
  pki || { cat "$T/cert.out" >&2; exit 1; }
  bench_configs
}

give_up() {
  echo "$1" >&2
  tail -n 15 "$T"/*.log >&2
  exit 1
}

# The same with a counter of allocations in front: counted NAME HOST COMMAND...
counted() {
  local name=$1 h=$2
  shift 2
  start "$name" "$h" env ${COUNTER:+LD_PRELOAD="$COUNTER" ALLOC_COUNT="$T/$name.count"} "$@"
}

# Relay, connector and agent, until the agent has its routes.
chain_up() {
  start echo conn "$CHAIN" echo 127.0.0.1:9999 192.168.2.1:9997
  counted relay relay "$ZTNA" relay --config "$T/relay.json"
  wait_for 5 is_ready relay || give_up "the relay is not ready"
  counted connector conn "$ZTNA" connector --config "$T/connector.json"
  wait_for 5 is_ready conn || give_up "the connector is not ready"
  counted agent agent "$ZTNA" agent --config "$T/agent-a1.json"
  wait_for 5 routes agent 10.100.0.2 || give_up "the agent has no route"
  wait_for 5 on agent ping -q -c 1 -W 1 10.100.0.2 || give_up "no answer through the tunnel"
}

# flow up|down NAME SIZE SECONDS: see tool_flow.c
flow() {
  "$CHAIN" flow "$@" "$(netns agent)" 10.100.0.2:9998 "$(netns conn)" 127.0.0.1:9998 \
    agent "$PID_agent" relay "$PID_relay" connector "$PID_connector"
}

# --- allocations

# The library for `counted`; not for binaries that have an allocator of their
# own (sanitizers).
alloc_counter() {
  ldd "$ZTNA" | grep -q 'lib[a-z]*san' && return 1
  "${CC:-cc}" -O2 -shared -fPIC -o "$T/count.so" tests/e2e/alloc_count.c || return 1
  COUNTER=$T/count.so
}
allocations() { od -An -tu8 -N8 "$T/$1.count" | tr -d ' '; }

# alloc_flow up|down SECONDS: of each process, per 1000 packets, once it has
# warmed up.
alloc_flow() {
  local p packets before=
  flow "$1" warm 1200 1 >/dev/null || return 1
  for p in agent relay connector; do before="$before $(allocations $p)"; done
  flow "$1" x 1200 "$2" >"$T/flow" || return 1
  packets=$(awk -v s="$2" '$1 == "x.rate" { print $2 * (s + 0.3) }' "$T/flow")
  set -- "$1" $before
  for p in agent relay connector; do
    awk -v n="alloc.$1.$p" -v a="$2" -v b="$(allocations $p)" -v k="$packets" \
      'BEGIN { printf "%s %.2f /1000packets\n", n, (b - a) * 1000 / k }'
    set -- "$1" "${@:3}"
  done
}
