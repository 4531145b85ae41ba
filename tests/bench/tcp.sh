# tcp.sh - part of run.sh: TCP from the agent's host to the connector's by the
# plain network, by HAProxy, by wireguard-go and nebula directly and through the
# relay's host, and through our relay; the same hosts and programs for all.
TCP=$TOOLS/tool_tcp
ECHO=5007 FLOOD=5078 DISCARD=5079

may_forward() { net_option relay ipv4/ip_forward "$1"; } # 0 or 1
plain_routes() {
  on agent ip route replace 192.168.2.0/24 via 192.168.1.2
  on conn ip route replace 192.168.1.0/24 via 192.168.2.2
}

# Keys of tool_tcp's answer become rows: tcp.WAY.WHAT.KEY value unit
tcp_rows() { # WAY.WHAT FILE KEY...
  local name=$1 file=$2
  shift 2
  awk -v name="tcp.$name." -v keys=" $* " '{
    for (i = 1; i <= NF; i++) {
      split($i, kv, "=")
      k = kv[1]
      if (keys != "  " && !index(keys, " " k " ")) continue
      u = k
      if (sub(/_mbit$/, "", k)) u = "Mbit/s"
      else if (sub(/_us$/, "", k)) u = "us"
      else if (sub(/_per_gb$/, ".per_gb", k)) u = "s/GB"
      else if (k == "rate") u = "/s"
      else u = ""
      print name k, kv[2], u
    }
  }' "$file" >>"$ROWS"
}

# Bulk, with a key stroke every 2 ms beside it where there is one stream.
bulk() { # WAY ADDRESS down|up STREAMS WHO:PID...
  local way=$1 at=$2 dir=$3 n=$4 port=$FLOOD rr=
  shift 4
  [ "$dir" = down ] || port=$DISCARD
  if [ "$n" = 1 ]; then
    on agent "$TCP" rr "$at:$ECHO" "seconds=$SECONDS_EACH" >"$T/rr" 2>&1 &
    rr=$!
  fi
  if on agent timeout 20 "$TCP" bulk "$dir" "$at:$port" "streams=$n" "seconds=$SECONDS_EACH" "$@" \
    >"$T/bulk" 2>&1; then
    tcp_rows "$way.$dir$n" "$T/bulk"
  else
    say "$way $dir $n: $(cat "$T/bulk")"
  fi
  [ -n "$rr" ] || return 0
  wait $rr || say "$way rr: $(cat "$T/rr")"
  tcp_rows "$way.$dir$n.rr" "$T/rr" p50_us p99_us
}

small() { # WAY ADDRESS
  local way=$1 at=$2
  on agent "$TCP" rr "$at:$ECHO" seconds=1 >"$T/rr" 2>&1 || say "$way rr: $(cat "$T/rr")"
  tcp_rows "$way.idle.rr" "$T/rr" p50_us p99_us
  on agent "$TCP" crr "$at:$ECHO" seconds=1 n=1 >"$T/rr" 2>&1 || say "$way crr: $(cat "$T/rr")"
  tcp_rows "$way.crr1" "$T/rr" p50_us p99_us
  on agent "$TCP" crr "$at:$ECHO" seconds=1.5 n=8 >"$T/rr" 2>&1 || say "$way crr: $(cat "$T/rr")"
  tcp_rows "$way.crr8" "$T/rr" rate failed
}

measure() { # WAY ADDRESS WHO:PID...
  local way=$1 at=$2 dir n
  shift 2
  if ! wait_for 5 on agent timeout 3 "$TCP" rr "$at:$ECHO" seconds=0.2; then
    say "tcp: nothing arrives by $way"
    return 1
  fi
  say "tcp $way"
  small "$way" "$at"
  for n in 1 8; do
    for dir in down up; do bulk "$way" "$at" $dir $n "$@"; done
  done
  return 0
}

has() { command -v "$1" >/dev/null || { say "no $1 here: no rows of it"; return 1; }; }

# --- HAProxy where the connector would be

