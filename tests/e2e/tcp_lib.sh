# tcp_lib.sh - six real services and some that misbehave behind one connector,
# for the scripts tcp*.sh, which source lib.sh before.
#
#   VIA=tunnel   agent - relay - connector (without it)
#   VIA=forward  an agent that is nobody, without a TUN: its local sockets are at
#                the services' addresses
#   VIA=raw      the same addresses and servers by plain routes: what the
#                scripts themselves are tried with
VIA=${VIA:-tunnel}
TCP=${TCP:-${ZTNA%/*}/tests/tool_tcp}
. tests/e2e/servers.sh

# service       v4           v6
declare -A AT=(
  [echo]=10.100.0.2 [dns]=10.100.0.3 [web]=10.100.0.4 [tls]=10.100.0.5
  [ssh]=10.100.0.6 [db]=10.100.0.7 [odd]=10.100.0.8)
at6() { echo "fd5a:10::${AT[$1]##*.}"; }

# Port 82 of `odd` leads where the connector's host has no way to, port 81 to
# nobody; what the others do is in tool_tcp.c.
ODD="70=sink 71=source 72=reply:100000 73=slow:4 74=close 75=reset:5000
  76=cut:100000 77=sink:500000:30 78=flood 79=discard"
NOWHERE=198.51.100.1

backend() { echo "{\"protocol\": \"$1\", \"port\": $2, \"to\": \"${3:-127.0.0.1:$2}\"}"; }
tcp_connector_json() { # [RELAY]
  local odd= check= p
  [ -z "${WEB_CHECK:-}" ] || check=", \"check\": $WEB_CHECK"
  for p in $ODD; do odd="$odd$(backend tcp "${p%%=*}"), "; done
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["${1:-192.168.2.2:4433}"], "services": [
  {"id": "echo", "backends": [$(backend tcp 7), $(backend udp 9999)]},
  {"id": "dns", "backends": [$(backend udp 53), $(backend tcp 53)]},
  {"id": "web", "backends": [$(backend tcp 80)]$check},
  {"id": "tls", "backends": [$(backend tcp 443)]},
  {"id": "ssh", "backends": [$(backend tcp 22)]},
  {"id": "db", "backends": [$(backend tcp 5432)]},
  {"id": "odd", "backends": [$odd$(backend tcp 81), $(backend tcp 82 $NOWHERE:82),
    $(backend tcp 5201), $(backend udp 5201)]}]}}
END
}
tcp_policy() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"],
  "services": ["echo", "dns", "web", "tls", "ssh", "db", "odd"], "protocols": ["tcp", "udp", "icmp"]}]}
END
}
tcp_relay_json() {
  local s list=
  relay_json
  for s in "${!AT[@]}"; do
    list="$list${list:+, }\"$s\": {\"virtual_ips\": [\"${AT[$s]}\", \"$(at6 "$s")\"]}"
  done
  sed -i "s|\"services\": {.*}},|\"services\": {$list},|" "$T/relay.json"
}

# What `pki` of lib.sh makes, and a connector of all these services.
tcp_pki() {
  pki && rm -f "$T"/connector-c1.* && issue connector c1 $(printf -- '--service %s ' "${!AT[@]}") && issue agent a3 &&
    issue agent a4 && issue agent a5
}

# Plain routes instead of programs, and the services' addresses on their host.
raw_up() {
  local s
  net_option relay ipv4/ip_forward 1
  net_option relay ipv6/conf/all/forwarding 1
  on agent ip route add 10.100.0.0/24 via 192.168.1.2
  on agent ip route add $NOWHERE via 192.168.1.2
  on agent ip -6 route add fd5a:10::/64 via fd00:1::2
  on relay ip route add 10.100.0.0/24 via 192.168.2.1
  on relay ip route add $NOWHERE via 192.168.2.1
  on relay ip -6 route add fd5a:10::/64 via fd00:2::1
  on conn ip route add 192.168.0.0/16 via 192.168.2.2
  on conn ip -6 route add fd00:1::/64 via fd00:2::2
  net_option conn ipv4/ip_forward 1
  for s in "${!AT[@]}"; do
    on conn ip addr add "${AT[$s]}/32" dev lo
    on conn ip addr add "$(at6 "$s")/128" dev lo nodad
  done
}

# Every port of every service, as --forward takes them
forwards() {
  local s p
  for s in echo:7 dns:53 web:80 tls:443 ssh:22 db:5432 odd:81 odd:82 odd:5201 \
    $(printf 'odd:%s\n' $ODD | cut -d= -f1); do
    for p in "${AT[${s%:*}]}" "[$(at6 "${s%:*}")]"; do
      printf -- '--forward %s:%s=%s\n' "$p" "${s#*:}" "$s"
    done
  done
  printf -- '--forward %s:%s/udp=%s\n' "${AT[dns]}" 53 dns:53 "${AT[echo]}" 9999 echo:9999
}
start_forwarder() {
  local s
  for s in "${!AT[@]}"; do
    on agent ip addr add "${AT[$s]}/32" dev lo
    on agent ip addr add "$(at6 "$s")/128" dev lo nodad
  done
  net_option agent ipv4/ip_unprivileged_port_start 0
  nobodys_dir agent-state
  sed -i 's/, "tun": "ztna0"//' "$T/agent-a1.json"
  chown nobody "$T/agent-a1.key"
  start agent agent setpriv --reuid nobody --regid nogroup --clear-groups "$ZTNA" agent \
    --config "$T/agent-a1.json" --state-dir "$T/agent-state" $(forwards)
  wait_for 5 is_ready agent && return
  not_ok start_forwarder "the agent is not ready"
  exit 1
}

tunnel_up() { # [RELAY-FOR-AGENT RELAY-FOR-CONNECTOR]
  tcp_policy
  tcp_pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
  tcp_relay_json
  agent_json a1 "${1:-}"
  tcp_connector_json "${2:-}"
  start_relay
  start_connector
  wait_for 5 is_ready conn || { not_ok tunnel_up "the connector is not ready"; exit 1; }
  [ "$VIA" = tunnel ] || { start_forwarder; return; }
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent "${AT[odd]}" &&
    wait_for 5 routes agent "$(at6 odd)" && return
  not_ok tunnel_up "the agent has no routes after 10 s"
  exit 1
}

# The hosts are there (net_up); everything to reach, and the way to it.
tcp_up() {
  servers_host conn
  on conn ip route add unreachable $NOWHERE
  start_tcp_tool 7=echo $ODD || { not_ok tool "$(cat "$T/tool.log")"; exit 1; }
  case $VIA in
  raw) raw_up ;;
  *) tunnel_up "$@" ;;
  esac
}

# --- what scripts look at

number() { sed -n "s/.*\\b$1=\\([-0-9.]*\\).*/\\1/p" "$2" | tail -n 1; } # KEY FILE
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 <= b + 0) }'; }

