#!/bin/bash
# portmap.sh - a real router (miniupnpd) between a connector and the Internet:
# it is asked for a port that leads to the connector's socket, by each protocol,
# and has nothing left when the connector is gone.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/nat/router.sh # upnp_rules, upnp_conf
need ip nft miniupnpd

# conn 192.168.7.2 - router - 11.0.0.2 relay. miniupnpd takes documentation's
# addresses for private ones.
ROUTER=11.0.0.1
cable() { # HOST1 DEV1 ADDRESS1 HOST2 DEV2 ADDRESS2
  ip link add "$2" netns "$N-$1" type veth peer name "$5" netns "$N-$4"
  on "$1" ip addr add "$3/24" dev "$2"
  on "$4" ip addr add "$6/24" dev "$5"
  on "$1" ip link set "$2" up
  on "$4" ip link set "$5" up
}
hosts_up() {
  host relay
  host router
  host conn
  cable relay v0 11.0.0.2 router wan $ROUTER
  cable router lan 192.168.7.1 conn v0 192.168.7.2
  on conn ip route add default via 192.168.7.1
  net_option router ipv4/ip_forward 1
  {
    upnp_rules
    printf '%s\n' 'table ip nat {' 'chain postrouting {' \
      'type nat hook postrouting priority srcnat' \
      'oifname "wan" masquerade random' '}' '}'
  } | on router nft -f -
}

# --- the router's service

serve() { # UPNP NATPMP
  upnp_conf 192.168.7.0/24 | sed "s/enable_upnp=.*/enable_upnp=$1/
    s/enable_natpmp=.*/enable_natpmp=$2/" >"$T/upnp.conf"
  start upnp router miniupnpd -d -f "$T/upnp.conf" -P "$T/upnp.pid"
  wait_for 3 listens "$1"
}
listens() { # its ports: SSDP, or NAT-PMP
  if [ "$1" = yes ]; then
    on router grep -q ':076C ' /proc/net/udp
  else
    on router grep -q ':14E7 ' /proc/net/udp
  fi
}
forwarded() { on router nft list chain inet upnp upnp_dnat; }
nothing_is_forwarded() { ! forwarded | grep ' to '; }

# --- the connector

status() { on conn "$ZTNA" status --http 127.0.0.1:9090 --json; }
mapping() { status | sed -n 's/.*\("port_mapping": *{[^}]*}\).*/\1/p'; }
says() { mapping | grep -q "$1" || { mapping; false; }; }
# logged_at WORDS: ms, of the last line with them
logged_at() {
  date -d "$(grep "$1" "$T/connector.log" | tail -n 1 | cut -d' ' -f1)" +%s%3N
}
mapped_within() { # MS PROTOCOL
  wait_for 5 says '"state": *"mapped"' || { mapping; return 1; }
  local took=$(($(logged_at 'portmap: mapped') - $(logged_at 'connector: started')))
  echo "# mapped by $2 $took ms after the start"
  says "\"protocol\": *\"$2\"" && [ $took -lt "$1" ]
}
outer_port() { mapping | sed -n "s/.*\"outer\": *\"$ROUTER:\([0-9]*\)\".*/\1/p"; }
is_in_the_router() {
  local inner
  inner=$(on conn awk '$2 ~ /^00000000:/ && !/:14E[67] / { print substr($2, 10) }' /proc/net/udp)
  for i in $inner; do
    forwarded | grep -q "dnat.* to 192.168.7.2:$((16#$i))" && return
  done
  forwarded
  false
}
received() {
  on conn bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090
    printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3' |
    awk '$1 == "ztna_udp_rx_packets_total" { print $2 }'
}
# From a place that the connector never sent to; nobody answers.
arrives_from_outside() {
  local before port
  before=$(received) port=$(outer_port)
  [ "$port" ] || { mapping; return 1; }
  for i in 1 2 3 4 5 6 7 8 9 10; do
    on relay bash -c "echo garbage >/dev/udp/$ROUTER/$port"
  done
  wait_for 2 has_received $((before + 10)) || { echo "$before, then $(received)"; false; }
}
has_received() { [ "$(received)" -ge "$1" ]; }
connector_up() {
  started=$(now_ms)
  start_connector
}
# TERM, and how long its end took
ends_within() {
  local begin took
  begin=$(now_ms)
  stop connector
  took=$(($(now_ms) - begin))
  echo "# ended $took ms after SIGTERM"
  [ $took -lt "$1" ]
}

# protocol NAME UPNP NATPMP
protocol() {
  serve "$2" "$3" || { not_ok "router_serves_$1"; return; }
  connector_up
  check "mapped_within_a_second_by_$1" mapped_within 1000 "$1"
  check "${1}_mapping_is_in_the_router" is_in_the_router
  check "packets_from_outside_arrive_by_$1" arrives_from_outside
  check "ends_at_once_with_${1}_mapping" ends_within 700
  check "${1}_mapping_is_gone_afterwards" nothing_is_forwarded
  stop upnp
}

# --- a router that has none of it

ready_without_delay() {
  wait_for 3 is_ready conn || return 1
  echo "# ready $(($(now_ms) - started)) ms after the start"
  [ $(($(now_ms) - started)) -lt 1000 ]
}
# Eventually, and with a reason for each.
says_none() {
  wait_for 15 says '"state": *"none"' && says 'nat-pmp: ' && says 'upnp: ' &&
    echo "# $(mapping)"
}

both_leave_nothing() { is_in_the_router && ends_within 700 && nothing_is_forwarded; }

hosts_up
"$ZTNA" cert init --dir "$T" --trust-domain example.org >"$T/cert.out" 2>&1 &&
  issue relay r1 --ip 11.0.0.2 && issue connector c1 --service echo --service dns ||
  { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
connector_json 11.0.0.2:4433
start_relay
wait_for 5 is_ready relay

protocol nat-pmp no yes
protocol upnp yes no

connector_up
check "router_without_any_does_not_delay" ready_without_delay
check "router_without_any_is_told_with_reasons" says_none
check "ends_at_once_without_mapping" ends_within 700

# What it looks like when it is not wished for.
sed -i 's/"connector": {/"connector": {"port_mapping": false, /' "$T/connector.json"
serve yes yes
connector_up
check "switched_off_asks_nobody" wait_for 3 says 'switched off'
check "switched_off_leaves_the_router_alone" nothing_is_forwarded
stop connector

# Started first, the router comes and is another one: the network changed.
sed -i 's/"port_mapping": false, //' "$T/connector.json"
on conn ip route del default
connector_up
check "no_router_is_told" wait_for 5 says 'no IPv4 router'
on conn ip route add default via 192.168.7.1
check "a_new_route_is_asked_at_once" wait_for 5 says '"state": *"mapped"'
check "both_protocols_leave_nothing" both_leave_nothing
exit "${FAILED:-0}"
