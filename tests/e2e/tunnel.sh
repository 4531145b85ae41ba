#!/bin/bash
# tunnel.sh - what the agent's machine sees of the tunnel: packets too large are
# told so, only services are routed, and a relay cannot have more.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ping

says() { # TEXT COMMAND...
  local text=$1
  shift
  "$@" >"$T/said" 2>&1
  grep -q "$text" "$T/said" || { cat "$T/said"; false; }
}
# What is in no table but the kernel's own of local addresses
routed_to_tunnel() {
  { on agent ip -4 route show table all dev ztna0; on agent ip -6 route show table all dev ztna0; } |
    awk '$1 != "local" && $1 != "multicast" && $1 != "anycast" { print $1 }' | sort
}
only_services_are_routed() {
  printf '%s\n' 10.100.0.2 10.100.0.3 fd5a:10::2 fd5a:10::3 >"$T/want"
  routed_to_tunnel | diff "$T/want" -
}
goes_by() { # DEVICE ADDRESS
  on agent ip route get "$2" | grep "dev $1" >/dev/null
}
rest_is_untouched() {
  on agent ip route show default | cmp - "$T/default4.before" &&
    on agent ip -6 route show default | cmp - "$T/default6.before" &&
    on agent ip rule | cmp - "$T/rules.before" &&
    goes_by v1a 198.51.100.1 && goes_by v1a 10.100.0.4 &&
    goes_by v1a 2001:db8::1 && goes_by v1a fd5a:10::4 &&
    goes_by v1a 100.64.0.1
}
refuses_port() { # a port that no rule allows: said at once, not by silence
  local started
  started=$(now_ms)
  on agent "$TOOL" sizes 10.100.0.2:9998 8 8 >"$T/said" 2>&1
  [ $(($(now_ms) - started)) -lt 1000 ] || { cat "$T/said"; false; }
}
restart_agent() { # with networks and services of its own
  stop agent
  : >"$T/agent.log"
  cat >"$T/agent-a1.json" <<END
{$(identity agent-a1), "http": {"listen": "127.0.0.1:9090"},
 "agent": {"relays": ["192.168.1.2:4433"], "tun": "ztna0", $1}}
END
  start_agent
}
refuses_foreign_networks() {
  restart_agent '"services": ["*"], "networks": ["10.100.0.3/32", "100.64.0.0/10", "fd5a:64::/32"]'
  wait_for 5 routes agent 10.100.0.3 &&
    ! routes agent 10.100.0.2 && ! routes agent fd5a:10::2 &&
    says 'address refused service=echo address=10.100.0.2' cat "$T/agent.log" &&
    says 'address refused service=dns address=fd5a:10::3' cat "$T/agent.log"
}
refuses_foreign_own_address() {
  restart_agent '"networks": ["10.100.0.0/16", "fd5a:10::/32", "fd5a:64::/32"]'
  wait_for 5 routes agent fd5a:10::2 &&
    says 'own address refused' cat "$T/agent.log" &&
    ! on agent ip addr show ztna0 | grep 100.64 &&
    ! routes agent 10.100.0.2 &&
    on agent ping -c 1 -W 2 fd5a:10::2
}
takes_only_wanted_services() {
  restart_agent '"networks": ["10.100.0.0/16", "fd5a:10::/32", "100.64.0.0/10", "fd5a:64::/32"], "services": ["d*"]'
  wait_for 5 routes agent 10.100.0.3 && ! routes agent 10.100.0.2
}

net_up
on agent ip route add default via 192.168.1.2
on agent ip -6 route add default via fd00:1::2
on agent ip route show default >"$T/default4.before"
on agent ip -6 route show default >"$T/default6.before"
on agent ip rule >"$T/rules.before"
programs_up

check traffic_flows on agent ping -c 1 -W 2 10.100.0.2
check only_services_are_routed only_services_are_routed
check default_routes_and_the_rest_are_untouched rest_is_untouched
check mtu_is_1280 says 'mtu 1280' on agent ip link show ztna0
check largest_packet_passes_v4 on agent ping -M do -s 1252 -c 1 -W 2 10.100.0.2
check largest_packet_passes_v6 on agent ping -M do -s 1232 -c 1 -W 2 fd5a:10::2
check too_large_is_said_v4 says 'essage too long' on agent ping -M do -s 1400 -c 1 -W 2 10.100.0.2
check too_large_is_said_v6 says 'essage too long' on agent ping -M do -s 1400 -c 1 -W 2 fd5a:10::2
# The device larger than the agent: its own answer is seen.
on agent ip link set ztna0 mtu 1500
check agent_says_fragmentation_needed says 'Frag needed.*mtu = 1280\|message too long, mtu=1280\|mtu: 1280' \
  on agent ping -M do -s 1400 -c 2 -i 0.3 -W 2 10.100.0.2
check agent_says_packet_too_big says 'too big: mtu=1280\|message too long, mtu: 1280\|mtu=1280' \
  on agent ping -M do -s 1400 -c 2 -i 0.3 -W 2 fd5a:10::2
check forbidden_port_is_refused_at_once refuses_port
check addresses_outside_networks_are_refused refuses_foreign_networks
check own_address_outside_networks_is_refused refuses_foreign_own_address
check only_wanted_services_are_taken takes_only_wanted_services
exit "${FAILED:-0}"