way_haproxy() {
  local p
  has haproxy || return
  {
    printf 'defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n'
    printf ' maxconn 4000\n'
    for p in $ECHO $FLOOD $DISCARD; do
      printf 'listen p%s\n bind 192.168.2.1:1%s\n server s 127.0.0.1:%s\n' "$p" "$p" "$p"
    done
  } >"$T/haproxy.cfg"
  start haproxy conn haproxy -db -f "$T/haproxy.cfg"
  (
    ECHO=1$ECHO FLOOD=1$FLOOD DISCARD=1$DISCARD
    measure haproxy 192.168.2.1 "haproxy:$PID_haproxy"
  )
  stop haproxy
}

# --- wireguard-go; a device's control socket is found by its name, which is
# this run's own

wg_keys() (
  umask 077
  for h in agent conn relay; do
    wg genkey >"$T/wg-$h.key"
    wg pubkey <"$T/wg-$h.key" >"$T/wg-$h.pub"
  done
)
# wg_host NAME HOST ADDRESS [PEER ALLOWED ENDPOINT|-]...
wg_host() {
  local name=$1 h=$2 dev="zw$$$2" at=$3
  shift 3
  start "$name" "$h" env WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error wireguard-go -f "$dev"
  wait_for 5 test -S "/var/run/wireguard/$dev.sock" || return
  {
    printf '[Interface]\nPrivateKey = %s\nListenPort = 51820\n' "$(cat "$T/wg-$h.key")"
    while [ $# -gt 0 ]; do
      printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s\n' "$(cat "$T/wg-$1.pub")" "$2"
      [ "$3" = - ] || printf 'Endpoint = %s\n' "$3"
      shift 3
    done
  } >"$T/$name.conf"
  on "$h" wg setconf "$dev" "$T/$name.conf" && on "$h" ip addr add "$at/24" dev "$dev" &&
    on "$h" ip link set "$dev" up
}
way_wireguard() {
  has wireguard-go && has wg || return
  wg_keys
  wg_host wga agent 10.9.0.1 conn 10.9.0.0/24 192.168.2.1:51820 &&
    wg_host wgc conn 10.9.0.2 agent 10.9.0.0/24 - &&
    measure wireguard 10.9.0.2 "agent:$PID_wga" "conn:$PID_wgc"
  stop wga
  stop wgc
}
way_wghub() {
  has wireguard-go && has wg || return
  wg_keys
  wg_host wgh relay 10.9.0.3 agent 10.9.0.1/32 - conn 10.9.0.2/32 192.168.2.1:51820 &&
    wg_host wga agent 10.9.0.1 relay 10.9.0.0/24 192.168.1.2:51820 &&
    wg_host wgc conn 10.9.0.2 relay 10.9.0.0/24 192.168.2.2:51820 &&
    measure wghub 10.9.0.2 "agent:$PID_wga" "hub:$PID_wgh" "conn:$PID_wgc"
  for p in wga wgh wgc; do stop $p; done
}

# --- nebula

nebula_certs() {
  local h n=1
  [ -f "$T/neb/ca.crt" ] && return
  mkdir -p "$T/neb"
  (
    cd "$T/neb" && nebula-cert ca -name bench || exit
    for h in agent conn relay; do
      nebula-cert sign -name $h -ip 10.8.0.$n/24 || exit
      n=$((n + 1))
    done
  ) >"$T/neb/out" 2>&1
}
# nebula_host NAME HOST YAML: the rest of its configuration
nebula_host() {
  cat >"$T/$1.yml" <<END
pki: {ca: $T/neb/ca.crt, cert: $T/neb/$2.crt, key: $T/neb/$2.key}
listen: {host: 0.0.0.0, port: 4242}
tun: {dev: neb0, mtu: 1300}
logging: {level: error, format: text}
firewall:
  outbound: [{port: any, proto: any, host: any}]
  inbound: [{port: any, proto: any, host: any}]
$3
END
  start "$1" "$2" nebula -config "$T/$1.yml"
}
way_nebula() {
  has nebula && has nebula-cert && nebula_certs || return
  nebula_host nba agent 'static_host_map: {"10.8.0.2": ["192.168.2.1:4242"]}'
  nebula_host nbc conn 'static_host_map: {"10.8.0.1": ["192.168.1.1:4242"]}'
  measure nebula 10.8.0.2 "agent:$PID_nba" "conn:$PID_nbc"
  stop nba
  stop nbc
}
# No way around the relay: its host forwards nothing meanwhile.
way_nebrelay() {
  local end='static_host_map: {"10.8.0.3": ["RELAY:4242"]}
lighthouse: {am_lighthouse: false, interval: 1, hosts: ["10.8.0.3"]}
relay: {relays: ["10.8.0.3"], am_relay: false, use_relays: true}'
  has nebula && has nebula-cert && nebula_certs || return
  nebula_host nbr relay 'lighthouse: {am_lighthouse: true}
relay: {am_relay: true, use_relays: false}'
  nebula_host nba agent "${end/RELAY/192.168.1.2}"
  nebula_host nbc conn "${end/RELAY/192.168.2.2}"
  measure nebrelay 10.8.0.2 "agent:$PID_nba" "relay:$PID_nbr" "conn:$PID_nbc"
  for p in nba nbc nbr; do stop $p; done
}

# --- ours

ours() { # FURTHER MEMBERS OF THE CONNECTOR
  sed -i 's/"udp", "icmp"/"udp", "tcp", "icmp"/' "$T/policy.json"
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {${1:-} "relays": ["192.168.2.2:4433"], "services": [{"id": "echo", "backends": [
  {"protocol": "tcp", "port": $ECHO, "to": "127.0.0.1:$ECHO"},
  {"protocol": "tcp", "port": $FLOOD, "to": "127.0.0.1:$FLOOD"},
  {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
  {"protocol": "tcp", "port": $DISCARD, "to": "127.0.0.1:$DISCARD"}]}]}}
END
}
uses_direct() { ready agent | tr -d ' \n' | grep -q '"kind":"direct","chosen":true'; }

way_ztna() {
  local p
  ours
  chain_up
  if measure ztna 10.100.0.2 "agent:$PID_agent" "relay:$PID_relay" "connector:$PID_connector"; then
    for p in agent relay connector; do
      awk -v n="tcp.ztna.$p.rss" '$1 == "VmHWM:" { printf "%s %.1f MB\n", n, $2 / 1024 }' \
        "/proc/$(pid_of $p)/status" >>"$ROWS"
    done
  fi
  for p in agent connector relay echo; do stop $p; done
  bench_configs
}

# The same packets, but the relay's host only routes them.
way_ztdirect() {
  local near='"direct_networks": ["192.168.0.0/16"],'
  plain_routes
  ours "$near"
  sed -i "s|\"direct\": false,|$near|" "$T/agent-a1.json"
  chain_up
  wait_for 5 uses_direct || { say "tcp: no direct path"; return 1; }
  measure ztdirect 10.100.0.2 "agent:$PID_agent" "connector:$PID_connector"
  for p in agent connector relay echo; do stop $p; done
  bench_configs
}

# WAYS="raw ztna": only those
part_tcp() {
  local h way
  for h in agent conn; do # thousands of short connections
    net_option $h ipv4/ip_local_port_range "16000 51000"
    net_option $h ipv4/tcp_tw_reuse 1
  done
  plain_routes
  start tool conn "$TCP" serve $ECHO=echo $FLOOD=flood $DISCARD=discard
  for way in ${WAYS:-raw haproxy wireguard wghub nebula nebrelay ztna ztdirect}; do
    case $way in nebrelay | ztna) may_forward 0 ;; *) may_forward 1 ;; esac
    case $way in raw) measure raw 192.168.2.1 ;; *) way_$way ;; esac
  done
  may_forward 0
  rmdir /var/run/wireguard 2>/dev/null
  stop tool
}
