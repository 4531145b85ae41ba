#!/bin/bash
# garbage.sh - random, cut and repeated packets at the UDP ports of relay,
# connector and agent while somebody pings: they are counted, and that is all.
# A scan of connector and agent gets no answer; a flood of first packets from
# addresses that are nobody's keeps nobody out.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile
[ -x "$HOSTILE" ] || skip_all "no $HOSTILE"
GROWTH=1024 # KB; a sanitizer keeps what was freed for a while
case $ZTNA in *san-*) GROWTH=65536 ;; esac

page() { # HOST PATH
  on "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET '"$2"' HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3'
}
# metric HOST PATTERN: the sum of all that match, labels included
metric() { page "$1" /metrics | awk -v p="^($2)" '$1 ~ p { n += $2 } END { print n + 0 }'; }
# strays HOST: packets that were of no use, for whatever reason
strays() { metric "$1" 'ztna_.*(quic_drops|stray_packets|dropped_packets|discarded_packets|stun_dropped)_total'; }
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }
address_of() { ready relay | grep -oE "\"$1\": *\"[0-9.]+:[0-9]+\"" | head -1 | grep -oE '[0-9.]+:[0-9]+'; }
total() { # what tools said they sent
  awk '/^sent/ { n += $2 } END { print n + 0 }' "$@" /dev/null
}

all_up
on agent ping -c 5 -i 0.1 -W 1 10.100.0.2 >/dev/null || { not_ok ping_before; exit 1; }
R1=192.168.1.2:4433 R2=192.168.2.2:4433 # the relay, seen by agent and connector
A=$(address_of agent_address) C=$(address_of connector_address)
[ -n "$A" ] && [ -n "$C" ] || { not_ok addresses "$(ready relay)"; exit 1; }

start ping agent ping -i 0.02 10.100.0.2

# Warm: buffers and pools have their size before memory is compared.
on agent "$HOSTILE" garbage $R1 "$A" 200 >/dev/null
sleep 0.5

# at WHO HOST: what is to be compared
before() { eval "BEFORE_$1=$(strays "$1") RSS_$1=$(rss "$(pid_of "$2")")"; }
# counted NAME HOST FILE...: as many more as were sent, but for a few that
# happen to be something (a Retry, a reset, a cut of nothing)
counted() {
  local name=$1 host=$2 was n sent
  shift 2
  eval "was=\$BEFORE_$host"
  n=$(($(strays "$host") - was))
  sent=$(total "$@")
  check "${name}" test "$sent" -gt 0 -a $((n * 100)) -ge $((sent * ${PERCENT:-90}))
}
lives() { # NAME PROGRAM HOST
  local was now pid
  eval "was=\$RSS_$3"
  pid=$(pid_of "$2")
  now=$(rss "$pid")
  check "$1" test -n "$now" -a "$((now - was))" -le "$GROWTH"
}

# --- random bytes: from strangers, and as if from whom they know

before relay relay
before conn connector
before agent agent
on agent "$HOSTILE" garbage $R1 192.168.1.77:999 3000 >"$T/g1" 2>&1
on agent "$HOSTILE" garbage $R1 "$A" 3000 >"$T/g2" 2>&1
on relay "$HOSTILE" garbage "$C" $R2 3000 >"$T/g3" 2>&1
on relay "$HOSTILE" garbage "$C" 192.168.2.99:4433 1000 >"$T/g4" 2>&1
on relay "$HOSTILE" garbage "$A" $R1 3000 >"$T/g5" 2>&1
sleep 0.3
counted the_relay_counts_garbage relay "$T/g1" "$T/g2"
counted the_connector_counts_garbage conn "$T/g3" "$T/g4"
counted the_agent_counts_garbage agent "$T/g5"

# --- what really passes, again: whole and cut, from the right address and from
# others

before relay relay
before conn connector
before agent agent
on agent "$HOSTILE" mirror v1a "$A" $R1 "$A" 3 >"$T/m1" 2>&1 &
M1=$!
on agent "$HOSTILE" mirror v1a "$A" $R1 192.168.1.77:999 3 >"$T/m2" 2>&1 &
M2=$!
on relay "$HOSTILE" mirror v2b $R2 "$C" $R2 3 >"$T/m3" 2>&1 &
M3=$!
on relay "$HOSTILE" mirror v1b $R1 "$A" $R1 3 >"$T/m4" 2>&1 &
M4=$!
sleep 0.3 # now a control packet, too: another service is asked for
on agent ping -c 3 -i 0.3 -W 1 10.100.0.3 >/dev/null
wait $M1 $M2 $M3 $M4
sleep 0.3
# What is repeated to the relay from the right address it carries on: the
# connector counts that.
PERCENT=60
counted the_relay_counts_copies_from_elsewhere relay "$T/m2"
counted the_connector_counts_copies conn "$T/m1" "$T/m3"
counted the_agent_counts_copies agent "$T/m4"
check a_control_packet_was_among_them grep -q 'grant made.*service=dns' "$T/relay.log"
check the_relay_follows_no_copy test "$(address_of agent_address)" = "$A"

# --- a scan

scan=$(on relay "$HOSTILE" scan "${C%:*}" 192.168.2.2:0 "${C#*:}" 1 53 443 4433 9999)
check a_scan_of_the_connector_gets_no_answer \
  test "$(grep -c 'answers=0' <<<"$scan")" = 6
check its_open_port_is_silent grep -q "port=${C#*:} answers=0 icmp=0" <<<"$scan"
check closed_ports_are_the_kernels grep -qE "port=1 answers=0 icmp=[1-9]" <<<"$scan"
scan=$(on relay "$HOSTILE" scan "${A%:*}" 192.168.1.2:0 "${A#*:}")
check a_scan_of_the_agent_gets_no_answer grep -q "answers=0 icmp=0" <<<"$scan"

# --- so far

lives the_relay_does_not_grow relay relay
lives the_connector_does_not_grow connector conn
lives the_agent_does_not_grow agent agent

# --- first packets of nobody

was=$(rss "$(pid_of relay)")
on agent "$HOSTILE" flood $R1 192.168.1.20:2000 200 >"$T/f1" 2>&1
half=$(metric relay ztna_relay_half_open)
check a_flood_is_held_off_by_retry test "$(metric relay ztna_relay_retries_total)" -ge 100 -a "$half" -le 64
check a_flood_costs_little_memory test "$(($(rss "$(pid_of relay)") - was))" -le 8192
out=$(on agent "$HOSTILE" dial $R1 "$T/agent-a2.pem" "$T/agent-a2.key")
check others_are_served_meanwhile grep -q status=200 <<<"$out"
check the_flood_is_forgotten wait_for 5 eval 'test "$(metric relay ztna_relay_half_open)" = 0'

# --- nothing else happened

stop ping INT
# What was under way when ping was stopped is no loss: every number up to the
# last answer counts.
missing=$(grep -oE 'icmp_seq=[0-9]+' "$T/ping.log" | cut -d= -f2 | sort -n |
  awk '{ while (++n < $1) printf "%d ", n } END { if (n < 100) print "few answers" }')
check ping_lost_nothing test -z "$missing"
check no_connection_was_disturbed bash -c \
  "! grep -E 'relay lost|path ended|made anew|route closed' $T/agent.log $T/connector.log"
check no_route_was_disturbed bash -c "! grep -E 'disconnected.*(agent/a1|connector/c1)' $T/relay.log"
exit "${FAILED:-0}"
