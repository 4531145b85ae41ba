# enroll_lib.sh - a CA's host with its enrolment service, and machines that
# enrol, for the scripts beside it; after lib.sh.
CA=192.168.9.9

# Agent and connector have both a way to the CA's host, none to each other.
hosts_up() {
  net_up
  host ca
  link agent ca 4
  link conn ca 5
  on ca ip addr add $CA/32 dev lo
  on agent ip route add $CA via 192.168.4.2
  on conn ip route add $CA via 192.168.5.2
  link relay ca 6
  on relay ip route add $CA via 192.168.6.2
}

# service NAME PORT FLAGS...: a CA of its own, and who signs by it.
service() {
  local name=$1 port=$2
  "$ZTNA" cert init --dir "$T/$name" --trust-domain example.org >>"$T/cert.out" 2>&1 || return
  cat >"$T/$name.json" <<END
{"log": {"level": "info"}, "state_dir": "$name-state",
 "enroll": {"ca_dir": "$name", "listen": ["0.0.0.0:$port"], "server": "$CA:$port", "max_lifetime": "${3:-720h}"}}
END
  start "$name" ca "$ZTNA" enroll-server --config "$T/$name.json"
}
# token NAME FLAGS...: into $T/NAME.token
token() {
  local name=$1
  shift
  "$ZTNA" token create --config "$T/ca.json" "$@" >"$T/$name.out" 2>"$T/$name.err" &&
    grep -o 'zt1_[^ ]*' "$T/$name.out" >"$T/$name.token" || { cat "$T/$name.err"; false; }
}
# enroll HOST TOKEN-FILE DIR FLAGS...
enroll() {
  local h=$1 t=$2 d=$3
  shift 3
  on "$h" "$ZTNA" enroll --token "@$t" --dir "$d" "$@"
}
mode() { [ "$(stat -c %a "$1")" = "$2" ] || { ls -l "$1"; false; }; }
serial() { "$ZTNA" cert show "$1" --json | sed -n 's/.*"serial": "\([^"]*\)".*/\1/p'; }


configurations() {
  relay_json
  sed -i 's#"\(relay-r1\.[a-z]*\)"#"r/\1"#g; s#"ca.pem"#"r/ca.pem"#' "$T/relay.json"
  connector_json
  sed -i "s|\"\(connector-c1\.[a-z]*\)\"|\"c/\1\"|g; s|\"ca.pem\"|\"c/ca.pem\", \"enroll\": \"$CA:4435\"|" \
    "$T/connector.json"
  cp "$T/a/agent.json" "$T/agent-made.json"
  sed -i 's|^{|{"http": {"listen": "127.0.0.1:9090"},|' "$T/a/agent.json"
}

watch_pings() { start pings agent sh -c "exec ping -D -n -i 0.05 10.100.0.2 >$T/pings 2>&1"; }
renewed() { # HOST FILE SERIAL
  [ "$(serial "$2")" != "$3" ] && ready "$1" | tr -d '\n ' | grep -q '"last":{"ok":true'
}
# pings_lost AT-MOST OF-AT-LEAST
pings_lost() {
  local sent got
  stop pings INT
  echo "# $(grep transmitted "$T/pings")"
  sent=$(sed -n 's/^\([0-9]*\) packets transmitted.*/\1/p' "$T/pings")
  got=$(sed -n 's/.* \([0-9]*\) received.*/\1/p' "$T/pings")
  [ "$got" -ge "$2" ] && [ $((sent - got)) -le "$1" ]
}
