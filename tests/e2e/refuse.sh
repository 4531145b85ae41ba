#!/bin/bash
# refuse.sh - whoever may not is refused for a reason of its own, which stands
# in its own log and status with a remedy, and in the relay's log.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile
[ -x "$HOSTILE" ] || skip_all "no $HOSTILE"
RELAY=192.168.1.2:4433

# write_agent NAME CERT CA RELAY SERVICE
write_agent() {
  cat >"$T/agent-$1.json" <<END
{"identity": {"cert": "$2.pem", "key": "$2.key", "ca": "$3"}, "http": {"listen": "127.0.0.1:9090"},
 "agent": {"relays": ["$4"], "services": ["$5"], "tun": "ztna0"}}
END
}
said() { grep -qE -- "$2" "$T/$1.log"; }
# status_has NAME VALUE...: members of the agent's status, anywhere in it
status_has() {
  local page
  page=$(ready agent) || return
  while [ $# -gt 1 ]; do
    grep -qF "\"$1\": \"$2\"" <<<"$page" || { echo "no $1 $2 in $page"; return 1; }
    shift 2
  done
}

# An agent (CERT CA RELAY SERVICE) that starts and is refused: its log, its
# status and the relay's log (unless RELAY_LOG is empty) say so.
#   refused NAME REASON FIX RELAY_LOG CERT CA [RELAY [SERVICE]]
refused() {
  local name=$1 reason=$2 fix=$3 relay_log=$4
  write_agent "$name" "$5" "$6" "${7:-$RELAY}" "${8:-*}"
  : >"$T/relay.log"
  start "$name" agent "$ZTNA" agent --config "$T/agent-$name.json"
  wait_for 3 said "$name" "reason=$reason"
  check "${name}_is_told_why" said "$name" "reason=$reason.* can be fixed by: $fix"
  check "${name}_reads_it_in_its_status" status_has reason "$reason" fix "$fix"
  [ -n "$relay_log" ] || return
  wait_for 1 said relay "$relay_log"
  check "${name}_is_in_the_relays_log" said relay "$relay_log"
}

# hostile NAME REASON COMMAND...: a client that keeps no rules is thrown out
hostile() {
  local name=$1 reason=$2 out
  shift 2
  : >"$T/relay.log"
  out=$(on agent "$HOSTILE" dial $RELAY "$@")
  case $out in
  *status=*) not_ok "$name" "it was served: $out" ;;
  *"ended by=peer reason=$reason "*)
    check "$name" said relay "handshake refused from=192.168.1.1:[0-9]+ .*reason=$reason by=relay"
    ;;
  *) not_ok "$name" "$out" ;;
  esac
}

net_up
on relay ip addr add 192.168.1.9/24 dev v1b
{
  pki && issue agent zed && mkdir "$T/other" &&
    "$ZTNA" cert init --dir "$T/other" --trust-domain example.org &&
    "$ZTNA" cert issue --dir "$T/other" --role agent --name mallory &&
    "$HOSTILE" expired "$T" agent old
} >>"$T/cert.out" 2>&1 || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
cat "$T/ca.pem" "$T/other/ca.pem" >"$T/both.pem"
relay_json
connector_json
start_relay
start_connector
wait_for 5 is_ready conn

# --- clients that break rules

a=$T/agent-a1
hostile no_certificate_is_refused bad-certificate "$a.pem" "$a.key" no-cert
hostile a_ticket_is_no_certificate bad-certificate "$a.pem" "$a.key" no-cert resume
hostile no_alpn_is_refused unsupported-version "$a.pem" "$a.key" no-alpn
hostile another_alpn_is_refused unsupported-version "$a.pem" "$a.key" alpn=h2
hostile a_relay_is_no_client identity-mismatch "$T/relay-r1.pem" "$T/relay-r1.key"
out=$(on agent "$HOSTILE" dial $RELAY "$a.pem" "$a.key" resume)
case $out in # a ticket of its own making: a whole handshake with certificate
*status=200*ticket=offered*) ok an_offered_ticket_is_ignored ;;
*) not_ok an_offered_ticket_is_ignored "$out" ;;
esac

# --- agents

