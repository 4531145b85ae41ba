# lab.sh - an internet in namespaces: two hosts behind routers of any class, and
# relays. For the scripts beside it: `. lab.sh`, lab_need, lab_up CLASS-A CLASS-B,
# lab_pki, lab_programs. Built on ../lib.sh, whose cleanup removes it all.
#
#   agent ----- nat-agent ----- core ----- nat-conn ----- conn
#  10.1.0.2     198.51.100.2    |  |      203.0.113.2     10.2.0.2
#                               |  |
#                           relay  relay2
#                    192.0.2.2 .3  192.0.2.130 .131
#
#   core      the internet: routes between public networks, has no way to private
#             ones and drops in silence what goes there. No delay.
#   relays    two IPv4 addresses each (RFC 5780), 2001:db8:1::2, 2001:db8:2::2
#   nat-...   routers: eth0 of a host hangs on `lan`, core on `wan`
#
# Classes (router.sh has their rules). Endpoint-independent mapping unless said:
#
#   public              router without NAT; the host is 198.51.100.130 (203.0.113.130)
#   firewall            the same, lets only answers in
#   full-cone           anybody may use a mapping          ports are preserved;
#   addr-restricted     who was written to, any port       with -np they are not
#   port-restricted     who was written to, that port
#   input-accept        port-restricted, but takes UDP for itself: a peer that is
#                       early steals the mapping it aims at
#   sym-seq             a mapping per destination, ports one after the other
#   sym-random          a mapping per destination, random ports
#   upnp                sym-random, and miniupnpd (UPnP IGD, NAT-PMP, PCP)
#   cgn                 port-restricted; behind it the carrier's router isp-...,
#                       100.127.1.0/24 in between, full-cone-np
#   cgn-pr              the same, the carrier is port-restricted-np
#   short-timeouts      port-restricted, UDP forgotten after 5 s, 10 s when answered
#   udp-relay-only      port-restricted, UDP leaves only to port 4433 of relays
#   udp-443             port-restricted, UDP leaves only to port 443
#   v6-firewall         IPv6 alone, no NAT, lets only answers in
#
# And as the name of a pair, both hosts behind nat-agent:
#
#   same-lan            in one network, 10.1.0.2 and 10.1.0.3
#   hairpin             in two that are kept apart; full-cone, which sends back in
#                       what goes from inside to its own mappings
#   no-hairpin          the same, but does not
. "${BASH_SOURCE%/*}/../lib.sh"
. "${BASH_SOURCE%/*}/router.sh"
. "${BASH_SOURCE%/*}/events.sh"

