#!/bin/bash
# metrics.sh - every role's local pages: what a monitor reads.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping
get() { # HOST PATH
  on "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET $2 HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3"
}
value() { get "$1" /metrics | awk -v m="$2" '$1 == m { print $2 }'; }

net_up && pki && relay_json && connector_json && agent_json a1
start_relay && start_connector && start_agent
check every_role_says_that_it_is_ready wait_for 5 eval 'is_ready relay && is_ready conn && is_ready agent'
check a_packet_crosses wait_for 5 on agent ping -c 1 -W 1 10.100.0.2
on agent ping -c 20 -i 0.02 10.100.0.2 >"$T/ping.out" 2>&1

for h in relay conn agent; do
  check "metrics_of_${h}_are_prometheus_text" eval \
    "get $h /metrics | tr -d '\r' | sed '1,/^\$/d' | awk '
       /^# (HELP|TYPE) [a-z_]+ ./ { next }
       /^[a-z_]+(\{[a-z]+=\"[a-z-]+\"\})? [0-9]+\$/ { n++; next }
       { print; bad = 1 } END { exit bad || n < 10 }'"
done
check forwarded_packets_are_counted test "$(value relay ztna_relay_forwarded_packets_total)" -ge 40
check packets_of_the_agent_are_counted test "$(value agent ztna_agent_path_packets_out_total)" -ge 20
check packets_of_the_connector_are_counted test "$(value conn ztna_connector_path_packets_in_total)" -ge 20
check a_lone_ping_is_never_dropped_by_the_queue test "$(value agent ztna_agent_queue_codel_drops_total)" = 0
exit "${FAILED:-0}"
