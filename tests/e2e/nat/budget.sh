#!/bin/bash
# budget.sh - what a search for a direct path sends, by capture at both hosts: no
# more than 300 STUN packets in any second to the peer, and nothing at all to
# where no relay, router or authenticated peer is.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/paths_lib.sh
lab_need tcpdump "$LINK"
SEARCH_FOR=${SEARCH_FOR:-4} # seconds

# Only what this host sends; lo knows no direction.
capture() { # HOST INTERFACE
  local out="-Q out"
  [ "$2" = eth0 ] || out=
  start "dump_$1_$2" "$1" tcpdump -n -i "$2" $out -w "$T/$1.$2.pcap" -U udp
  wait_for 5 grep -q 'listening on' "$T/dump_$1_$2.log"
}
# sent_by HOST INTERFACE [FILTER]: a line "seconds address" of each packet
sent_by() {
  tcpdump -n -tt -q -r "$T/$1.$2.pcap" ${3:+"$3"} 2>/dev/null |
    awk '{ to = $5; sub(/\.[0-9]*:$/, "", to); print $1, to }'
}
# The first byte is 0 or 1, and the cookie stands at 4.
STUN='udp and (udp[8] & 0xfe = 0) and udp[12:4] = 0x2112a442'
# worst_second HOST PEER: the most STUN packets to it within any second
worst_second() {
  sent_by "$1" eth0 "$STUN and dst host $2" | awk '
    { at[NR] = $1; while (at[NR] - at[first + 1] >= 1) first++
      if (NR - first > most) most = NR - first }
    END { print most + 0, NR + 0 }'
}
keeps_the_budget() { # HOST PEER
  local sum
  sum=$(worst_second "$1" "$2")
  echo "# $1 sent ${sum#* } STUN packets to its peer, at most ${sum% *} in a second"
  [ "${sum#* }" -ge 20 ] && [ "${sum% *}" -le 300 ]
}
# asks_only HOST ADDRESS...: it sent to these and to nobody else
asks_only() {
  local h=$1 odd
  shift
  [ "$(sent_by "$h" eth0 | wc -l)" -ge 100 ] || { echo "$h: hardly anything was seen"; return 1; }
  odd=$(sent_by "$h" eth0 | awk -v known=" $* " 'index(known, " " $2 " ") == 0' | sort -k 2 | uniq -c -f 1)
  [ -z "$odd" ] && return
  echo "$h sent to others than $*: $odd"
  return 1
}
nothing_on_loopback() { # HOST; the connector's backend is there
  local odd
  [ "$1" = agent ] || [ "$(sent_by "$1" lo | wc -l)" -ge 100 ] || { echo "nothing was seen"; return 1; }
  odd=$(sent_by "$1" lo "$STUN")
  [ -z "$odd" ] || { echo "$1 sent STUN on loopback: $odd"; return 1; }
}
stays_searching() {
  wait_for 5 eval '[ "$(member rounds)" -ge 1 ]' && sleep "$SEARCH_FOR"
}

lab_pki && lab_up sym-random port-restricted || { not_ok lab "$(cat "$T/cert.out")"; exit 1; }
# It is to go on for as long as it may: nothing gets through.
cut_direct
for h in agent conn; do
  capture $h eth0
  capture $h lo
done
lab_programs || not_ok link
start echoes agent "$TOOL" stream 10.100.0.2:9999 10000
check a_search_goes_on stays_searching
for h in agent conn; do for i in eth0 lo; do stop dump_${h}_$i; done; done
check the_agent_keeps_the_budget keeps_the_budget agent 203.0.113.2
check the_connector_keeps_the_budget keeps_the_budget conn 198.51.100.2
# Relays' addresses, the peer as relays see it, and the own router (port
# mappings; UPnP asks for it by multicast).
RELAYS="192.0.2.2 192.0.2.3"
check the_agent_sends_to_nobody_else asks_only agent $RELAYS 203.0.113.2 10.1.0.1 239.255.255.250
check the_connector_sends_to_nobody_else asks_only conn $RELAYS 198.51.100.2 10.2.0.1 239.255.255.250
check the_agent_searches_not_itself nothing_on_loopback agent
check the_connector_searches_not_itself nothing_on_loopback conn
exit "${FAILED:-0}"
