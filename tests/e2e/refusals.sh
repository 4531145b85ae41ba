#!/bin/bash
# refusals.sh - what the far end refuses, provoked with the real programs and read
# on the agent's side: `ztna why`, `ztna status` or the agent's log. Those of
# certificates are in threats_cert.sh, of rules and services in why.sh.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need ip ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile TCP=${ZTNA%/*}/tests/tool_tcp
R1=192.168.1.2:4433

# reads REASON TARGET: what `ztna why` says of it
reads() {
  on agent timeout 8 "$ZTNA" why "$2" --http 127.0.0.1:9090 >"$T/why.out" 2>&1
  cat "$T/why.out"
  grep -qF "[$1]" "$T/why.out" && grep -q 'cannot be reached: .* Who can fix it: ' "$T/why.out"
}
# read_soon NAME REASON TARGET: within 5 s
read_soon() { check "$1" wait_for 5 reads "$2" "$3"; }
dropped() { ready agent | tr -d ' \n' | grep -qE "\"dropped\":\{[^}]*\"$1\":[1-9]"; }
works() { on agent ping -c 1 -W 1 10.100.0.2 >/dev/null; }
connector_with() { # [MORE-OF-THE-SERVICE]
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "connect_timeout": "500ms", "services": [{"id": "echo"$1, "backends": [
  {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
  {"protocol": "tcp", "port": 7000, "to": "127.0.0.1:7000"},
  {"protocol": "tcp", "port": 7001, "to": "192.168.2.9:7001"},
  {"protocol": "tcp", "port": 7002, "to": "198.51.100.1:7002"},
  {"protocol": "tcp", "port": 7003, "to": "127.0.0.1:7003"}]}]}}
END
}
policy() { # [MORE-OF-THE-RULE]
  cat >"$T/policy.new" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"], "services": ["*"], "protocols": ["udp", "tcp", "icmp"]$1}]}
END
  mv "$T/policy.new" "$T/policy.json"
}

net_up
pki && issue connector e1 --service dns || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
policy ''
agent_json a1
connector_with ''
start_backend
start tcp conn "$TCP" serve 7000=reset:0 7003=echo
start_relay
start_connector
wait_for 5 is_ready conn
start_agent
# another one has a relay that does not answer; it says so after 5 s
sed 's/9090/9092/; s/ztna0/ztna2/; s/192.168.1.2/192.168.1.77/' "$T/agent-a1.json" >"$T/lonely.json"
start lonely agent "$ZTNA" agent --config "$T/lonely.json"
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 && wait_for 3 works ||
  { not_ok up "the agent has no routes"; exit 1; }

# --- the service's machine

# Nobody has 192.168.2.9: the kernel's "host unreachable" comes after 3 s.
check a_machine_that_is_silent_is_backend_timeout reads backend-timeout echo:7001
check one_that_the_connector_cannot_reach_is_backend_unreachable reads backend-unreachable echo:7002
check a_connection_that_its_machine_resets_is_read_by_the_program bash -c \
  "ip netns exec $N-agent $TCP probe 10.100.0.2:7000 send=10 | grep -i reset"

# --- too much

asks() { # for more services in a second than the relay answers
  on agent bash -c 'for ((i = 0; i < 200; i++)); do exec 3<>/dev/tcp/127.0.0.1/9090
    printf "GET /ask?service=n%d HTTP/1.0\r\nHost: localhost\r\n\r\n" $i >&3; read -r <&3; done'
  wait_for 2 said agent 'service refused service=n[0-9]+ reason=rate-limited: .*can be fixed by'
}
check who_asks_for_too_much_is_rate_limited asks
start second conn "$EVIL" connector "$T" e1 192.168.2.2:4433 dns wait=20000
wait_for 3 grep -q registered=1 "$T/second.log"
policy ', "limits": {"routes": 1}'
wait_for 2 said relay 'policy reloaded'
wait_for 3 works
read_soon a_rule_whose_routes_are_taken_is_too_many_routes too-many-routes dns:53
stop second KILL
policy ''

# --- packets

wait_for 8 works
on agent ping -c 1 -W 1 -M "do" -s 1400 10.100.0.2 >"$T/big.out" 2>&1
check a_packet_that_is_too_big_is_told_to_its_program grep -qiE 'message too long|frag needed' "$T/big.out"

# --- the connector

kill -USR1 "$(pid_of connector)"
stop agent
start_agent
wait_for 5 is_ready agent
read_soon a_connector_that_drains_is_read draining echo:9999
kill -USR1 "$(pid_of connector)"
wait_for 5 works
stop connector
connector_with ', "agents": ["spiffe://example.org/agent/z*"]'
start_connector
wait_for 5 is_ready conn
read_soon a_connector_that_does_not_want_this_agent_is_connector_refused connector-refused echo:9999
start evil conn "$EVIL" connector "$T" e1 192.168.2.2:4433 dns opened \
  "udp=10.100.0.3,53,own,4001" "udp=10.100.0.3,53,192.0.2.1,4000" 'say={"type":"hello","link":"?"}' wait=9000
wait_for 3 grep -q registered=1 "$T/evil.log"
on agent ping -c 1 -W 1 10.100.0.3 >/dev/null 2>&1
check what_nobody_asked_for_is_in_the_status wait_for 3 dropped not-begun-here
check what_is_for_another_machine_is_in_the_status wait_for 3 dropped wrong-destination
check a_connector_that_breaks_its_format_is_malformed wait_for 3 said agent 'reason=malformed'
stop evil KILL

# --- the relay, and this machine

sed 's/9090/9091/; s/ztna0/ztna1/' "$T/agent-a1.json" >"$T/twin.json"
start twin agent "$ZTNA" agent --config "$T/twin.json"
wait_for 3 said twin 'relay connected'
on agent "$ZTNA" why echo --http 127.0.0.1:9091 >/dev/null 2>&1
read_soon a_second_machine_with_the_same_certificate_is_replaced replaced echo:9999
stop relay
check a_relay_that_is_stopped_is_shutting_down wait_for 3 said twin 'relay lost .*reason=shutting-down'
start old relay "$HOSTILE" serve 0.0.0.0:4433 "$T/relay-r1.pem" "$T/relay-r1.key" "$T/ca.pem" ztna/0
stop agent
start_agent
read_soon a_relay_of_another_version_is_unsupported_version unsupported-version echo:9999
stop old
on agent "$ZTNA" why echo --http 127.0.0.1:9092 >"$T/why.out" 2>&1
check a_relay_that_does_not_answer_is_unreachable grep -qF '[relay-unreachable]' "$T/why.out"
exit "${FAILED:-0}"
