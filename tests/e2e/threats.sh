#!/bin/bash
# threats.sh - people with good certificates who want what is not theirs, and
# certificates that are not good any more, against the real programs: whoever
# works keeps working.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile
[ -x "$HOSTILE" ] || skip_all "no $HOSTILE"
R1=192.168.1.2:4433 R2=192.168.2.2:4433 # the relay, seen by agent and connector

said() { grep -qE -- "$2" "$T/$1.log"; }
# call ROLE-NAME METHOD PATH [BODY]: one request, as whom the certificate names
call() {
  local who=$1 host=agent at=$R1
  shift
  case $who in connector-*) host=conn at=$R2 ;; esac
  on $host "$HOSTILE" call $at "$T/$who.pem" "$T/$who.key" "$@"
}
# gets NAME STATUS REASON CALL...: what such a request is answered
gets() {
  local name=$1 status=$2 reason=$3 out
  shift 3
  out=$(call "$@")
  case $out in
  *"status=$status "*"$reason"*) ok "$name" ;;
  *) not_ok "$name" "$* -> $out" ;;
  esac
}
# thrown_out NAME REASON ROLE-NAME: no request of theirs is heard
thrown_out() {
  local out
  out=$(call "$3" GET /v1/self)
  case $out in
  *status=*) not_ok "$1" "it was served: $out" ;;
  *"ended by=peer reason=$2 "*) ok "$1" ;;
  *) not_ok "$1" "$out" ;;
  esac
}
member() { grep -oE "\"$1\": *\"[0-9a-f]{32}\"" | head -1 | grep -oE '[0-9a-f]{32}'; }
pings() { on agent ping -c 1 -W 1 10.100.0.2 >/dev/null; }
no_pings() { ! on agent ping -c 1 -W 1 10.100.0.2 >/dev/null; }

all_up
issue connector c2 --service other
issue connector narrow --service other
issue agent zed
issue admin root
pings || { not_ok ping_before; exit 1; }

# --- what is another's

routes=$(call admin-root GET /v1/admin/routes)
ROUTE=$(member id <<<"$routes") GRANT=$(member id <<<"${routes#*grants}")
[ -n "$ROUTE" ] && [ -n "$GRANT" ] || { not_ok route_of_a1 "$routes"; exit 1; }
PROOF='{"refuse": "not-allowed"}'
INSTANCE=00112233445566778899aabbccddeeff

gets another_agents_route_is_unknown 404 route-unknown agent-a2 DELETE "/v1/routes/$ROUTE"
gets another_agents_grant_is_unknown 404 route-unknown agent-a2 DELETE "/v1/grants/$GRANT"
gets another_connectors_route_is_unknown 404 route-unknown connector-c2 DELETE "/v1/routes/$ROUTE"
gets an_answer_that_nobody_asked_for_is_unknown 404 route-unknown \
  connector-c2 POST "/v1/routes/$ROUTE/answer" "$PROOF"
gets an_answer_on_another_connection_is_unknown 404 route-unknown \
  connector-c1 POST "/v1/routes/$ROUTE/answer" "$PROOF"
check the_route_is_still_there pings

# --- what is another role's

gets an_agent_without_a_rule_gets_no_grant 403 not-allowed \
  agent-zed POST /v1/grants "{\"service\": \"echo\", \"instance\": \"$INSTANCE\"}"
gets an_agent_registers_no_services 403 identity-mismatch \
  agent-a2 PUT /v1/connector "{\"instance\": \"$INSTANCE\", \"services\": [{\"id\": \"echo\"}]}"
gets a_connector_gets_no_grant 403 identity-mismatch \
  connector-c2 POST /v1/grants "{\"service\": \"echo\", \"instance\": \"$INSTANCE\"}"
gets an_agent_is_no_admin 403 identity-mismatch agent-a2 GET /v1/admin/routes
gets a_connector_is_no_admin 403 identity-mismatch connector-c2 GET /v1/admin/routes

# --- a connector that offers what its certificate does not name

gets a_connector_registers_no_service_of_others 403 identity-mismatch \
  connector-narrow PUT /v1/connector "{\"instance\": \"$INSTANCE\", \"services\": [{\"id\": \"echo\"}]}"
check and_the_relay_says_whose_certificate said relay \
  'request refused identity=spiffe://example.org/connector/narrow reason=identity-mismatch'
sed 's/connector-c1/connector-narrow/g' "$T/connector.json" >"$T/narrow.json"
start narrow conn "$ZTNA" connector --config "$T/narrow.json"
check the_program_says_it_before_it_starts wait_for 5 said narrow 'the certificate does not name "echo"'
check the_service_stays_where_it_was pings
stop narrow

# --- certificates that have run out

"$HOSTILE" expired "$T" connector late >>"$T/cert.out" 2>&1
"$HOSTILE" expired "$T" relay stale >>"$T/cert.out" 2>&1
thrown_out an_expired_connector_is_refused certificate-expired connector-late
check and_the_relay_says_that_it_has_expired said relay \
  'handshake refused from=192.168.2.1:.*reason=certificate-expired by=relay'
for side in 1 2; do
  start "stale$side" relay "$HOSTILE" serve "192.168.$side.2:4444" \
    "$T/relay-stale.pem" "$T/relay-stale.key" "$T/ca.pem"
done
sed "s/$R2/192.168.2.2:4444/; s/\"127.0.0.1:9090\"/\"127.0.0.1:9091\"/" \
  "$T/connector.json" >"$T/misled.json"
start misled conn "$ZTNA" connector --config "$T/misled.json"
check a_connector_refuses_an_expired_relay wait_for 5 said misled 'reason=certificate-expired'
stop misled
sed "s/$R1/192.168.1.2:4444/; s/\"127.0.0.1:9090\"/\"127.0.0.1:9091\"/; s/agent-a1/agent-a2/g; s/ztna0/ztna1/" \
  "$T/agent-a1.json" >"$T/agent-misled.json"
start misled_agent agent "$ZTNA" agent --config "$T/agent-misled.json"
check an_agent_refuses_an_expired_relay wait_for 5 said misled_agent 'reason=certificate-expired'
stop misled_agent
check the_others_work_on pings

# --- who was revoked

revoke() { # IDENTITY
  sed "s|\"rules\"|\"revoked\": [\"spiffe://example.org/$1\"], \"rules\"|; s|\"tests\": \[.*\]|\"tests\": []|" \
    "$T/policy-before.json" >"$T/policy.json"
  kill -HUP "$(pid_of relay)"
}
cp "$T/policy.json" "$T/policy-before.json"
revoke connector/c1
check a_revoked_connector_is_told_so wait_for 2 said connector 'reason=revoked'
check nothing_passes_to_a_revoked_connector wait_for 2 no_pings
cp "$T/policy-before.json" "$T/policy.json" && kill -HUP "$(pid_of relay)"
check it_serves_again_when_it_is_trusted_again wait_for 40 pings
revoke agent/a1
check a_revoked_agent_is_told_so wait_for 2 said agent 'reason=revoked'
check nothing_passes_from_a_revoked_agent wait_for 2 no_pings
thrown_out a_revoked_agent_gets_no_connection revoked agent-a1
exit "${FAILED:-0}"
