#!/bin/bash
# flood.sh - what honest ones see of a relay while somebody floods it: pings and
# new TCP connections through it, new control connections to it, its memory and
# its time; without a flood, and during each. flood_long.sh: more of them, for
# longer, and how long a new agent takes.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile TCP=${ZTNA%/*}/tests/tool_tcp
[ -x "$HOSTILE" ] || skip_all "no $HOSTILE"
SECONDS_EACH=${FLOOD_SECONDS:-1}
R3=192.168.3.2:4433 # the relay, as who is bad sees it
# Connections and their distance, ms: an identity may make two a second for long.
CONNECTS="5 150"
[ "$SECONDS_EACH" = 1 ] || CONNECTS="$((SECONDS_EACH * 2)) 480"
# Packets a second that are sent; what really was is in the table.
INITIALS=${INITIALS:-2000} SPRAY=${SPRAY:-10000} STUNS=${STUNS:-10000}
# KB more than before: 256 handshakes of 97 KB; sixteen connections with what is
# kept for them are less.
GROWTH=32768
case $ZTNA in *san-*) GROWTH=524288 ;; esac

page() { on relay bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3'; }
metric() { page | awk -v p="^($1)" '$1 ~ p { n += $2 } END { print n + 0 }'; }
memory() { awk -v f="^$1" '$0 ~ f { print $2 }' "/proc/$(pid_of relay)/status"; }
ticks() { awk '{ print $14 + $15 }' "/proc/$(pid_of relay)/stat"; }
address_of() { ready relay | grep -oE "\"$1\": *\"[0-9.]+:[0-9]+\"" | head -1 | grep -oE '[0-9.]+:[0-9]+'; }

# share FILE P: that percentile of numbers, a line each
share() { grep -v failed "$1" | sort -n | awk -v p="$2" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999); print NR ? v[i < 1 ? 1 : i] : "-" }'; }

# newcomer: how long another agent takes from its start until it has its routes
# (long only), ms
newcomer() {
  local began
  [ "$SECONDS_EACH" -gt 1 ] || { echo -; return; }
  began=$(now_ms)
  start newcomer agent "$ZTNA" agent --config "$T/agent-a3.json"
  wait_for 9 on agent bash -c 'exec 3<>/dev/tcp/127.0.0.1/9092; printf "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; head -1 <&3 | grep -q 200' &&
    echo $(($(now_ms) - began)) || echo failed
  stop newcomer KILL
}
row() { printf '# %-15s %9s %9s %5s %5s  %5s %5s %3s  %5s %5s %3s  %6s  %6s %6s %6s %4s\n' "$@"; }
table_head() {
  row '' flood pings ping ms TCP ms '' new ms '' agent RSS KB '' CPU
  row '' packets/s answered p50 p99 p50 p99 bad p50 p99 bad ms before peak after %
}

