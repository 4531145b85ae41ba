#!/bin/bash
# health.sh - backends and connectors that end: users hear of it at once, go to
# another connector where there is one, and come back.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ping
TCP=${TOOL%/*}/tool_tcp

get() { # HOST PATH
  on "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET $2 HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3"
}
value() { get "$1" /metrics | tr -d '\r' | awk -v m="$2" '$1 == m { print $2 }'; }
is() { [ "$(value "$1" "$2")" = "$3" ]; } # HOST METRIC VALUE
state() { # SERVICE STATE: as the agent knows it
  ready agent | tr -d ' \n' | grep -q "\"id\":\"$1\",\"state\":\"$2\""
}
status_has() { on conn "$ZTNA" status --http 127.0.0.1:9090 | grep -qF -- "$1"; }

# connector NAME: echo over UDP with a check, and slow TCP; `dns` and `other`
# are checked by HTTP, at a page that is there and at what is no HTTP.
udp_check='"check": {"type": "udp", "send": "are you\\x20well?", "expect": "you well", "every": "500ms", "timeout": "200ms", "fail_after": 3}'
connector_with_checks() {
  cat >"$T/connector-$1.json" <<END
{$(identity "connector-$1"), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["$2:4433"], "drain_timeout": "8s", "services": [
  {"id": "echo", $udp_check, "backends": [
    {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
    {"protocol": "tcp", "port": 7000, "to": "127.0.0.1:7000"},
    {"protocol": "tcp", "port": 7001, "to": "127.0.0.1:7001"}]}$3]}}
END
}
start_one() { start connector conn "$ZTNA" connector --config "$T/connector-c1.json"; }
start_two() { start connector2 conn2 "$ZTNA" connector --config "$T/connector-c2.json"; }
start_echo() { start "backend_$1" "$1" "$TOOL" echo 127.0.0.1:9999; }

# Replies to a stream of echoes, by the time they came.
first() { awk -v t="$1" '$2 >= t { print $2 - t; exit }' "$T/udp"; }
came() { [ -n "$(first "$1")" ]; }
asks() { start "$1" agent sh -c "exec $TOOL stream 10.100.0.2:9999 20000 >>$T/udp"; }
used() { # the connector's host that packets go through now
  local a b
  a=$(value conn ztna_connector_to_backend_packets_total)
  b=$(value conn2 ztna_connector_to_backend_packets_total)
  sleep 0.3
  if [ "$(value conn ztna_connector_to_backend_packets_total)" -gt "${a:-0}" ]; then echo conn
  elif [ "$(value conn2 ztna_connector_to_backend_packets_total)" -gt "${b:-0}" ]; then echo conn2
  fi
}
program() { [ "$1" = conn ] && echo connector || echo connector2; }
other() { [ "$1" = conn ] && echo conn2 || echo conn; }
start_again() { if [ "$1" = conn ]; then start_one; else start_two; fi; }

host conn2
net_up
link conn2 relay 3
cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/*"], "services": ["*"], "protocols": ["udp", "icmp", "tcp"]}]}
END
{ pki && issue connector c2 --service echo; } || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
connector_with_checks c1 192.168.2.2 ',
  {"id": "dns", "backend": "127.0.0.1:9090", "protocol": "tcp", "check": {"type": "http", "path": "/healthz", "every": "500ms"}},
  {"id": "other", "backend": "127.0.0.1:7001", "protocol": "tcp", "check": {"type": "http", "every": "500ms"}}'
connector_with_checks c2 192.168.3.2 ''
for h in conn conn2; do
  start_echo $h
  start "tcp_$h" $h "$TCP" serve 7000=slow:5 7001=flood
done
start_relay
start_one
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 ||
  not_ok up "the agent has no routes"

# --- one connector: its backend ends and returns

check a_service_that_passes_its_check_is_up wait_for 3 state echo up
check a_page_that_is_there_is_well wait_for 3 is conn 'ztna_connector_service_up{service="dns"}' 1
check what_speaks_no_http_is_not is conn 'ztna_connector_service_up{service="other"}' 0
check status_says_what_is_wrong_with_it wait_for 5 status_has "no HTTP answer"
check and_the_agent_knows wait_for 3 state other backend-down
check ping_works on agent ping -c 1 -W 2 10.100.0.2

goes_down() {
  stop backend_conn KILL
  local killed took
  killed=$(now_ms)
  wait_for 4 state echo backend-down || return 1
  took=$(($(now_ms) - killed))
  echo "# withdrawn $took ms after the backend's end"
  [ $took -le 1700 ] # 3 x 500 ms, and asking for the state
}
unreachable() { on agent ping -c 1 -W 2 10.100.0.2 | grep -q 'Destination Host Unreachable'; }
comes_back() {
  local started
  start_echo conn
  started=$(now_ms)
  wait_for 4 state echo up && on agent ping -c 1 -W 1 10.100.0.2 || return 1
  echo "# back $(($(now_ms) - started)) ms after the backend"
}
check a_dead_backend_is_withdrawn_within_interval_x_threshold goes_down
check ping_says_unreachable_then unreachable
check the_metric_says_so is conn 'ztna_connector_service_up{service="echo"}' 0
check the_status_says_why status_has "Connection refused"
check the_log_says_so grep -q 'service down service=echo reason=backend-down' "$T/connector.log"
check it_returns_with_its_backend comes_back

# --- two connectors: one is killed

start_two
wait_for 5 is_ready conn2
asks stream
wait_for 5 came "$(now_ms)" || not_ok traffic "no echoes to begin with"

dies() { # the one that is used, while it is used
  local h killed took
  h=$(used)
  stop "$(program "$h")" KILL
  killed=$(now_ms)
  wait_for 5 came "$killed"
  took=$(first "$killed")
  echo "# $h killed: an echo came back by another connector after ${took:-never} ms"
  sleep 0.5
  [ "$(used)" = "$(other "$h")" ] || { echo "not moved"; return 1; }
  start_again "$h"
  wait_for 5 is_ready "$h"
  [ "${took:-9999}" -le 1500 ]
}
dies_unseen() { # and somebody begins anew two seconds later
  local h began took
  h=$(used)
  stop stream
  sleep 0.5
  stop "$(program "$h")" KILL
  sleep 2
  asks stream
  began=$(now_ms)
  wait_for 5 came "$began"
  took=$(first "$began")
  echo "# $h killed unseen: the first echo after ${took:-never} ms"
  start_again "$h"
  wait_for 5 is_ready "$h"
  [ "${took:-9999}" -le 1500 ]
}
dies_before_a_connection() { # by TCP, begun at the moment of the end
  local h began took
  h=$(used)
  stop "$(program "$h")" KILL
  began=$(now_ms)
  on agent timeout 5 bash -c 'exec 3<>/dev/tcp/10.100.0.2/7000'
  took=$(($(now_ms) - began))
  echo "# $h killed: a TCP connection was there after $took ms"
  start_again "$h"
  wait_for 5 is_ready "$h"
  [ $took -le 1500 ]
}
for i in 1 2 3; do
  check "users_of_a_killed_connector_are_on_another_$i" dies
done
for i in 1 2; do
  check "and_who_did_not_use_it_then_$i" dies_unseen
done

check and_who_connects_then dies_before_a_connection

# --- one is drained

drains() { # what runs stays, what begins goes to the other
  local h o n
  h=$(used)
  o=$(other "$h")
  kill -USR1 "$(pid_of "$(program "$h")")"
  wait_for 2 is "$h" ztna_connector_draining 1 || return 1
  sleep 0.5
  [ "$(used)" = "$h" ] || { echo "the stream left $h"; return 1; }
  n=$(value "$o" ztna_connector_to_backend_packets_total)
  on agent "$TOOL" count 10.100.0.2:9999 20 2000 || return 1
  [ "$(value "$o" ztna_connector_to_backend_packets_total)" -ge $((n + 20)) ] || return 1
  kill -USR1 "$(pid_of "$(program "$h")")"
  wait_for 2 is "$h" ztna_connector_draining 0
}
check a_draining_connector_keeps_flows_and_gets_no_new_ones drains

ends_after_its_tcp_flows() { # 5 bytes take 5 seconds
  local h p began took code client
  h=$(used)
  p=$(program "$h")
  on agent "$TCP" probe 10.100.0.2:7000 >"$T/slow.out" 2>&1 &
  client=$!
  sleep 1
  is "$h" ztna_connector_tcp_flows 1 || h=$(other "$h") p=$(program "$h")
  is "$h" ztna_connector_tcp_flows 1 || { echo "no TCP flow"; cat "$T/slow.out"; return 1; }
  began=$(now_ms)
  stop "$p"
  code=$?
  took=$(($(now_ms) - began))
  wait $client
  echo "# $p ended $took ms after SIGTERM, its client saw: $(tr '\n' ' ' <"$T/slow.out")"
  start_again "$h"
  wait_for 5 is_ready "$h"
  [ $code = 0 ] && [ $took -ge 2000 ] && [ $took -le 7000 ] &&
    ! grep -qi reset "$T/slow.out"
}
check a_stop_waits_for_tcp_flows ends_after_its_tcp_flows
sleep 1
ends_at_once() {
  local h began took
  h=$(used)
  began=$(now_ms)
  stop "$(program "$h")" || return 1
  took=$(($(now_ms) - began))
  wait_for 3 came $((began + took)) || return 1
  echo "# $h ended in $took ms without TCP flows, the next echo came $(first $((began + took))) ms later"
  [ $took -le 1500 ] && [ "$(first $((began + took)))" -le 1500 ]
}
check and_for_nothing_else ends_at_once
check nobody_is_told_of_mistakes eval '! grep -hiE "assert|internal" "$T"/*.log'
exit "${FAILED:-0}"
