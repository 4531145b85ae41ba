#!/bin/bash
# reach.sh - a person on the agent's host reaches a service behind the
# connector: ping, UDP of every size, and real DNS, over IPv4 and IPv6.
#
#   reach.sh [4|6]   the family outside the tunnel
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ping dig dnsmasq
outside=${1:-4}

pings() { # ADDRESS FLAGS...: 20 of 20
  on agent ping -q -c 20 -i 0.05 -W 2 "$@" >"$T/ping.out" &&
    grep -q ' 0% packet loss' "$T/ping.out" || { cat "$T/ping.out"; false; }
}
sizes() { on agent "$TOOL" sizes "$@"; }
digs() { on agent dig +time=2 +tries=1 "$@"; }
answers() { # SERVER TYPE ANSWER
  digs +short "@$1" web.test "$2" | grep -qx "$3"
}
# One answer of more than the tunnel's MTU, by UDP: all ten records.
answers_large() {
  digs +notcp +ignore +bufsize=4096 "@$1" big.test TXT >"$T/dig.out"
  [ "$(grep -c '^big.test.*TXT.*0000' "$T/dig.out")" = 10 ] &&
    grep -q 'MSG SIZE  rcvd: 2[0-9][0-9][0-9]' "$T/dig.out" ||
    { cat "$T/dig.out"; false; }
}

if [ "$outside" = 4 ]; then
  all_up
else
  all_up '[fd00:1::2]:4433' '[fd00:2::2]:4433'
fi
start_dns
wait_for 5 on conn dig +short +time=1 +tries=1 @127.0.0.1 web.test

check "ping_v4_outside_v$outside" pings 10.100.0.2
check "ping_v6_outside_v$outside" pings fd5a:10::2
check "large_ping_v4_outside_v$outside" pings 10.100.0.2 -s 3000
check "large_ping_v6_outside_v$outside" pings fd5a:10::2 -s 3000
check "every_size_v4_outside_v$outside" sizes 10.100.0.2:9999 0 1252
check "every_size_v6_outside_v$outside" sizes '[fd5a:10::2]:9999' 0 1232
check "fragments_v4_outside_v$outside" sizes 10.100.0.2:9999 1253 4000 41
check "fragments_v6_outside_v$outside" sizes '[fd5a:10::2]:9999' 1233 4000 41
check "dns_v4_outside_v$outside" answers 10.100.0.3 A 192.0.2.7
check "dns_v6_outside_v$outside" answers fd5a:10::3 AAAA 2001:db8::7
check "large_dns_v4_outside_v$outside" answers_large 10.100.0.3
check "large_dns_v6_outside_v$outside" answers_large fd5a:10::3

# That it was this family, and no other.
check "dialled_by_v$outside" grep -q \
  "relay connected.*observed=$([ "$outside" = 4 ] && echo 192 || echo '\[fd00')" \
  "$T/agent.log"
exit "${FAILED:-0}"