# moves get|put BYTES [LONGEST-STALL-MS [KEY=VALUE...]]: whole and right
moves() {
  local way=$1 bytes=$2 stall=${3:-3000} port=71
  shift 2; shift
  [ "$way" = get ] || port=70
  on agent "$TCP" "$way" "${AT[odd]}:${PORT:-$port}" "bytes=$bytes" "$@" >"$T/moves.$way" 2>&1
  local rc=$?
  sed 's/^/# /' "$T/moves.$way"
  [ $rc = 0 ] && less "$(number stall_ms "$T/moves.$way")" "$stall"
}

# lose PERCENT: on the agent's leg, each way. Super-packets are cut before, for
# one drop must be one packet's.
lose() {
  local h share
  share="numgen random mod 1000 < $(awk "BEGIN { print $1 * 10 }")"
  if [ "$1" = 100 ]; then
    share=
  else
    on agent ip link set v1a gso_max_segs 1
    on relay ip link set v1b gso_max_segs 1
  fi
  for h in agent:v1a relay:v1b; do
    on "${h%:*}" nft -f - <<END
table inet loss
delete table inet loss
table inet loss {
  chain in {
    type filter hook prerouting priority -300
    iifname ${h#*:} $share counter drop
  }
}
END
  done
}
lost() { # packets, both ways
  local h
  for h in agent relay; do on $h nft list table inet loss; done |
    sed -n 's/.*counter packets \([0-9]*\).*/\1/p' | awk '{ n += $1 } END { print n + 0 }'
}
no_loss() {
  local h
  for h in agent relay; do on $h nft delete table inet loss 2>/dev/null; done
  on agent ip link set v1a gso_max_segs 65535
  on relay ip link set v1b gso_max_segs 65535
}