# phase NAME [COMMAND...]: the command floods from the host `bad`
phase() {
  local name=$1 t0 c0 attack= rate=- pings visits answered rss0 peak rss1 cpu new
  shift
  echo 5 >"/proc/$(pid_of relay)/clear_refs"
  rss0=$(memory VmRSS)
  if [ $# != 0 ]; then
    on "${FLOODS:-bad}" "$@" >"$T/attack" 2>"$T/attack.err" &
    attack=$!
    sleep 0.3 # it begins
  fi
  t0=$(now_ms) c0=$(ticks)
  on agent ping -D -i 0.01 -c $((SECONDS_EACH * 90)) -W 1 10.100.0.2 >"$T/ping" 2>&1 &
  pings=$!
  on agent "$HOSTILE" visit 10.100.0.2:7 $((SECONDS_EACH * 8)) 100 >"$T/visits" 2>&1 &
  visits=$!
  # shellcheck disable=SC2086
  on agent "$HOSTILE" connects 192.168.1.2:4433 $CONNECTS \
    "$T/agent-a2.pem" "$T/agent-a2.key" >"$T/connects" 2>&1
  new=$(newcomer)
  wait $pings $visits
  cpu=$((($(ticks) - c0) * 1000 / ($(now_ms) - t0)))
  peak=$(memory VmHWM)
  [ -z "$attack" ] || wait $attack
  [ $# = 0 ] || rate=$(awk '/^sent/ { r = int($2 / $4) } /^began/ { n = $10 } END { print r ? r : int(n / '"$((SECONDS_EACH + 1))"') }' "$T/attack")
  sleep 0.2
  rss1=$(memory VmRSS)
  sed -n 's/.*time=\([0-9.]*\) ms.*/\1/p' "$T/ping" >"$T/rtt"
  answered=$(wc -l <"$T/rtt")
  row "$name" "$rate" "$answered/$((SECONDS_EACH * 90))" "$(share "$T/rtt" 50)" "$(share "$T/rtt" 99)" \
    "$(share "$T/visits" 50)" "$(share "$T/visits" 99)" "$(grep -c failed "$T/visits")" \
    "$(share "$T/connects" 50)" "$(share "$T/connects" 99)" "$(grep -c failed "$T/connects")" \
    "$new" "$rss0" "$peak" "$rss1" "$cpu"
  [ ! -s "$T/attack" ] || sed "s/^/#   /" "$T/attack" | tail -n 1
  check "${name}_pings_are_answered" test $((answered * 100)) -ge $((SECONDS_EACH * 90 * 99 - 99))
  check "${name}_new_connections_succeed" eval '! grep -q failed "$T/visits" "$T/connects" && [ -s "$T/visits" ] && [ -s "$T/connects" ] && [ '"$new"' != failed ]'
  check "${name}_memory_is_bounded" test "$((peak - RSS))" -le $GROWTH
  [ $# = 0 ] || check "${name}_was_sent" test "$rate" -gt 0
}

# certs FROM TO: of bad identities
certs() { local i; for i in $(seq "$1" "$2"); do echo "$T/agent-bad$i.pem $T/agent-bad$i.key"; done; }
more_pki() {
  local i
  issue agent a3 || return 1
  for i in $(seq 12); do issue agent "bad$i" || return 1; done
}

net_up
host bad
link bad relay 3
# Answers to addresses that are nobody's leave the relay, and go no further.
on relay ip route add 10.66.0.0/16 via 192.168.3.1
cat >"$T/policy.json" <<END
{"rules": [{"name": "staff", "agents": ["spiffe://example.org/agent/*"], "services": ["*"], "protocols": ["tcp", "udp", "icmp"]}]}
END
pki && more_pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
[ -z "${RETRY:-}" ] || sed -i "s|\"policy\": \"policy.json\"|\"policy\": \"policy.json\", \"retry\": \"$RETRY\"|" "$T/relay.json"
agent_json a1
agent_json a3
sed -i 's/"tun": "ztna0"/"socks5": "127.0.0.1:1080"/; s/127.0.0.1:9090/127.0.0.1:9092/' "$T/agent-a3.json"
cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [
  {"id": "echo", "backends": [{"protocol": "tcp", "port": 7, "to": "127.0.0.1:7"}]}]}}
END
start backend conn "$TCP" serve 7=echo
start_relay
start_connector
wait_for 5 is_ready conn
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 || { not_ok programs_up; exit 1; }
on agent ping -c 5 -i 0.1 -W 1 10.100.0.2 >/dev/null || { not_ok ping_before; exit 1; }
A=$(address_of agent_address)
LASTS=$((SECONDS_EACH + 1))

# Warm: buffers have their size before memory is compared.
on bad "$HOSTILE" initials $R3 300 1 >/dev/null 2>&1
RSS=$(memory VmRSS)
table_head
phase quiet
phase initials "$HOSTILE" initials $R3 "$INITIALS" $LASTS
check floods_are_held_off_by_retry test "$(metric ztna_relay_retries_total)" -ge 500
[ -z "${ONLY_INITIALS:-}" ] || exit "${FAILED:-0}"
phase stun "$HOSTILE" stun $R3 "$STUNS" $LASTS
# Random bytes behind connection IDs of the agent: from elsewhere, and as somebody
# on the way could, as if from the agent.
[ "$SECONDS_EACH" = 1 ] || FLOODS=agent phase strange_source "$HOSTILE" spray v1a "$A" 192.168.1.2:4433 192.168.1.77:999 "$SPRAY" $LASTS
FLOODS=agent phase agents_source "$HOSTILE" spray v1a "$A" 192.168.1.2:4433 "$A" "$SPRAY" $LASTS
# manners HOW: of one identity and of eight, a connection after the other
one=0
manners() {
  one=$((one + 1))
  # shellcheck disable=SC2046
  [ "$SECONDS_EACH" = 1 ] || phase "one_$1" "$HOSTILE" manners "$1" $R3 16 $LASTS $(certs $one $one)
  # shellcheck disable=SC2046
  phase "many_$1" "$HOSTILE" manners "$1" $R3 32 $LASTS $(certs 5 12)
}
limited() { metric "ztna_relay_$1_total.reason=.rate-limited"; }
manners slow
[ "$SECONDS_EACH" -lt 10 ] || check requests_that_take_too_long_are_refused test "$(limited requests_refused)" -ge 256
manners unread
manners reset
check streams_that_come_and_go_end_their_connections test "$(limited connections_ended)" -ge 8
if [ "$SECONDS_EACH" -gt 1 ]; then
  manners ping
  check packets_beyond_the_rate_are_dropped test "$(limited stray_packets)" -ge 1000
  check eight_connections_of_an_identity_are_enough grep -q 'disconnected identity=spiffe://example.org/agent/bad1 .*reason=replaced' "$T/relay.log"
fi
check nobody_honest_was_thrown_out bash -c "! grep -E 'disconnected.*(agent/a1|connector/c1)' $T/relay.log"
exit "${FAILED:-0}"
