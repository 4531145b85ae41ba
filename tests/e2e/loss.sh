#!/bin/bash
# loss.sh - the network loses 5 % each way on the agent's leg: echoes lose about
# that twice, and the control plane nothing.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip nft dig dnsmasq

lossy() { # PERCENT: of packets to and from the agent's host
  on relay nft -f - <<END
table inet loss
delete table inet loss
table inet loss {
  chain from_agent {
    type filter hook prerouting priority -300
    iifname v1b numgen random mod 100 < $1 counter drop
  }
  chain to_agent {
    type filter hook output priority -300
    oifname v1b numgen random mod 100 < $1 counter drop
  }
}
END
}
dropped_both_ways() {
  [ "$(on relay nft list table inet loss |
    grep -c 'counter packets [1-9][0-9]')" = 2 ]
}
echoes_lose() { # ADDRESS FROM TO, percent of 2000
  local got lost
  got=$(on agent "$TOOL" count "$1" 2000 2000 | sed 's/.*got //')
  lost=$((2000 - got))
  echo "# lost $lost of 2000 echoes"
  [ $lost -ge $((20 * $2)) ] && [ $lost -le $((20 * $3)) ]
}
opens_a_second_service() {
  local i
  for i in 1 2 3 4 5 6; do
    on agent dig +short +time=1 +tries=1 @10.100.0.3 web.test |
      grep -qx 192.0.2.7 && return
  done
  return 1
}
connected() { ready agent | grep -q '"connected": true'; }
never_lost() { ! grep -e 'relay lost' -e 'path ended' "$T/agent.log" "$T/connector.log"; }
# An agent that starts into the loss: handshakes and all.
starts_anew() {
  stop agent
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 &&
    wait_for 5 on agent ping -c 1 -W 1 10.100.0.2
}

all_up
start_dns
check without_loss_nothing_is_lost echoes_lose 10.100.0.2:9999 0 0
lossy 5
check echoes_v4_lose_what_the_network_loses echoes_lose 10.100.0.2:9999 6 16
check echoes_v6_lose_what_the_network_loses echoes_lose '[fd5a:10::2]:9999' 6 16
check a_second_service_opens opens_a_second_service
check status_says_connected connected
check packets_were_lost_both_ways dropped_both_ways
check no_connection_was_lost never_lost
check an_agent_starts_under_loss starts_anew
exit "${FAILED:-0}"
