#!/bin/bash
# renewal.sh (make check-long) - certificates that live for half a minute are
# renewed, by agent and connector, again and again under traffic: no ping is lost
# but a few, no TCP connection ends.
#   LIFE=30 MINUTES=2 tests/e2e/renewal.sh
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/enroll_lib.sh
need ip ping
TCP=${TOOL%/*}/tool_tcp
LIFE=${LIFE:-30} MINUTES=${MINUTES:-2}

everybody_is_enrolled() {
  token relay --role relay --name r1 --ip 192.168.1.2 --ip 192.168.2.2 &&
    token agent --role agent --name a1 --lifetime "${LIFE}s" &&
    token conn --role connector --name c1 --service echo --service dns --lifetime "${LIFE}s" &&
    enroll relay "$T/relay.token" "$T/r" && enroll conn "$T/conn.token" "$T/c" &&
    enroll agent "$T/agent.token" "$T/a" --relay 192.168.1.2:4433 && configurations
}
they_run() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"], "services": ["*"], "protocols": ["udp", "tcp", "icmp"]}]}
END
  sed -i 's|"backends": \[{"protocol": "udp", "port": 9999|"backends": [{"protocol": "tcp", "port": 7, "to": "127.0.0.1:7"}, {"protocol": "udp", "port": 9999|' "$T/connector.json"
  start_backend
  start serve conn "$TCP" serve 7=echo
  start_relay
  start_connector
  wait_for 5 is_ready conn || return
  start agent agent "$ZTNA" agent --config "$T/a/agent.json"
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 &&
    on agent ping -q -c 3 -i 0.1 -W 2 10.100.0.2
}
certificates_were_renewed() { # each at two thirds of its life
  local n role
  for role in agent/a1 connector/c1; do
    n=$(grep -c "issued identity=spiffe://example.org/$role .* renews=" "$T/ca.log")
    echo "# $role renewed $n times in $MINUTES min"
    [ "$n" -ge $((MINUTES * 60 / LIFE)) ] && [ "$n" -le $((MINUTES * 60 * 2 / LIFE)) ] || return
  done
  ! grep 'renewal: failed' "$T/agent.log" "$T/connector.log"
}
pings_went_on() { pings_lost $((MINUTES * 4)) $((MINUTES * 500)); } # of 20 a second
one_tcp_connection_went_on() { # a question each 100 ms
  local code
  wait "$(pid_of rr)"
  code=$?
  sed 's/^/# /' "$T/rr.log"
  [ $code = 0 ]
}

hosts_up
service ca 4435
wait_for 5 grep -q listening "$T/ca.log"
check everybody_is_enrolled everybody_is_enrolled
check they_run they_run
start rr agent "$TCP" rr 10.100.0.2:7 seconds=$((MINUTES * 60)) gap_ms=100
watch_pings
sleep $((MINUTES * 60))
check certificates_were_renewed certificates_were_renewed
check pings_went_on pings_went_on
check one_tcp_connection_went_on one_tcp_connection_went_on
exit "${FAILED:-0}"
