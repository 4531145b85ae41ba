# identity_lib.sh - what the scripts identity*.sh share, behind lib.sh: roles whose
# certificates have any dates, each with a list of revoked ones of its own, and
# what they say of them.
TCP=${TOOL%/*}/tool_tcp CERT=${TOOL%/*}/tool_cert HOSTILE=${TOOL%/*}/tool_hostile
DAY=86400
RELAY_NAMES="relay.test 192.168.1.2 192.168.2.2 fd00:1::2 fd00:2::2"
CONNECTOR_NAMES="connector.echo.ztna connector.dns.ztna"

# --- what programs say of themselves

HOST_OF() { case $1 in connector) echo conn ;; *) echo "$1" ;; esac; }
get() { # ROLE PATH
  on "$(HOST_OF "$1")" bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET $2 HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3"
}
value() { get "$1" /metrics | tr -d '\r' | awk -v m="ztna_$2" '$1 == m { print $2 }'; }
is() { [ "$(value "$1" "$2")" = "$3" ]; }
status() { ready "$(HOST_OF "$1")" | tr -d '\n' | sed 's/": /":/g; s/, *"/,"/g; s/{ *"/{"/g'; }
status_has() { status "$1" | grep -qF -- "$2"; }
words() { on "$(HOST_OF "$1")" "$ZTNA" status --http 127.0.0.1:9090; }
logged() { grep -qE -- "$2" "$T/$1.log"; }
n_logged() { grep -cE -- "$2" "$T/$1.log"; }
pings() { on agent ping -c 1 -W 1 10.100.0.2 >/dev/null; }
file_of() { case $1 in relay) echo relay-r1 ;; connector) echo connector-c1 ;; *) echo agent-a1 ;; esac; }
serial() { openssl x509 -noout -serial -in "$1" | cut -d= -f2 | tr A-F a-f; }

# --- what is done to their files

KEYS= # the CA's directory
# fresh ROLE FROM UNTIL: another certificate and key of the same identity
fresh() {
  local names=
  case $1 in relay) names=$RELAY_NAMES ;; connector) names=$CONNECTOR_NAMES ;; esac
  # shellcheck disable=SC2046,SC2086
  "$CERT" leaf "${KEYS:-$T}" $(file_of "$1" | sed 's/-/ /') "$2" "$3" $names
}
# list ROLE FILE...: that role's list names these certificates of $T
NUMBER=0
list() {
  local role=$1
  shift
  NUMBER=$((NUMBER + 1))
  (cd "$T" && "$CERT" crl "${KEYS:-.}" "${LIST_FROM:--300}" "${LIST_ENDS:-$DAY}" $NUMBER "$@") || return
  set -- "${KEYS:-$T}/crl.pem"
  [ -z "${DER:-}" ] || openssl crl -in "$1" -outform DER -out "$1"
  mv "$1" "$T/crl-$role.pem"
}
roles() { local r; for r in relay connector agent; do "$@" $r || { echo "$r"; return 1; }; done; }


# --- traffic

start_load() { # SECONDS: an echo each 5 ms, and a TCP connection that asks each 10 ms
  : >"$T/udp.log"
  : >"$T/rr.log"
  start udp agent "$TOOL" count 10.100.0.2:9999 $(($1 * 200)) 5000
  start rr agent "$TCP" rr 10.100.0.2:7 seconds="$1" gap_ms=10
}
# The load ends: how many of its datagrams may be lost; the connection must live.
load_ended() {
  local lost
  wait "$(pid_of udp)"
  sed 's/^/# /' "$T/udp.log"
  lost=$(awk '/^sent/ { print $2 - $4 }' "$T/udp.log")
  [ "${lost:-99}" -le "$1" ] || return
  wait "$(pid_of rr)"
  local code=$?
  sed 's/^/# /' "$T/rr.log"
  [ $code = 0 ]
}
taken() { # ROLE N: that many were taken over, this certificate is the last
  wait_for 3 is "$1" identity_reloads_total "$2" &&
    status_has "$1" "\"serial\":\"$(serial "$T/$(file_of "$1").pem")\"" && is "$1" identity_ok 1
}

# world FROM UNTIL: certificates with these dates, empty lists, three programs,
# echoes by UDP and TCP
world() {
  local r
  net_up
  pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
  for r in relay connector agent; do fresh $r "$1" "$2" && list $r; done
  relay_json
  connector_json
  agent_json a1
  mv "$T/agent-a1.json" "$T/agent.json"
  for r in relay connector agent; do
    sed -i "s|\"ca\": \"ca.pem\"|&, \"crl\": \"crl-$r.pem\"|" "$T/$r.json"
  done
  mv "$T/agent.json" "$T/agent-a1.json"
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"], "services": ["echo", "dns"], "protocols": ["udp", "tcp", "icmp"]}]}
END
  sed -i 's|"backends": \[{"protocol": "udp", "port": 9999|"backends": [{"protocol": "tcp", "port": 7, "to": "127.0.0.1:7"}, {"protocol": "udp", "port": 9999|' "$T/connector.json"
  start_backend
  start tcp conn "$TCP" serve 7=echo
  start_relay
  start_connector
  wait_for 5 is_ready conn
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 && wait_for 3 pings && return
  not_ok world "the agent has no routes"
  exit 1
}
