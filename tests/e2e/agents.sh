#!/bin/bash
# agents.sh - two agents use one service from the same inner source port, and
# neither gets a reply of the other; the relay carries all of it and sees none.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip dig dnsmasq tcpdump

# capture NAME HOST INTERFACE: into $T/NAME.pcap, until `stop NAME INT`
capture() {
  start "$1" "$2" tcpdump -Z root -i "$3" -s 0 -B 32768 -U -w "$T/$1.pcap" udp
  wait_for 5 grep -q 'listening on' "$T/$1.log"
}
holds() { grep -qa -e "$2" "$T/$1.pcap"; }
# bytes DIRECTION HOST: of UDP, in the relay's capture. Packets would be few: the
# kernel carries many in one piece.
bytes() {
  tcpdump -nr "$T/relay_side.pcap" "$1" host "$2" 2>/dev/null |
    awk '{ n += $NF } END { print n + 0 }'
}
carried() { # on all legs, in both directions
  local h way n
  for h in 192.168.1.1 192.168.3.1 192.168.2.1; do
    for way in src dst; do
      n=$(bytes "$way" "$h")
      [ "$n" -gt 1000000 ] || { echo "$way $h: $n bytes"; return 1; }
    done
  done
}
# Both at once, from port 7777: N requests each.
mingled() { # ADDRESS N
  local a b
  on agent2 "$TOOL" tagged "$1" 7777 "$2" second-secret >"$T/second.out" 2>&1 &
  b=$!
  on agent "$TOOL" tagged "$1" 7777 "$2" first-secret >"$T/first.out" 2>&1
  a=$?
  wait $b
  b=$?
  cat "$T/first.out" "$T/second.out"
  [ $a = 0 ] && [ $b = 0 ]
}
asks_dns() {
  on agent dig +time=2 +tries=1 +short @10.100.0.3 question-marker.test TXT |
    grep -q answer-marker
}

all_up
host agent2
link agent2 relay 3
agent_json a2 192.168.3.2:4433
start_agent agent2 agent2 a2
start_dns
wait_for 5 routes agent2 10.100.0.2 && wait_for 5 routes agent2 fd5a:10::2
capture relay_side relay any
capture backend_side conn lo

check two_agents_one_port_v4 mingled 10.100.0.2:9999 10000
check two_agents_one_port_v6 mingled '[fd5a:10::2]:9999' 5000
check dns_marker_crosses wait_for 3 asks_dns
sleep 1.2 # what the kernel's ring still holds
stop relay_side INT
stop backend_side INT
check relay_carried_all_of_it carried
for marker in first-secret second-secret question-marker answer-marker; do
  check "backend_saw_$marker" holds backend_side "$marker"
  holds relay_side "$marker" && not_ok "relay_saw_no_$marker" || ok "relay_saw_no_$marker"
done
exit "${FAILED:-0}"
