#!/bin/bash
# tcp_mtu.sh (make check-long) - lines of 1280 to 9000 bytes between agent, relay
# and connector that nobody is told of, with and without ICMP, also shrinking
# under way: bulk TCP runs, 1280-byte pings pass, no size vanishes.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/tcp_lib.sh
need ip nft ping
BYTES=${BYTES:-50000000}
VIA=tunnel

# agent - r1 - relay - r2 - conn: the ends' own links take 9000 bytes, so that
# only what comes back, or does not, tells them of the narrow one in between.
narrow_net() {
  local h
  for h in agent r1 relay r2 conn; do host $h; done
  link agent r1 5
  link r1 relay 3
  link r2 relay 2
  link conn r2 6
  for h in r1 r2; do
    net_option $h ipv4/ip_forward 1
    net_option $h ipv6/conf/all/forwarding 1
  done
  on agent ip route add 192.168.3.0/24 via 192.168.5.2
  on relay ip route add 192.168.5.0/24 via 192.168.3.1
  on conn ip route add 192.168.2.0/24 via 192.168.6.2
  on relay ip route add 192.168.6.0/24 via 192.168.2.1
  mtu 9000 agent:v5a r1:v5b conn:v6a r2:v6b
}
mtu() { # BYTES HOST:DEVICE...
  local m=$1 d
  shift
  for d in "$@"; do on "${d%:*}" ip link set "${d#*:}" mtu "$m"; done
}
line_mtu() { mtu "$1" r1:v3a relay:v3b r2:v2a relay:v2b; }
icmp() { # told|filtered
  local h
  for h in r1 r2 relay; do
    on $h nft delete table inet silence 2>/dev/null
    [ "$1" = told ] || on $h nft -f - <<END
table inet silence {
  chain out {
    type filter hook output priority 0
    icmp type { destination-unreachable, time-exceeded, parameter-problem } counter drop
    icmpv6 type { destination-unreachable, packet-too-big, time-exceeded } counter drop
  }
}
END
  done
}
# What is larger than the line does not pass it whole: the rig itself.
line_is_narrow() { # BYTES
  ! on agent ping -M do -s $(($1 - 28 + 8)) -c 1 -W 0.3 192.168.3.2 &&
    on agent ip route flush cache && on agent ping -M do -s $(($1 - 28)) -c 1 -W 1 192.168.3.2
}

pings() {
  on agent ping -q -M do -s 1252 -c 10 -i 0.05 -W 2 "${AT[echo]}" >"$T/ping" &&
    on agent ping -q -M do -s 1232 -c 10 -i 0.05 -W 2 "$(at6 echo)" >>"$T/ping" &&
    [ "$(grep -c ' 0% packet loss' "$T/ping")" = 2 ] || { cat "$T/ping"; false; }
}
sizes() { on agent "$TOOL" sizes "${AT[echo]}:9999" 1100 1252 8; }

again() { # programs that have learned nothing of the line yet
  local p
  for p in agent connector relay; do stop $p; done
  start_relay
  start_connector
  wait_for 5 is_ready conn
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent "${AT[odd]}" && wait_for 5 routes agent "$(at6 odd)" ||
    { not_ok again "the agent has no routes"; exit 1; }
}
all_pass() { # NAME
  check "pings_of_1280_bytes_pass_$1" pings
  check "every_size_passes_$1" sizes
  check "down_$1" moves get "$BYTES"
  check "up_$1" moves put "$BYTES"
}

shrinks() { # get|put NAME: twice under way
  local job
  moves "$1" $((BYTES * 40)) 5000 >"$T/shrinks" 2>&1 &
  job=$!
  sleep 0.7
  line_mtu 1350
  sleep 1.5
  line_mtu 1280
  kill -0 $job 2>/dev/null || echo "# it was over early"
  wait $job
  local rc=$?
  cat "$T/shrinks"
  return $rc
}

narrow_net
start_backend
tcp_up 192.168.3.2:4433 192.168.2.2:4433
for m in 1280 1350 1400 1500 9000; do
  line_mtu $m
  [ $m = 9000 ] || check "the_line_takes_$m" line_is_narrow $m
  for word in told filtered; do
    icmp $word
    again
    all_pass "at_${m}_icmp_$word"
  done
  icmp told
done
for word in told filtered; do
  for way in get put; do
    icmp told
    line_mtu 1500
    again
    icmp $word
    check "${way}_goes_on_while_the_line_shrinks_icmp_$word" shrinks $way
    check "pings_within_3_s_after_the_line_shrank_icmp_$word" wait_for 3 pings
    check "every_size_after_the_line_shrank_icmp_$word" sizes
  done
done
exit "${FAILED:-0}"
