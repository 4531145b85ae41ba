#!/bin/bash
# stun.sh - a relay as STUN server: what it tells a host without NAT, asked by
# our own program and by coturn's, and what it does not do for strangers.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need turnutils_stunclient turnutils_natdiscovery
STUN=${ZTNA%/*}/tests/tool_stun
HTTP=127.0.0.1:9090

# relay_with MORE: relay.json with these members of "relay" in front
relay_with() {
  relay_json
  sed -i "s|\"relay\": {\"listen\".*|\"relay\": {$1,|" "$T/relay.json"
}
LISTEN='"listen": ["0.0.0.0:4433", "[::]:4433"]'
IPS='"stun_ips": ["192.168.1.2", "192.168.1.3", "fd00:1::2", "fd00:1::3"]'

ask() { on agent "$STUN" ask "$@"; }
# answers WORDS ASK-ARGUMENTS...: the answer has all of these words
answers() {
  local words=$1 got w
  shift
  got=$(ask "$@")
  for w in $words; do
    case " $got " in *" $w "*) ;; *) echo "no $w in: $got"; return 1 ;; esac
  done
}
metric() {
  on relay bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3" |
    awk -v m="$1" '$1 == m { print $2 }'
}
word() { sed "s/.*\b$1=\([0-9]*\).*/\1/"; }

net_up
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
on relay ip addr add 192.168.1.3/24 dev v1b
on relay ip addr add fd00:1::3/64 dev v1b nodad
on agent ip route add 192.168.2.0/24 via 192.168.1.2
A=192.168.1.2 B=192.168.1.3 A6=fd00:1::2 B6=fd00:1::3
relay_with "$LISTEN, $IPS"
start_relay
check a_relay_with_two_addresses_is_ready wait_for 5 is_ready relay

# --- what it tells

check a_host_is_told_its_own_address answers \
  "mapped=192.168.1.1:5555 from=$A:4433 origin=$A:4433 other=$B:4434" $A:4433 --from 5555
check the_second_port_tells_of_the_first answers \
  "mapped=192.168.1.1:5555 from=$A:4434 other=$B:4433" $A:4434 --from 5555
check the_second_address_tells_of_the_first answers \
  "from=$B:4434 other=$A:4433" $B:4434
check ipv6_is_told_too answers \
  "mapped=[fd00:1::1]:5555 from=[$B6]:4433 origin=[$B6]:4433 other=[$A6]:4434" "[$B6]:4433" --from 5555 --pad 40
check a_fingerprint_is_answered answers "mapped=192.168.1.1:5555" $A:4433 --from 5555 --fingerprint
check a_changed_port_is_where_the_answer_comes_from answers \
  "from=$A:4434 origin=$A:4434" $A:4433 --change-port --pad 40
check a_changed_address_is_where_the_answer_comes_from answers \
  "from=$B:4433" $A:4433 --change-ip --pad 40
check both_can_be_changed answers "from=$A:4433" $B:4434 --change-ip --change-port --pad 40
check both_can_be_changed_with_ipv6 answers \
  "from=[$B6]:4434" "[$A6]:4433" --change-ip --change-port --pad 80
check an_address_that_is_no_pair_has_a_second_port_alone answers \
  "from=192.168.2.2:4433 other=192.168.2.2:4434" 192.168.2.2:4433
check requests_that_come_as_a_train_are_answered_one_by_one eval \
  "on agent '$STUN' train $A:4433 20 | grep -q 'answers=20 '"

# --- coturn's programs

coturn() { on agent timeout 20 "$@" >"$T/coturn.out" 2>&1; cat "$T/coturn.out"; }
check coturns_client_is_told_the_address eval \
  "coturn turnutils_stunclient -p 4433 $A | grep -q 'UDP reflexive addr: 192.168.1.1:'"
check coturns_client_finds_the_attributes_of_rfc_5780 eval \
  "coturn turnutils_stunclient -f -p 4433 $A | grep -q 'Other addr: *: $B:4434'"
check coturn_finds_no_nat_by_mapping eval \
  "coturn turnutils_natdiscovery -m -p 4433 -L 192.168.1.1 $A | grep -q 'No NAT'"

# --- strangers

check a_stranger_gets_no_change_for_fewer_bytes answers "error=400 from=$A:4433" $A:4433 --change-port
amplified() { # bytes back are at most three times those sent, by what is asked
  local got pad
  for pad in 0 4 8 16 32 64 128; do
    for to in $A:4433 "[$A6]:4433"; do
      got=$(ask "$to" --pad $pad) || return 1
      echo "$got"
      [ "$(echo "$got" | word received)" -le $((3 * $(echo "$got" | word sent))) ] || return 1
    done
  done
}
check answers_are_at_most_three_times_the_request amplified
sleep 1
# 1000 requests within 2 s from one /24: 50, and 50 for each second
one_prefix() {
  local out
  out=$(on agent "$STUN" flood $A:4433 1000 500)
  echo "# $out"
  [ "$(echo "$out" | word answers)" -ge 100 ] && [ "$(echo "$out" | word answers)" -le 170 ]
}
check a_prefix_gets_fifty_answers_a_second one_prefix
check what_is_dropped_is_counted_by_reason test \
  "$(metric 'ztna_relay_stun_dropped_total{reason="rate-limited"}')" -ge 830
# From 40 networks, which could have 2000 a second
many_prefixes() {
  local out i sources= begun
  for i in $(seq 40); do
    on agent ip addr add 10.77.$i.1/32 dev lo
    sources="$sources 10.77.$i.1"
  done
  on relay ip route add 10.77.0.0/16 via 192.168.1.1
  begun=$(now_ms)
  # shellcheck disable=SC2086
  out=$(on agent "$STUN" flood $A:4433 6000 3000 $sources)
  echo "# $out in $(($(now_ms) - begun - 500)) ms"
  [ "$(echo "$out" | word answers)" -ge 1800 ] &&
    [ "$(echo "$out" | word answers)" -le $(((($(now_ms) - begun)) + 250)) ]
}
check all_together_get_a_thousand_answers_a_second many_prefixes

# --- who has a control connection

agent_json a1
sed -i 's/"tun": "ztna0"/"socks5": "127.0.0.1:1080"/' "$T/agent-a1.json"
start_agent
wait_for 5 is_ready agent
check who_is_connected_gets_a_change_unpadded answers "from=$A:4434" $A:4433 --change-port
check coturn_finds_no_filter_where_there_is_none eval \
  "coturn turnutils_natdiscovery -f -p 4433 -L 192.168.1.1 $A | grep -q 'Endpoint Independent Filtering'"
stop agent

# --- other configurations

stop relay
relay_with "$LISTEN"
start_relay
wait_for 5 is_ready relay
check one_address_alone_has_another_port answers "other=$A:4434" $A:4433
check a_relay_with_one_address_refuses_to_change_it answers \
  "error=420 unknown=0x0003 from=$A:4433" $A:4433 --change-ip --pad 40
check it_still_changes_the_port answers "from=$A:4434" $A:4433 --change-port --pad 40
stop relay

relay_with "\"listen\": [\"192.168.1.2:4433\", \"192.168.1.3:4433\"], \"stun\": [\"192.168.1.2:3478\", \"192.168.1.3:3478\"], \"stun_ips\": [\"192.168.1.2\", \"192.168.1.3\"]"
start_relay
wait_for 5 is_ready relay
check sockets_of_one_address_each_answer_for_each_other answers \
  "from=$B:3478 other=$B:3478" $A:4433 --change-ip --change-port --pad 40
check status_names_the_second_ports eval \
  "on relay '$ZTNA' status --http $HTTP --json | tr -d ' \n' | grep -q '\"stun\":\[\"192.168.1.2:3478\",\"192.168.1.3:3478\"\]'"
stop relay

relay_with '"listen": ["0.0.0.0:0"]'
: >"$T/relay.log"
start_relay
wait_for 5 is_ready relay
port=$(sed -n 's/.*listening on=0.0.0.0:\([0-9]*\).*/\1/p' "$T/relay.log")
second=$(sed -n 's/.*answering STUN on=0.0.0.0:\([0-9]*\).*/\1/p' "$T/relay.log")
check a_port_of_the_kernels_choice_has_such_a_second_one answers "other=$A:$second" "$A:$port"
stop relay

start taken relay "$TOOL" echo 0.0.0.0:4434
sleep 0.2
relay_with "$LISTEN"
: >"$T/relay.log"
start_relay
check a_taken_second_port_stops_nobody wait_for 5 is_ready relay
check it_is_a_warning_that_says_what_helps grep -q 'warn.*set relay.stun' "$T/relay.log"
check there_is_no_other_address_then answers "other=- from=$A:4433" $A:4433
stop relay
refuses() { # TEXT: the relay ends, and says so
  : >"$T/relay.log"
  on relay timeout 5 "$ZTNA" relay --config "$T/relay.json" >"$T/relay.log" 2>&1
  [ $? != 124 ] && grep -q "$1" "$T/relay.log"
}
relay_with "$LISTEN, \"stun\": [\"0.0.0.0:4434\"]"
check a_configured_one_that_is_taken_is_an_error refuses '0.0.0.0:4434 is in use'
stop taken
relay_with "$LISTEN, \"stun_ips\": [\"192.168.1.2\", \"192.168.9.9\"]"
check an_address_that_is_not_ours_is_an_error refuses 'stun_ips.*192.168.9.9'
relay_with "\"listen\": [\"192.168.1.2:4433\"], \"stun_ips\": [\"192.168.1.2\", \"192.168.1.3\"]"
check an_address_without_a_socket_is_an_error refuses 'stun_ips: listen and stun must have both'
relay_with "\"listen\": [\"192.168.1.2:4433\"], \"stun\": [\"192.168.1.3:4434\"]"
check a_second_port_beside_no_first_one_is_an_error refuses 'shares no address'
relay_with "$LISTEN, \"stun\": [\"0.0.0.0:4433\"]"
check a_port_for_both_is_an_error refuses 'stun\[0\].*another port'
relay_with "$LISTEN, \"stun_ips\": [\"192.168.1.2\", \"fd00:1::2\"]"
check one_address_of_each_family_is_an_error refuses 'two addresses of IPv4'
exit "${FAILED:-0}"
