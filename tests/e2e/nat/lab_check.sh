#!/bin/bash
# lab_check.sh - what scripts do to the laboratory really happens: cables are
# cut, NATs forget, hosts move. Plain UDP, none of our programs.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
lab_need "$NAT_CHECK"
RELAY=192.0.2.2:3478

up() { # CLASS-A CLASS-B
  lab_up "$1" "$2" && start relay relay "$NAT_CHECK" serve 0.0.0.0:3478 '[::]:3478' &&
    start peer conn "$NAT_CHECK" serve 0.0.0.0:3478 '[::]:3478'
}
# reaches yes|no ADDR...: who answers the agent's host, in order
reaches() {
  local wanted=$1 got
  shift
  got=$(on agent "$NAT_CHECK" reach "$@")
  [ "$got" = "$wanted" ] && return
  echo "reach $*: $got, should be: $wanted"
  return 1
}
cut_and_healed() { # ADDRESS of the peer
  reaches "yes yes" "$1:3478" $RELAY && cut_direct && reaches "no yes" "$1:3478" $RELAY &&
    heal_direct && reaches "yes yes" "$1:3478" $RELAY
}
routed_cut() { up public public && cut_and_healed 203.0.113.130; }
lan_cut() { up same-lan same-lan && cut_and_healed 10.1.0.3; }

n_mappings() { # ROUTER: conntrack's, and those of sets
  echo "$(on "$1" conntrack -C) $(on "$1" nft list map ip nat cone | grep -c elements)"
}
flushed() {
  local r
  up cgn public && reaches yes $RELAY || return
  for r in nat-agent isp-agent; do [ "$(n_mappings $r)" = "1 1" ] || return; done
  flush_nat agent
  for r in nat-agent isp-agent; do [ "$(n_mappings $r)" = "0 0" ] || return; done
  reaches yes $RELAY
}

moved() { # CLASS OLD NEW SERVER
  up "$1" public && reaches yes "$4" && on agent ip addr | grep -q "inet6\? $2/" &&
    new_address agent && on agent ip addr | grep -q "inet6\? $3/" &&
    ! on agent ip addr | grep "$2/" && reaches yes "$4"
}
counts() { # CLASS ADDRESS OUT BACK: packets of one question and its answer
  local before after
  up "$1" "$1" && reaches yes "$2" || return
  before=$(counted)
  reaches yes "$2" || return
  after=$(counted)
  set -- "$3" $before $after
  # The client repeats what is not answered at once.
  awk -v want="$1" -v got="$(($5 - $2)) $(($6 - $3)) $(($7 - $4))" 'BEGIN {
    split(want, w); split(got, g)
    for (i in w) if (w[i] ? g[i] < 1 || g[i] > 3 : g[i] != 0) exit 1 }' && return
  echo "$before, then $after"
  return 1
}
plugged() {
  up port-restricted public && unplug agent && reaches no $RELAY && plug agent &&
    reaches yes $RELAY
}
second_relay() {
  lab_up firewall public 2 || return
  start relay relay "$NAT_CHECK" serve 192.0.2.2:1 192.0.2.3:1
  start relay2 relay2 "$NAT_CHECK" serve 192.0.2.130:1 192.0.2.131:1
  reaches "yes yes yes yes" 192.0.2.2:1 192.0.2.3:1 192.0.2.130:1 192.0.2.131:1 &&
    kill_relay 2 && reaches "yes no" 192.0.2.2:1 192.0.2.130:1 &&
    kill_relay 1 && reaches "no no" 192.0.2.2:1 192.0.2.130:1
}
# try NAME COMMAND...
try() {
  check "$@"
  lab_down
}

try the_direct_way_is_cut_and_not_the_relays routed_cut
try the_direct_way_is_cut_in_one_network lan_cut
try a_flushed_nat_knows_nobody flushed
try a_host_gets_another_address moved port-restricted 10.1.0.2 10.1.0.12 $RELAY
try a_public_host_gets_another_address moved firewall 198.51.100.130 198.51.100.140 $RELAY
try a_v6_host_gets_another_address moved v6-firewall 2001:db8:a1:2::2 2001:db8:a1:2::12 \
  '[2001:db8:1::2]:3478'
try a_pulled_cable_is_silent plugged
try direct_packets_are_counted counts public 203.0.113.130:3478 "1 1 0"
try relayed_packets_are_counted counts port-restricted $RELAY "0 0 1"
try packets_in_one_network_are_counted counts same-lan 10.1.0.3:3478 "1 1 0"
try each_relay_is_killed_alone second_relay
exit "${FAILED:-0}"
