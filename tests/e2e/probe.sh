#!/bin/bash
# probe.sh - `ztna probe` tells a person what the network allows: without NAT and
# behind two kinds of it, with a relay, a plain server or nobody there, with a
# certificate and without. (Every kind of NAT: nat/probe.sh.) What takes longer is
# told by probe_long.sh.
#
#   agent 192.168.1.1 - .2 gate 192.168.3.1 - .2 relay
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
PATH=$PATH:/usr/sbin:/sbin
need ip nft
RELAY=192.168.3.2:4433 RELAY6='[fd00:3::2]:4433'

network() {
  host agent
  host gate
  host relay
  link agent gate 1
  link gate relay 3
  on gate sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
  on agent ip route add default via 192.168.1.2
  on agent ip route add default via fd00:1::2
  on relay ip route add 192.168.1.0/24 via 192.168.3.1
  on relay ip route add fd00:1::/64 via fd00:3::1
}
# gate NAT-RULES FILTER-RULES: what the gate does from now on
gate() {
  on gate nft -f - <<END
table ip nat
delete table ip nat
table ip nat {
  chain post { type nat hook postrouting priority srcnat; ${1:-}; }
  chain pre { type nat hook prerouting priority dstnat; }
}
table inet filter
delete table inet filter
table inet filter {
  chain forward { type filter hook forward priority filter; ${2:-}; }
}
END
}
# What the agent's host sends to others than the relay, in all of this; the router
# may be asked for a port.
count_strays() {
  on gate nft -f - <<END
table inet strays {
  counter strays { }
  chain pre {
    type filter hook prerouting priority filter - 10
    iifname "v1b" meta l4proto != udp accept
    iifname "v1b" ip daddr { 192.168.3.2, 192.168.3.9 } accept
    iifname "v1b" ip6 daddr fd00:3::2 accept
    ip daddr . udp dport { 192.168.1.2 . 5351, 192.168.1.2 . 1900, 239.255.255.250 . 1900 } accept
    iifname "v1b" counter name strays
  }
}
END
}
strays() { on gate nft list counter inet strays strays | sed -n 's/.*packets \([0-9]*\).*/\1/p'; }