cert_fix="whoever issues certificates"
refused wrong_ca bad-certificate "$cert_fix: check cert, key and ca of both sides" \
  'handshake refused .*reason=bad-certificate by=peer' other/agent-mallory other/ca.pem
check wrong_ca_says_whose_certificate said wrong_ca "the other side's certificate: no trusted CA has signed it"
sleep 1
n=$(grep -c 'relay lost' "$T/wrong_ca.log")
check attempts_become_rarer test "$n" -ge 2 -a "$n" -le 7
stop wrong_ca

refused stranger bad-certificate "$cert_fix: check cert, key and ca of both sides" \
  "handshake refused .*reason=bad-certificate by=relay detail=the other side's certificate: no trusted CA" \
  other/agent-mallory both.pem
check stranger_is_told_whose_certificate said stranger "the other side refused the certificate of this side"
stop stranger

refused expired certificate-expired "$cert_fix, or the clock of either machine" \
  "handshake refused .*reason=certificate-expired by=relay detail=the other side's certificate: it has expired" \
  agent-old ca.pem
stop expired

address_fix="whoever configured the address or issued the certificate"
refused misnamed identity-mismatch "$address_fix" \
  'handshake refused .*reason=identity-mismatch by=peer' agent-a1 ca.pem 192.168.1.9:4433
check misnamed_says_what_the_certificate_names said misnamed \
  'does not name the configured address: spiffe://example.org/relay/r1'
stop misnamed

# A relay that is an agent: nobody's log but the agent's.
start false_relay relay "$HOSTILE" serve 192.168.1.2:4444 "$a.pem" "$a.key" "$T/ca.pem"
refused false_relay_met identity-mismatch "$address_fix" '' agent-a1 ca.pem 192.168.1.2:4444
check a_relay_must_have_the_role said false_relay_met \
  "its certificate is no relay's: spiffe://example.org/agent/a1"
stop false_relay_met
kill "$PID_false_relay"

refused unknown_service no-such-service "whoever configures the connector or typed the name" \
  'grant refused agent=spiffe://example.org/agent/a1 service=ghost reason=no-such-service' \
  agent-a1 ca.pem $RELAY ghost
stop unknown_service

refused no_grant not-allowed "the administrator of the policy" \
  'grant refused agent=spiffe://example.org/agent/zed service=echo reason=not-allowed' \
  agent-zed ca.pem $RELAY echo
check no_grant_has_no_route bash -c "! ip netns exec $N-agent ip route get 10.100.0.2"
stop no_grant

stop connector
write_agent lonely agent-a1 ca.pem $RELAY '*'
: >"$T/relay.log"
start lonely agent "$ZTNA" agent --config "$T/agent-lonely.json"
wait_for 3 routes agent 10.100.0.2
out=$(on agent ping -c 1 -W 2 10.100.0.2)
check without_a_connector_ping_says_unreachable grep -q 'Destination Host Unreachable' <<<"$out"
check without_a_connector_the_log_says_why said lonely \
  'service=echo reason=no-connector.* can be fixed by: whoever runs the connector'
check without_a_connector_the_status_says_why status_has id echo state no-connector \
  reason no-connector fix "whoever runs the connector"
check without_a_connector_the_relays_log_says_why said relay \
  'grant refused agent=spiffe://example.org/agent/a1 service=echo reason=no-connector'
stop lonely

# --- a connector of a stranger

"$ZTNA" cert issue --dir "$T/other" --role connector --name c9 --service '*' >>"$T/cert.out"
cat >"$T/connector-c9.json" <<END
{"identity": {"cert": "other/connector-c9.pem", "key": "other/connector-c9.key", "ca": "both.pem"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [{"id": "echo", "backend": "127.0.0.1:9999", "protocol": "udp"}]}}
END
: >"$T/relay.log"
start c9 conn "$ZTNA" connector --config "$T/connector-c9.json"
wait_for 3 said c9 'reason=bad-certificate'
check a_strange_connector_is_told_why said c9 "reason=bad-certificate.* can be fixed by: $cert_fix"
check a_strange_connector_is_in_the_relays_log said relay \
  'handshake refused from=192.168.2.1:.*reason=bad-certificate by=relay'
exit "${FAILED:-0}"
