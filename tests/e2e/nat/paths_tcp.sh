#!/bin/bash
# paths_tcp.sh (make check-long) - a download, an upload and an ssh session at
# which somebody types live through everything that happens to the paths of their
# link, one event after another: nothing is missing, nothing is reset.
#   RATE=100mbit BYTES=1200000000 tests/e2e/nat/paths_tcp.sh
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/paths_lib.sh
. tests/e2e/servers.sh
TCP=${TCP:-${ZTNA%/*}/tests/tool_tcp}
lab_need tc dropbear dbclient dropbearkey "$LINK" "$TCP"
RATE=${RATE:-100mbit}       # of the agent's line, each way
BYTES=${BYTES:-1200000000}  # each way: longer than all events take
EVENTS=${EVENTS:-cut agent router connector routers cable relays}
STALL=${STALL:-5000}        # ms

connector_json() { # RELAY
  local p list=
  for p in 22 70 71; do
    list="$list, {\"protocol\": \"tcp\", \"port\": $p, \"to\": \"127.0.0.1:$p\"}"
  done
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["$1"], "services": [
  {"id": "echo", "backends": [{"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"}$list]}]}}
END
}
up() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"], "services": ["echo"], "protocols": ["tcp", "udp", "icmp"]}]}
END
  lab_pki && lab_up port-restricted-np firewall 2 || return
  servers_host conn
  start_ssh 22 && start_tcp_tool 70=sink 71=source && lab_programs || return
  on nat-agent tc qdisc add dev lan root tbf rate "$RATE" burst 256k latency 50ms &&
    on nat-agent tc qdisc add dev wan root tbf rate "$RATE" burst 256k latency 50ms
}

# --- who is there meanwhile

transfer() { # get|put PORT
  on agent "$TCP" "$1" "10.100.0.2:$2" "bytes=$BYTES" >"$T/$1" 2>&1 &
  eval "PID_$1=$!"
  PIDS="$PIDS $!"
}
# A line typed every 100 ms, until $T/enough is there; each is answered with the
# time when it was.
type_lines() {
  local i=0
  while [ ! -e "$T/enough" ]; do
    i=$((i + 1))
    echo "$i"
    sleep 0.1
  done
  echo end
}
session() {
  type_lines | ssh_to 'while read l; do echo got $l; [ $l != end ] || exit 0; done; exit 9' |
    while read -r got n; do echo "$got $n $(now_ms)"; done >"$T/session"
}
ssh_to() {
  on agent bash -c "$(declare -f ssh_client); T=$T; ssh_client 10.100.0.2 22 '$1'"
}
session_is_whole() { # every line, once, in order, and the end
  tr -d '\r' <"$T/session" | awk '$2 == "end" { ended = 1; next }
    $2 != ++n { print "line " $2 " where " n " was due"; exit bad = 1 }
    last && $3 - last > stall { stall = $3 - last }
    { last = $3 }
    END { print "# ssh: " n " lines, longest pause " stall " ms"; exit bad || !ended || n < 50 }'
}
is_whole() { # get|put
  wait "$(pid_of "$1")"
  local code=$?
  sed "s/^/# $1: /" "$T/$1"
  [ $code = 0 ] && [ "$(sed -n 's/.*stall_ms=\([0-9]*\).*/\1/p' "$T/$1")" -le "$STALL" ]
}
is_running() { [ -r "/proc/$1/stat" ] && [ "$(cut -d' ' -f3 "/proc/$1/stat")" != Z ]; }
are_running() {
  local p
  for p in get put; do is_running "$(pid_of $p)" || { cat "$T/$p"; return 1; }; done
  is_running "$SESSION"
}

# --- what happens

ready_again() { wait_for 15 uses direct && wait_for 10 has_paths 3 || { link_of; return 1; }; }
event() { # NAME COMMAND...
  local name=$1
  shift
  check "before_${name}_it_is_direct" ready_again
  check "$name" happens "$name" "$STALL" "$@"
  check "${name}_resets_nothing" are_running
}
both_flushed() { flush_nat agent && flush_nat conn; }
pulled() { unplug agent && sleep 1 && plug agent; }
relays_restart() { # one after the other, over them only
  cut_direct
  kill_relay 1
  sleep 1
  start_relay
  wait_for 8 has_paths 2
  kill_relay 2
  sleep 1
  start_relay2
  wait_for 8 has_paths 2
  heal_direct
}

up || { not_ok link "$(cat "$T/cert.out")"; exit 1; }
transfer get 71
transfer put 70
session &
SESSION=$!
PIDS="$PIDS $SESSION"
echoes_start 10000
check it_is_direct ready_again
sleep 2
for e in $EVENTS; do
  case $e in
  cut)
    event the_direct_path_is_cut cut_direct
    check it_goes_on_over_the_relay eval 'sleep 2; are_running && uses relay'
    heal_direct
    ;;
  agent) event the_agent_moves new_address agent ;;
  router) event its_router_forgets flush_nat agent ;;
  connector) event the_connector_moves new_address conn ;;
  routers) event both_routers_forget both_flushed ;;
  cable) event the_cable_is_pulled_for_a_second pulled ;;
  relays) event both_relays_restart_in_turn relays_restart ;;
  esac
done
check at_the_end_it_is_direct ready_again
check all_happened_during_the_transfers are_running
touch "$T/enough"
check the_session_missed_nothing eval 'wait_for 10 grep -q "got end" "$T/session"; session_is_whole'
check the_download_is_whole is_whole get
check the_upload_is_whole is_whole put
exit "${FAILED:-0}"