# probe WANTED-CODE ARGUMENTS...: within 5 s, with that exit code
probe() {
  local want=$1 from code=0
  shift
  from=$(now_ms)
  on agent timeout 20 "$ZTNA" probe "$@" >"$T/probe.out" 2>"$T/probe.err" || code=$?
  TOOK=$(($(now_ms) - from))
  if [ $code = "$want" ] && [ $TOOK -lt 5000 ]; then return; fi
  echo "exit $code, should be $want; $TOOK ms"
  cat "$T/probe.out" "$T/probe.err"
  return 1
}
# says NAME VALUE...: these facts, VALUE an extended regular expression
says() {
  while [ $# -gt 0 ]; do
    grep -Eq "^$1: +$2( |\$)" "$T/probe.out" || {
      echo "not $1: $2"
      cat "$T/probe.out" "$T/probe.err"
      return 1
    }
    shift 2
  done
}
with_config() { probe "$1" --config "$T/agent-a1.json" "${@:2}"; }

# --- with a certificate

no_nat() {
  gate && with_config 0 &&
    says ipv4.mapping none ipv4.filtering address-dependent ipv4.allocation preserving \
      ipv4.reflexive '192\.168\.1\.1:[0-9]+' ipv4.carrier_grade_nat no \
      verdict.direct yes ipv6.class unknown
}
tells_of_the_relay() {
  says servers-1.ipv4.udp yes servers-1.ipv4.stun yes servers-1.ipv4.control yes \
    servers-1.ipv4.handshake_ms '[0-9.]+' servers-1.ipv4.quic_version 1 \
    servers-1.ipv4.alpn h3 servers-1.ipv4.retry no \
    servers-1.ipv4.tls_group X25519MLKEM768 servers-1.ipv4.tls_cipher TLS13-.* \
    servers-1.ipv4.relay_identity spiffe://example.org/relay/r1 \
    servers-1.ipv4.relay_certificate_days '[1-9][0-9]*' self.certificate_days '[1-9][0-9]*' \
    servers-1.ipv4.clock_offset_s '-?[01]' servers-1.ipv4.loss_percent 0.0 \
    servers-1.ipv4.rtt_p95_ms '[0-9.]+' servers-1.ipv4.udp_payload 1452 \
    servers-1.ipv4.path_mtu 1480 servers-1.ipv4.datagram_max 1416
}
small_packets() { # 1400 bytes is the most that passes: QUIC tries 1372 after 1406
  local rc=0
  gate
  on gate ip link set v3a mtu 1400
  with_config 0 && says servers-1.ipv4.udp_payload 1372 servers-1.ipv4.path_mtu 1400 \
    servers-1.ipv4.datagram_max 1336 || rc=1
  on gate ip link set v3a mtu 1500
  return $rc
}
loses() { # each fifth packet
  gate "" "iifname v1a numgen inc mod 5 0 drop; iifname v3a udp sport 4433 numgen inc mod 5 0 drop" &&
    with_config 0 && says servers-1.ipv4.loss_percent '[1-4][0-9]\.0' verdict.direct yes
}
port_restricted() {
  gate 'oifname "v3a" masquerade' && with_config 0 &&
    says ipv4.mapping endpoint-independent ipv4.filtering address-and-port-dependent \
      ipv4.port_preservation yes ipv4.class port-restricted \
      ipv4.expected.port-restricted direct ipv4.expected.symmetric-random "direct after a search"
}
symmetric() {
  gate 'oifname "v3a" masquerade random,fully-random' && with_config 0 &&
    says ipv4.mapping address-and-port-dependent ipv4.allocation random \
      ipv4.port_preservation no ipv4.class symmetric-random \
      ipv4.expected.symmetric-random relayed
}
blocked() {
  gate "" "meta l4proto udp drop" && with_config 4 &&
    says servers-1.ipv4.udp no ipv4.class udp-blocked verdict.direct no
}
by_ipv6() {
  gate && probe 0 --config "$T/agent-a1.json" "$RELAY6" &&
    says servers-1.ipv6.control yes ipv6.mapping none servers-1.ipv6.path_mtu 1500 ipv4.class unknown
}
one_of_two() {
  gate && probe 1 --config "$T/agent-a1.json" $RELAY 192.168.3.2:9 &&
    says servers-1.ipv4.control yes servers-2.ipv4.udp no verdict.result degraded
}
retries() { # a relay that asks everybody for an address token
  stop relay
  sed -i 's/"policy":/"retry": "always", &/' "$T/relay.json"
  start_relay
  wait_for 5 is_ready relay && with_config 0 && says servers-1.ipv4.retry yes
}
wrong_name() { # which the relay's certificate lacks
  on relay ip addr add 192.168.3.9/24 dev v3b
  probe 4 --config "$T/agent-a1.json" 192.168.3.9:4433 &&
    says servers-1.ipv4.udp yes servers-1.ipv4.control "no \(its certificate does not name this address: .*"
}
beside_the_agent() { # with its certificate
  start_agent
  wait_for 5 is_ready agent || return
  with_config 0 && with_config 0 && ! grep -qi "replaced\|relay lost\|disconnected" "$T/agent.log" &&
    ! grep -q "replaced" "$T/relay.log"
  local rc=$?
  stop agent
  return $rc
}
holes_last() { # 7 s, whatever has used them
  gate 'oifname "v3a" masquerade'
  net_option gate netfilter/nf_conntrack_udp_timeout 7
  net_option gate netfilter/nf_conntrack_udp_timeout_stream 7
  on agent timeout 60 "$ZTNA" probe --lifetime $RELAY >"$T/probe.out" 2>"$T/probe.err" || return
  says ipv4.mapping_lifetime_s "5 \(at least; gone after 10 s\)"
}

# --- without

no_certificate() {
  gate 'oifname "v3a" masquerade' && probe 0 $RELAY &&
    says servers-1.ipv4.control unknown self.identity unknown ipv4.class port-restricted
}
as_nobody() {
  command -v setpriv >/dev/null || { echo "# no setpriv here: as root" && no_certificate && return; }
  cp "$ZTNA" "$T/ztna" && chmod 755 "$T" "$T/ztna"
  on agent setpriv --reuid=65534 --regid=65534 --clear-groups "$T/ztna" probe $RELAY >"$T/probe.out" 2>&1 &&
    says ipv4.class port-restricted
}
plain_server() {
  start turn relay turnserver -n -S -L 192.168.3.2 -p 3478 --no-cli --no-tls --no-dtls --no-tcp \
    --no-rfc5780 --log-file stdout --pidfile "$T/turn.pid" --userdb "$T/turn.db"
  wait_for 5 probe 0 --stun 192.168.3.2:3478
  probe 0 --stun 192.168.3.2 &&
    says servers-1.kind stun servers-1.ipv4.udp yes servers-1.ipv4.control unknown \
      ipv4.mapping endpoint-independent ipv4.reflexive '192\.168\.3\.1:[0-9]+'
}
no_relay() { stop relay && with_config 4 && says servers-1.ipv4.udp no verdict.result unreachable; }
no_name() { probe 4 relay.invalid:4433 && says servers-1.resolved no; }

# --- machines and mistakes

is_json() {
  if command -v python3 >/dev/null; then python3 -m json.tool
  elif command -v jq >/dev/null; then jq .
  else echo "# neither python3 nor jq here" && grep -q '^}$'; fi
}
speaks_json() {
  gate && with_config 0 --json && is_json <"$T/probe.out" >"$T/json" &&
    grep -q '"schema": "ztna.probe/1"' "$T/probe.out" &&
    grep -q '"mapping": "none"' "$T/probe.out" && grep -q '"control": true' "$T/probe.out" &&
    grep -q '"direct": true' "$T/probe.out"
}
nobody_to_ask() { probe 2 && grep -q "nobody to ask" "$T/probe.err"; }
no_such_file() { probe 3 --config "$T/missing.json"; }
wrong_flag() { probe 2 --jsn $RELAY && grep -q -- --json "$T/probe.err"; }

longer() { [ -z "${ALL:-}" ] || check "$@"; }

network
count_strays
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1 $RELAY
start_relay
wait_for 5 is_ready relay

check without_nat_the_address_is_its_own no_nat
check the_relay_is_told_of_in_full tells_of_the_relay
check the_report_is_json speaks_json
longer large_packets_that_are_lost_are_noticed small_packets
longer loss_is_measured_and_confuses_nothing loses
check a_home_router_is_port_restricted port_restricted
check a_nat_with_random_ports_is_symmetric symmetric
check blocked_udp_is_told_within_five_seconds blocked
longer a_relay_is_asked_over_ipv6 by_ipv6
longer one_relay_of_two_is_degraded one_of_two
longer an_agent_with_the_same_certificate_is_not_disturbed beside_the_agent
longer a_relay_that_is_not_the_one_named_is_refused wrong_name
check without_a_certificate_stun_is_enough no_certificate
longer it_needs_no_root as_nobody
if command -v turnserver >/dev/null; then
  longer a_plain_server_tells_the_address plain_server
else
  echo "skip a_plain_server_tells_the_address needs turnserver"
fi
longer the_lifetime_of_a_mapping_is_measured holes_last
longer retry_is_told retries
check nothing_was_sent_to_anybody_else eval '[ "$(strays)" = 0 ]'
check a_relay_that_does_not_run_is_unreachable no_relay
check a_name_that_is_none_is_unreachable no_name
check without_anybody_to_ask_it_says_so nobody_to_ask
check a_configuration_that_is_missing_is_exit_3 no_such_file
check a_mistyped_flag_is_exit_2 wrong_flag
exit "${FAILED:-0}"
