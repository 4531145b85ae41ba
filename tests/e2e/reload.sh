#!/bin/bash
# reload.sh - other services while the connector runs: users of what stays
# notice nothing, agents hear of what comes and goes, mistakes change nothing.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip
TCP=${TOOL%/*}/tool_tcp

get() { # HOST PATH
  on "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET $2 HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3"
}
value() { get "$1" /metrics | tr -d '\r' | awk -v m="$2" '$1 == m { print $2 }'; }
is() { [ "$(value conn "ztna_connector_config_$1")" = "$2" ]; } # METRIC VALUE
status_has() { ready conn | grep -qF -- "$1"; }
n_logged() { grep -cF -- "$1" "$T/${2:-connector}.log"; }

backend() { echo "{\"protocol\": \"$1\", \"port\": $2, \"to\": \"127.0.0.1:$3\"}"; }
service() { # ID BACKEND...
  local id=$1 list=
  shift
  for b in "$@"; do list="$list${list:+, }$b"; done
  echo "{\"id\": \"$id\", \"backends\": [$list]}"
}
echo_service=$(service echo "$(backend udp 9999 9999)" "$(backend tcp 7 7)" "$(backend tcp 78 78)")
# config SERVICE...: written beside the file and renamed, as careful people do
config() {
  local s list=
  for s in "$@"; do list="$list${list:+,
}$s"; done
  cat >"$T/etc/connector.new" <<END
{$(identity "$T/connector-c1" | sed "s|\"ca.pem|\"$T/ca.pem|"), "http": {"listen": "127.0.0.1:${HTTP_PORT:-9090}"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [
$list]}}
END
  mv "$T/etc/connector.new" "$T/etc/connector.json"
}
route_list() { on agent ip route show dev ztna0 | sed 's/ .*//' | sort; }
new_route() { route_list | comm -13 "$T/routes" - | grep . ; }
connects() { on agent timeout 2 bash -c "exec 3<>/dev/tcp/$1/$2"; }
hup() { kill -HUP "$(pid_of "${1:-connector}")"; }

mkdir "$T/etc" # nothing else in it
net_up
cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/*"], "services": ["*"], "protocols": ["udp", "icmp", "tcp"]}]}
END
{ pki && rm -f "$T"/connector-c1.* && issue connector c1 --service echo --service extra --service more --service most; } ||
  { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
config "$echo_service"
start_backend
start tcp conn "$TCP" serve 7=echo 78=flood
start_relay
start connector conn "$ZTNA" connector --config "$T/etc/connector.json"
wait_for 5 is_ready conn
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 ||
  not_ok up "the agent has no routes"
check there_is_traffic on agent "$TOOL" count 10.100.0.2:9999 3 1000

# --- added and removed

added() {
  local began
  route_list >"$T/routes"
  config "$echo_service" "$(service extra "$(backend udp 9999 9999)" "$(backend tcp 7 7)")"
  began=$(now_ms)
  wait_for 3 new_route || { echo "no route"; return 1; }
  EXTRA=$(new_route)
  connects "$EXTRA" 7 || return 1
  echo "# $EXTRA reached $(($(now_ms) - began)) ms after the change"
  [ $(($(now_ms) - began)) -le 1000 ] && on agent "$TOOL" count "$EXTRA:9999" 3 1000
}
removed() { # its TCP connections end, its route goes
  local began client
  on agent "$TCP" rr "$EXTRA:7" seconds=20 gap_ms=50 >"$T/gone.out" 2>&1 &
  client=$!
  sleep 0.5
  kill -0 $client || { cat "$T/gone.out"; return 1; }
  config "$echo_service"
  began=$(now_ms)
  wait_for 3 eval '! new_route' || { echo "route stays"; return 1; }
  echo "# route gone $(($(now_ms) - began)) ms after the change"
  [ $(($(now_ms) - began)) -le 1000 ] || return 1
  wait_for 2 eval "! kill -0 $client" || { kill $client; echo "its connection stays"; return 1; }
  ! wait $client
}
check an_added_service_is_reached_within_a_second added
check a_removed_one_is_gone_within_a_second removed
check and_the_agent_says_why grep -q 'reason=no-such-service' "$T/agent.log"

# --- mistakes

broken() {
  config "$echo_service" '{"id": "more", "backends": [{"protocol": "upd", "to": "127.0.0.1:9"}]}' '{"id": "stranger", "backend": "127.0.0.1:9", "portocol": "udp"}'
  wait_for 2 is ok 0
}
both_logged() {
  grep -q 'err .*connector.json:4: connector.services\[1\].backends\[0\].protocol' "$T/connector.log" &&
    grep -q 'err .*connector.json:5: .*portocol' "$T/connector.log" &&
    grep -q 'not reloaded, the former configuration stays in force .*mistakes=' "$T/connector.log"
}
fixed() {
  config "$echo_service" "$(service more "$(backend udp 9999 9999)")"
  wait_for 2 is ok 1 && ! status_has '"error"' && wait_for 1 new_route
}
foreign() { # a service of somebody else's
  config "$echo_service" "$(service foreign "$(backend udp 9999 9999)")"
  wait_for 2 status_has 'the certificate does not name'
}
check a_broken_file_is_noticed broken
check the_log_names_every_mistake_with_its_line both_logged
check status_says_so status_has '"ok":false'
check status_says_what status_has 'connector.json:4: connector.services[1]'
check the_metric_counts_it is reload_failures_total 1
check what_was_configured_is_in_force on agent "$TOOL" count 10.100.0.2:9999 3 1000
check a_service_that_the_certificate_does_not_name_is_a_mistake foreign
check a_fixed_file_clears_it fixed

# --- without a rename, without inotify, without effect

in_place() {
  local n
  n=$(value conn ztna_connector_config_reloads_total)
  cp "$T/etc/connector.json" "$T/copy"
  { cat "$T/copy"; sleep 0.05; echo; } >"$T/etc/connector.json"
  wait_for 2 eval "[ \$(value conn ztna_connector_config_reloads_total) -gt $n ]"
}
by_signal() { # the link's directory is watched, not where it leads to
  local n
  mkdir "$T/real"
  cp "$T/etc/connector.json" "$T/real/connector.json"
  ln -s ../real/connector.json "$T/etc/connector.new"
  mv "$T/etc/connector.new" "$T/etc/connector.json"
  sleep 0.5
  n=$(value conn ztna_connector_config_reloads_total)
  route_list >"$T/routes"
  sed -i 's/"id": "more"/"id": "most"/' "$T/real/connector.json"
  sleep 0.4
  is reloads_total "$n" || { echo "noticed without a signal"; return 1; }
  hup
  wait_for 1 is reloads_total $((n + 1)) && wait_for 1 new_route
}
restart_needed() {
  HTTP_PORT=9191 config "$echo_service"
  wait_for 2 grep -q 'not in force before a restart: http.listen' "$T/connector.log" &&
    status_has '"needs_restart":"http.listen"'
}
agent_lives() {
  hup agent
  wait_for 1 grep -q 'agent: SIGHUP: certificates are read again' "$T/agent.log" &&
    on agent "$TOOL" count 10.100.0.2:9999 3 1000
}
check a_file_written_in_place_is_read in_place
check sighup_reads_what_was_not_noticed by_signal
check what_needs_a_restart_is_named restart_needed
check an_agent_survives_sighup agent_lives

# --- a hundred changes under load

variant() { # other services around the same one, every tenth time a mistake
  local a b
  a=$(service extra "$(backend udp 9999 $((9000 + $1 % 7)))")
  b=$(service more "$(backend tcp 7 7)" "$(backend udp 53 $((9000 + $1 % 3)))")
  case $(($1 % 10)) in
  0) config "$echo_service" '{"id": "echo"}' ;;
  [123]) config "$a" "$echo_service" ;;
  [456]) config "$b" "$a" "$echo_service" ;;
  7) config "$echo_service" "$b" ;;
  *) config "$echo_service" ;;
  esac
}
start_load() {
  start udp agent "$TOOL" count 10.100.0.2:9999 550 20000
  start rr agent "$TCP" rr 10.100.0.2:7 seconds=11 gap_ms=10
  start bulk agent "$TCP" bulk down 10.100.0.2:78 streams=2 seconds=11
  start crr agent sh -c "for i in 1 2 3 4 5 6 7 8 9 10 11; do $TCP crr 10.100.0.2:7 seconds=1 n=1 || exit 1; done"
}
ended_well() { # NAME: how a client ended
  wait "$(pid_of "$1")"
  local code=$?
  sed "s/^/# $1: /" "$T/$1.log"
  [ $code = 0 ]
}
changes() {
  local i n bad
  n=$(value conn ztna_connector_config_reloads_total)
  bad=$(value conn ztna_connector_config_reload_failures_total)
  for i in $(seq 1 120); do
    variant "$i"
    hup
    sleep 0.04
  done
  n=$(($(value conn ztna_connector_config_reloads_total) - n))
  bad=$(($(value conn ztna_connector_config_reload_failures_total) - bad))
  echo "# $n reloads, $bad refused, $(kill -0 "$(pid_of udp)" && echo all under load || echo the last without load)"
  [ "$n" -ge 100 ] && [ "$bad" -ge 10 ]
}
start_load
sleep 0.5
check a_hundred_changes changes
check none_of_them_lost_a_datagram_of_others ended_well udp
check nor_a_connection_of_others ended_well rr
check nor_their_bulk ended_well bulk
check nor_a_new_connection ended_well crr
check the_path_was_the_same_all_the_time eval '[ "$(n_logged "path live" agent)" = 1 ]'
check the_connector_ends_in_peace stop connector
check nobody_is_told_of_internal_mistakes eval '! grep -hiE "assert|internal|sanitizer" "$T"/*.log'
exit "${FAILED:-0}"