RELAY_IPS="192.0.2.2, 192.0.2.3, 192.0.2.130, 192.0.2.131"
NAT_CHECK=${NAT_CHECK:-${ZTNA%/*}/tests/tool_nat_check}
SHORT_NEW=${SHORT_NEW:-5} SHORT_ANSWERED=${SHORT_ANSWERED:-10}

lab_need() {
  PATH=$PATH:/usr/sbin:/sbin
  need ip nft conntrack "$@"
}

# can CLASS-A CLASS-B...: is there what they need?
can() {
  case " $* " in *" upnp "*) command -v miniupnpd >/dev/null ;; esac
}

# --- cables and addresses

# wire HOST INTERFACE HOST INTERFACE
wire() {
  ip link add "$2" netns "$N-$1" type veth peer name "$4" netns "$N-$3"
  ip -n "$N-$1" link set "$2" up
  ip -n "$N-$3" link set "$4" up
}
# address HOST INTERFACE ADDRESS/BITS...
address() {
  local h=$1 i=$2 a
  shift 2
  for a in "$@"; do ip -n "$N-$h" addr add "$a" dev "$i"; done
}
# route_to HOST PREFIX GATEWAY
route_to() {
  case $2$3 in
  *:*) ip -n "$N-$1" -6 route add "$2" via "$3" ;;
  *) ip -n "$N-$1" route add "$2" via "$3" ;;
  esac
}
router() {
  host "$1"
  on "$1" sh -c 'cd /proc/sys/net && echo 1 >ipv4/ip_forward &&
    echo 1 >ipv6/conf/all/forwarding && echo 0 >ipv4/conf/all/rp_filter &&
    echo 0 >ipv4/conf/default/rp_filter && echo 0 >ipv4/conf/all/send_redirects &&
    echo 0 >ipv4/conf/default/send_redirects'
}

# wan_of SIDE CLASS: the first three bytes of the public network. miniupnpd takes
# documentation's for private, so its router gets others.
wan_of() {
  case $1-$2 in
  agent-upnp) echo 11.0.1 ;;
  conn-upnp) echo 11.0.2 ;;
  agent-*) echo 198.51.100 ;;
  *) echo 203.0.113 ;;
  esac
}
side_number() { [ "$1" = agent ] && echo 1 || echo 2; }
has_public_host() { [ "$1" = public ] || [ "$1" = firewall ]; }
has_carrier() { carrier_rules "$1" 0.0.0.0 >/dev/null; }
is_v6_class() { [ "$1" = v6-firewall ]; }
is_shared() { case " $SHARED " in *" $1 "*) ;; *) false ;; esac }
has_host() { case " $HOSTS " in *" $1 "*) ;; *) false ;; esac }

# --- the middle

core_up() {
  router core
  ip -n "$N-core" route add blackhole default
  ip -n "$N-core" -6 route add blackhole default
}
# relay_up 1|2: its host
relay_up() {
  local h=relay net=0
  [ "$1" = 2 ] && h=relay2 net=128
  host $h
  wire core $h $h eth0
  address core $h "192.0.2.$((net + 1))/25" "2001:db8:$1::1/64"
  address $h eth0 "192.0.2.$((net + 2))/25" "192.0.2.$((net + 3))/25" "2001:db8:$1::2/64"
  route_to $h default "192.0.2.$((net + 1))"
  route_to $h ::/0 "2001:db8:$1::1"
}

# --- a side

# outside_up ROUTER SIDE CLASS: its wan
outside_up() {
  local wan net
  wan=$(wan_of "$2" "$3") net=2001:db8:a$(side_number "$2")
  wire core "$2" "$1" wan
  if is_v6_class "$3"; then
    address core "$2" "$net:1::1/64"
    address "$1" wan "$net:1::2/64"
    route_to "$1" ::/0 "$net:1::1"
    route_to core "$net:2::/64" "$net:1::2"
    return
  fi
  address core "$2" "$wan.1/25"
  address "$1" wan "$wan.2/25"
  route_to "$1" default "$wan.1"
  ! has_public_host "$3" || route_to core "$wan.128/25" "$wan.2"
}
# carrier_up SIDE CLASS: isp-SIDE outside, and nat-SIDE's wan inside of it
carrier_up() {
  local net
  net=100.127.$(side_number "$1")
  router "isp-$1"
  outside_up "isp-$1" "$1" "$2"
  wire "isp-$1" lan "nat-$1" wan
  address "isp-$1" lan "$net.1/24"
  address "nat-$1" wan "$net.2/24"
  route_to "nat-$1" default "$net.1"
  carrier_rules "$2" "$(wan_of "$1" "$2").2" | on "isp-$1" nft -f -
  rules "nat-$1" "$2" "$net.2"
}
# rules ROUTER CLASS ADDRESS
rules() {
  router_rules "$2" "$3" | on "$1" nft -f - || return
  case $2 in
  short-timeouts)
    net_option "$1" netfilter/nf_conntrack_udp_timeout "$SHORT_NEW"
    net_option "$1" netfilter/nf_conntrack_udp_timeout_stream "$SHORT_ANSWERED"
    ;;
  upnp)
    upnp_conf 10.0.0.0/8 >"$T/upnp-$1.conf"
    start "upnp_${1#nat-}" "$1" miniupnpd -d -f "$T/upnp-$1.conf" -P "$T/upnp-$1.pid"
    ;;
  esac
}
# host_up SIDE ROUTER LAN CLASS: a host and its network
host_up() {
  local gate own bits=24
  case $4 in
  v6-firewall) gate=2001:db8:a$(side_number "$1"):2:: bits=64 own=${gate}2 gate=${gate}1 ;;
  public | firewall) gate=$(wan_of "$1" "$4") bits=25 own=$gate.130 gate=$gate.129 ;;
  *) gate=10.$(side_number "$1").0 own=$gate.2 gate=$gate.1 ;;
  esac
  host "$1"
  wire "$2" "$3" "$1" eth0
  address "$2" "$3" "$gate/$bits"
  address "$1" eth0 "$own/$bits"
  default_of "$1" "$gate"
}
default_of() {
  eval "GATE_$1=$2"
  ip -n "$N-$1" route replace default via "$2"
}
# side_up SIDE CLASS
side_up() {
  router "nat-$1"
  host_up "$1" "nat-$1" lan "$2"
  if has_carrier "$2"; then
    carrier_up "$1" "$2"
  else
    outside_up "nat-$1" "$1" "$2"
    rules "nat-$1" "$2" "$(wan_of "$1" "$2").2"
  fi
}
# shared_up CLASS: both hosts behind nat-agent
shared_up() {
  side_up agent "$1" || return
  if [ "$1" != same-lan ]; then
    host_up conn nat-agent lan2 "$1"
    return
  fi
  net_option nat-agent bridge/bridge-nf-call-iptables 0 # routed packets alone
  ip -n "$N-nat-agent" addr flush dev lan
  ip -n "$N-nat-agent" link add lan0 type bridge
  ip -n "$N-nat-agent" link set lan master lan0
  ip -n "$N-nat-agent" link set lan0 up
  address nat-agent lan0 10.1.0.1/24
  host conn
  wire nat-agent lan1 conn eth0
  ip -n "$N-nat-agent" link set lan1 master lan0
  address conn eth0 10.1.0.3/24
  default_of conn 10.1.0.1
}
# lab_up CLASS-A CLASS-B [RELAYS], or a shared one
lab_up() {
  core_up
  relay_up 1
  [ "${3:-1}" = 1 ] || relay_up 2
  CLASS_agent=$1 CLASS_conn=$2
  if is_shared "$1"; then
    shared_up "$1"
  else
    side_up agent "$1" && side_up conn "$2"
  fi && count_up
}

# Everything ends, for the next lab_up.
lab_down() {
  local h p
  for h in $HOSTS; do
    for p in $(ip netns pids "$N-$h"); do
      kill -9 "$p" 2>/dev/null
      wait "$p" 2>/dev/null
    done
    ip netns del "$N-$h"
  done
  HOSTS=
  rm -f "$T"/*.log
}

# --- the programs

# Certificates for both relays, the agent and the connector; those in LAB_PKI
# where a parent made them.
lab_pki() {
  local n
  if [ -n "${LAB_PKI:-}" ]; then
    cp "$LAB_PKI"/*.pem "$LAB_PKI"/*.key "$T"
    return
  fi
  "$ZTNA" cert init --dir "$T" --trust-domain example.org >"$T/cert.out" 2>&1 || return
  for n in 1 2; do
    issue relay r$n --dns relay$n.test --ip 192.0.2.$((n * 128 - 126)) \
      --ip 192.0.2.$((n * 128 - 125)) --ip 2001:db8:$n::2 || return
  done
  issue connector c1 --service echo --service dns && issue agent a1
}
# relay_at 1|2 CLASS: what a host of this class dials
relay_at() {
  local port=4433
  [ "$2" = udp-443 ] && port=443
  case $2 in
  v6-firewall) echo "[2001:db8:$1::2]:$port" ;;
  *) echo "192.0.2.$(($1 * 128 - 126)):$port" ;;
  esac
}
# relays_for CLASS: as lib's connector_json and agent_json put it between quotes
relays_for() {
  if has_host relay2; then
    printf '%s", "%s' "$(relay_at 1 "$1")" "$(relay_at 2 "$1")"
  else
    relay_at 1 "$1"
  fi
}
lab_json() {
  relay_json
  sed -i 's/"\[::\]:4433"\]/"[::]:4433", "0.0.0.0:443"], "stun_ips": ["192.0.2.2", "192.0.2.3"]/' \
    "$T/relay.json"
  sed 's/relay-r1/relay-r2/g; s/"state"/"state2"/; s/192\.0\.2\.2"/192.0.2.130"/
    s/192\.0\.2\.3"/192.0.2.131"/' "$T/relay.json" >"$T/relay2.json"
  agent_json a1 "$(relays_for "$CLASS_agent")"
  connector_json "$(relays_for "$CLASS_conn")"
}
start_relay2() { start relay2 relay2 "$ZTNA" relay --config "$T/relay2.json"; }
# Connector and agent anew, until both have a relay.
pair_start() {
  start_connector
  wait_for 5 is_ready conn || return
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2
}
pair_stop() {
  stop agent
  stop connector
  flush_nat agent
  is_shared "$CLASS_agent" || flush_nat conn
}
lab_programs() {
  lab_json
  start_backend
  start_relay
  wait_for 5 is_ready relay
  ! has_host relay2 || { start_relay2 && wait_for 5 is_ready relay2; }
  pair_start
}
