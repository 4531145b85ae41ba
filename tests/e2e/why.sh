#!/bin/bash
# why.sh - ztna why on an agent's machine: what works is tried, and what fails is
# named with its reason and who can fix it, whatever end it lies at.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ping
TCP=${TOOL%/*}/tool_tcp
BLIND=${TOOL%/*}/tool_blind
[ -x "$BLIND" ] || skip_all "no $BLIND"

# why CODE ARG... -- TEXT...: it ends with that code and says each of the texts
why() {
  local code=$1 rc
  local -a args=()
  shift
  while [ $# -gt 0 ] && [ "$1" != -- ]; do args+=("$1"); shift; done
  shift
  on "$AT" "$ZTNA" why "${args[@]}" >"$T/why.out" 2>&1
  rc=$?
  cat "$T/why.out"
  [ $rc = "$code" ] || { echo "exit code $rc, not $code"; return 1; }
  while [ $# -gt 0 ]; do
    grep -qE -- "$1" "$T/why.out" || { echo "not said: $1"; return 1; }
    shift
  done
}
state() { # SERVICE STATE: as the agent knows it
  ready agent | tr -d ' \n' | grep -q "\"id\":\"$1\",\"state\":\"$2\""
}
listed() { ready agent | tr -d ' \n' | grep -q "\"id\":\"$1\""; }
AT=agent

net_up
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
issue agent zed
relay_json
cat >"$T/policy.json" <<END
{"rules": [
  {"name": "staff", "agents": ["spiffe://example.org/agent/a1"], "services": ["echo"], "protocols": ["udp", "tcp", "icmp"], "ports": [9999, "7000-7009"]},
  {"name": "names", "agents": ["spiffe://example.org/agent/a1"], "services": ["dns"], "protocols": ["udp"], "ports": [53]}]}
END
cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [
  {"id": "echo", "backends": [
    {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
    {"protocol": "udp", "port": 7009, "to": "127.0.0.1:7009"},
    {"protocol": "tcp", "port": 7000, "to": "127.0.0.1:7000"},
    {"protocol": "tcp", "port": 7001, "to": "127.0.0.1:7001"}]},
  {"id": "dns", "backend": "127.0.0.1:53", "protocol": "udp",
   "check": {"type": "udp", "send": "well?", "expect": "well?", "every": "500ms", "timeout": "200ms", "fail_after": 1}},
  {"id": "other", "backend": "127.0.0.1:7000", "protocol": "tcp"}]}}
END
agent_json a1
sed 's/, "tun": "ztna0"//' "$T/agent-a1.json" >"$T/agent-ports.json"
start_backend
start names conn "$TOOL" echo 127.0.0.1:53
start tcp conn "$TCP" serve 7000=flood
start_relay
start_connector
wait_for 5 is_ready conn

check no_agent_runs why 4 echo:9999 -- '^agent +failed +http://127.0.0.1:9090/status takes no connections' \
  '^echo port 9999 cannot be reached: .* Who can fix it: whoever runs this machine: start the agent'
AT=conn check a_connector_is_no_agent why 4 echo --http 127.0.0.1:9090 -- 'runs a connector, not an agent'

# --- an agent without a TUN

start ports agent "$ZTNA" agent --config "$T/agent-ports.json" --forward 127.0.0.1:7000=echo:7000
wait_for 5 is_ready agent && wait_for 5 state echo up
check without_a_tun_nothing_is_tried_and_that_is_said why 0 echo:7000 -- \
  '^address +ok +10.100.0.2, fd5a:10::2 \(no TUN: only by --forward or SOCKS\)' '^use +ok +open' \
  '^try +left-out +the agent has no TUN' 'as far as the agent knows; it was not tried'
stop ports

start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 ||
  not_ok up "the agent has no routes"

# --- all is well

check tcp_is_tried why 0 echo:7000 -- '^agent +ok ' '^certificate +ok +spiffe://example.org/agent/a1, [0-9]+ days left' \
  '^relay +ok +192.168.1.2:4433, [0-9.]+ ms' '^service +ok +echo is up' \
  '^address +ok +10.100.0.2, fd5a:10::2, routed into ztna0' '^use +ok +open at spiffe://example.org/connector/c1' \
  '^path +ok +(over the relay|direct)' '^grant +ok +rule "staff": udp, tcp, icmp on 7000-7009, 9999' \
  '^try +ok +TCP to 10.100.0.2:7000, answered' '^echo port 7000 \(tcp\) can be reached\.$'
check udp_is_tried why 0 echo:9999 --protocol udp -- '^try +ok +UDP to 10.100.0.2:9999' 'echo port 9999 \(udp\) can be reached'
check without_a_port_it_is_pinged why 0 echo -- '^try +ok +ping of 10.100.0.2, answered' 'echo \(icmp\) can be reached'
check an_address_will_do why 0 '[fd5a:10::2]:7000' -- 'TCP to \[fd5a:10::2\]:7000, answered' '^echo port 7000'
check the_protocol_follows_from_the_grant why 0 dns:53 --config "$T/agent-a1.json" -- '^dns port 53 \(udp\) can be reached'
check what_is_not_allowed_is_not_tried why 0 dns -- '^try +left-out +no ICMP is allowed; give a port'
check json_says_the_same why 0 echo:7000 --json -- '"schema": "ztna.why/1"' '"reachable": true' '"step": "try"' '"result": "ok"'

# --- wrong use

check a_port_must_be_one why 2 echo:http -- 'want SERVICE:PORT'
check udp_needs_a_port why 2 echo --protocol udp -- 'want a port'

# --- names and rules

check an_unknown_service_is_said_with_the_nearest why 5 ecko:7000 -- \
  '^service +failed +ecko; did you mean "echo"\? \[no-such-service\]' \
  '^ecko port 7000 cannot be reached: no service of this name is known to the relay\. Who can fix it: whoever configures the connector or typed the name\.'
check strangers_do_not_pile_up why 5 ekko -- 'no-such-service'
check but_for_the_last bash -c "! ip netns exec $N-agent $ZTNA status --http 127.0.0.1:9090 --json | grep -q ecko"
check what_no_rule_allows_is_said why 5 other:7000 -- '^service +failed +other \[not-allowed\]' \
  'no rule of the policy allows this identity .* Who can fix it: the administrator of the policy\.'
check a_port_that_is_not_granted_is_said why 5 echo:22 -- \
  '^grant +failed +no tcp port 22; rule "staff": udp, tcp, icmp on 7000-7009, 9999 \[port-not-allowed\]' 'the administrator of the policy'
check a_protocol_that_is_not_granted_is_said why 5 dns:53 --protocol tcp --json -- '"failed": "grant"' \
  '"reason": "port-not-allowed"' '"fix": "the administrator of the policy"' '"reachable": false'
check a_port_without_backend_is_said why 5 echo:7002 -- '^grant +ok' \
  '^backend +failed +no connector has a backend for tcp port 7002 \[port-not-allowed\]' 'whoever configures the connector'

# --- the service's machine

check who_listens_not_is_said why 5 echo:7001 -- '^try +failed +TCP to 10.100.0.2:7001: refused \[backend-refused\]' 'Who can fix it: whoever runs the service\.'
check by_udp_too why 5 echo:7009 --protocol udp -- '^try +failed +UDP to 10.100.0.2:7009: refused \[backend-refused\]'
stop names KILL
wait_for 3 state dns backend-down
check a_failing_health_check_is_said why 4 dns:53 -- '^service +failed +dns is known \[backend-down\]' \
  "the service's health check fails. Who can fix it: whoever runs the service"

# --- this machine

for net in "-4 10.100.0.2" "-6 fd5a:10::2"; do
  on agent ip ${net% *} route add ${net#* } dev v1a table 77
  on agent ip ${net% *} rule add to ${net#* } lookup 77
done
check a_route_past_the_tun_is_said why 4 echo -- '^address +failed +this machine does not route 10.100.0.2 into ztna0' \
  'another route, rule or VPN'
for net in "-4 10.100.0.2" "-6 fd5a:10::2"; do
  on agent ip ${net% *} rule del to ${net#* } lookup 77
done

# --- connector and relay end

stop connector
wait_for 3 state echo no-connector
check a_stopped_connector_is_said why 4 echo:9999 -- '^service +failed +echo is known \[no-connector\]' 'Who can fix it: whoever runs the connector'
stop relay
wait_for 3 bash -c "! ip netns exec $N-agent $ZTNA status --http 127.0.0.1:9090 --json | grep -q '\"connected\": true'"
check a_stopped_relay_is_said why 4 echo:9999 -- '^relay +failed +192.168.1.2:4433: .*\[(relay-unreachable|shutting-down)\]'

# --- a relay that lets a connector offer what its certificate does not name

issue connector c9 --service other
sed -e 's/connector-c1/connector-c9/g' "$T/connector.json" >"$T/connector-c9.json"
start blind relay "$BLIND" relay --config "$T/relay.json"
start false_connector conn "$BLIND" connector --config "$T/connector-c9.json"
wait_for 5 is_ready conn && wait_for 5 state echo up
check a_certificate_without_the_service_is_said why 5 echo:9999 -- '^use +failed +refused \[identity-mismatch\]' \
  'Who can fix it: whoever configured the address or issued the certificate'
stop blind

# --- a relay under another name

on relay ip addr add 192.168.1.9/24 dev v1b
stop agent
agent_json a1 192.168.1.9:4433
start_relay
start_agent
wait_for 3 grep -q 'reason=identity-mismatch by=peer' "$T/agent.log"
check a_relay_with_another_name_is_said why 5 echo:9999 -- '^relay +failed +192.168.1.9:4433: .*\[identity-mismatch\]'
stop agent
exit "${FAILED:-0}"
