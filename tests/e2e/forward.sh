#!/bin/bash
# forward.sh - services on ports of a machine whose user has no privileges:
# forwarded ports and a SOCKS proxy, without a TUN.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
TCP=${TCP:-${ZTNA%/*}/tests/tool_tcp}
SOCKS=${SOCKS:-${ZTNA%/*}/tests/tool_socks}
need ip curl setpriv
PROXY=127.0.0.1:1080

# --- the hosts and programs

config() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"], "services": ["echo", "web"],
  "protocols": ["tcp", "udp"], "ports": ["7-98", 9999]}]}
END
  relay_json
  sed -i 's|"services": {.*}},|"services": {"echo": {"virtual_ips": ["10.100.0.2", "fd5a:10::2"]}, "web": {"virtual_ips": ["10.100.0.4"]}},|' "$T/relay.json"
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [
  {"id": "echo", "backends": [{"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"}$(
    for p in 7 70 71 72 75 81 99; do echo ", {\"protocol\": \"tcp\", \"port\": $p, \"to\": \"127.0.0.1:$p\"}"; done)]},
  {"id": "web", "backends": [{"protocol": "tcp", "port": 80, "to": "127.0.0.1:9090"}]}]}}
END
  agent_json a1
}
issue_all() {
  "$ZTNA" cert init --dir "$T" --trust-domain example.org &&
    issue relay r1 --ip 192.168.1.2 --ip 192.168.2.2 &&
    issue connector c1 --service echo --service web && issue agent a1
}

# What a person without privileges starts.
unprivileged() { setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --no-new-privs "$@"; }
forwards() {
  local p
  for p in 7 70 71 72 75 81; do echo "--forward 80$(printf %02d "$p")=echo:$p"; done
  echo "--forward 127.0.0.1:8080=web:80 --forward [::1]:8080=10.100.0.4:80"
  echo "--forward 5353/udp=echo:9999 --forward 8099=echo:99 --forward 8098=nobody:98"
}
start_ports() {
  start agent agent setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all \
    --no-new-privs "$ZTNA" agent --config "$T/agent-a1.json" $(forwards) --socks5 $PROXY
}

# --- what is seen

page() { on agent curl -sS -m 15 -H 'Host: localhost' "$@" | grep -q '"schema": *"ztna.status/1"'; }
early() { # the page was asked for before the relay was reached
  wait_for 10 grep -q ztna.status "$T/early"
}
no_device() { ! on agent ip link show ztna0 2>/dev/null; }
has_no_privileges() { grep -q '^CapEff:.*0000000000000000$' "/proc/$(agent_pid)/status"; }
agent_pid() { pid_of agent; }
probe() { # PORT WANTED-LINES KEY=VALUE...
  local port=$1 want=$2
  shift 2
  on agent timeout 20 "$TCP" probe "127.0.0.1:$port" "$@" >"$T/probe" 2>&1
  diff "$T/probe" - <<<"$want"
}
as_local() { # PORT KEY=VALUE...
  local port=$1
  shift
  on conn timeout 20 "$TCP" probe "127.0.0.1:$port" "$@" >"$T/here" 2>&1
  probe "80$(printf %02d "$port")" "$(cat "$T/here")" "$@"
}
logged() { grep -q "connection refused from=127.0.0.1:.* service=$1 port=$2 reason=$3: .*; can be fixed by: ." "$T/agent.log"; }
refused() { # PORT SERVICE PORT-THERE REASON: ends at once, by reset, and the log says why
  on agent timeout 5 "$TCP" probe "127.0.0.1:$1" >"$T/probe" 2>&1
  grep -qx 'end=reset' "$T/probe" && logged "$2" "$3" "$4" || { cat "$T/probe"; false; }
}
moves() { on agent timeout 60 "$TCP" "$1" "127.0.0.1:$2" "bytes=$3" >"$T/moves" 2>&1 || { cat "$T/moves"; false; }; }
socks_says() { # CODE HOST PORT
  on agent timeout 20 "$SOCKS" connect $PROXY "$2" "$3" >"$T/socks" 2>&1
  printf 'reply=%s\nend=eof\n' "$1" | diff "$T/socks" -
}
socks_echo() { [ "$(on agent timeout 20 "$SOCKS" connect $PROXY "$1" 7 'hello there')" = "reply=0
hello there" ]; }
socks_udp() { on agent timeout 30 "$SOCKS" udp $PROXY "$@"; }
socks_raw() { # WANTED HEX...
  local want=$1
  shift
  [ "$(on agent timeout 15 "$SOCKS" raw $PROXY "$@")" = "$want" ]
}
udp_sizes() { on agent "$TOOL" sizes 127.0.0.1:5353 "$@"; }
moves_over_a_dead_relay() {
  on agent timeout 60 "$TCP" get 127.0.0.1:8071 bytes=300000000 >"$T/bulk" 2>&1 &
  local job=$!
  sleep 0.5
  stop relay KILL
  sleep 2
  start_relay
  wait $job || { cat "$T/bulk"; false; }
}
says_at_start() { # CODE TEXT FLAGS...
  local code=$1 text=$2
  shift 2
  on agent "$ZTNA" agent --config "$T/agent-a1.json" --http-listen 127.0.0.1:9191 "$@" >"$T/start" 2>&1
  [ $? = "$code" ] && grep -qF -- "$text" "$T/start" || { cat "$T/start"; false; }
}
metric() { on agent curl -sS -m 5 "http://127.0.0.1:9090/metrics" | grep -q "^$1"; }
both_ways() { # a TUN that was asked for, beside a port
  start both agent "$ZTNA" agent --config "$T/agent-a1.json" --tun ztna0 --forward 127.0.0.1:8080=web:80
  wait_for 10 routes agent 10.100.0.2 && page http://127.0.0.1:8080/status &&
    on agent "$TOOL" sizes 10.100.0.2:9999 1 100 9
}
leaves_quietly() {
  stop agent
  [ $? = 0 ] && ! grep -E 'ERROR|Sanitizer' "$T/agent.log"
}

net_up
issue_all >"$T/cert.out" 2>&1 || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
config
chmod 711 "$T"
chown 65534 "$T"/agent-a1.*
start_backend
start tool conn "$TCP" serve 7=echo 70=sink 71=source 72=reply:100000 75=reset:5000 99=echo
start_relay
start_connector
wait_for 10 is_ready conn

on agent ip link set v1a down
start_ports
wait_for 5 grep -q 'socks5 127.0.0.1:1080' "$T/agent.log" ||
  { not_ok agent_listens; exit 1; }
on agent curl -sS -m 15 -H 'Host: localhost' http://127.0.0.1:8080/status >"$T/early" 2>&1 &
PIDS="$PIDS $!"
sleep 0.3
on agent ip link set v1a up
check a_page_asked_for_before_the_relay_is_reached_comes early
check agent_has_no_privileges has_no_privileges
check there_is_no_device no_device
check page_by_port page http://127.0.0.1:8080/status
check page_by_port_v6 page 'http://[::1]:8080/status'
check page_by_socks_and_name page --socks5-hostname $PROXY http://web/status
check page_by_socks_and_capital_name page --socks5-hostname $PROXY http://WEB./status
check page_by_socks_and_address page --socks5 $PROXY http://10.100.0.4/status

check half_close_gets_its_whole_answer as_local 72 send=300000 shut=1
check reset_in_mid_stream_as_local as_local 75 after=1
check down_200_mb moves get 8071 200000000
check up_200_mb moves put 8070 200000000
check refused_backend_is_a_reset_and_logged refused 8081 echo 81 backend-refused
check forbidden_port_is_a_reset_and_logged refused 8099 echo 99 port-not-allowed
check unknown_service_is_a_reset_and_logged refused 8098 nobody 98 no-such-service

check socks_connects_by_name socks_echo echo
check socks_connects_by_v6_address socks_echo fd5a:10::2
check socks_says_refused socks_says 5 echo 81
check socks_says_not_allowed socks_says 2 echo 99
check socks_says_unknown socks_says 4 nobody 80
check socks_knows_no_bind socks_raw 050005070001000000000000 050100 05020001000000000050
check socks_wants_no_password socks_raw 05ff 050102
check other_protocols_are_cut socks_raw "" "$(printf 'GET / HTTP/1.0\r\n\r\n' | od -An -tx1 | tr -d ' \n')"
check socks_udp_by_name socks_udp echo 9999 50 1000
check socks_udp_by_address socks_udp 10.100.0.2 9999 50 3000
check udp_by_port_of_every_size udp_sizes 0 4000 123
check udp_by_port_large udp_sizes 8000 60000 13000
check counts_what_was_refused metric 'ztna_forward_refused_total{reason="backend-refused"} 2'

check bulk_outlives_a_relay_killed_in_its_middle moves_over_a_dead_relay
check a_mistake_names_the_flag says_at_start 2 '--forward: want [ADDR:]PORT[/udp]=SERVICE:PORT' --forward 8080=web
check a_port_in_use_is_said says_at_start 1 '--forward 8080=web:80: its address is in use by another program' --forward 8080=web:80
check a_foreign_address_is_said says_at_start 1 '--socks5 192.0.2.1:1080: its address is no address of this machine' --socks5 192.0.2.1:1080
check ends_well leaves_quietly
check tun_and_ports_together both_ways
exit "${FAILED:-0}"
