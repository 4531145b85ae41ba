#!/bin/bash
# threats_cert.sh - certificates that are no good, on the path between the real
# agent and the real connector: an agent (a connector) that is honest to its relay
# and shows another certificate to its peer (tool_impostor). Either end refuses,
# says why, and the person at the agent reads it.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile IMPOSTOR=${ZTNA%/*}/tests/tool_impostor

pings() { on agent ping -c 1 -W 1 10.100.0.2 >/dev/null; }
status_has() { ready agent | tr -d ' \n' | grep -qF "\"reason\":\"$1\""; }
# as_agent CERT CA, as_connector CERT CA: that program anew, as an impostor
as_agent() {
  stop agent KILL
  start agent agent env IMPOSTOR="$T/$1" IMPOSTOR_CA="$T/$2" "$IMPOSTOR" agent --config "$T/agent-a1.json"
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2
}
as_connector() {
  stop connector KILL
  start connector conn env IMPOSTOR="$T/$1" IMPOSTOR_CA="$T/$2" "$IMPOSTOR" connector --config "$T/connector.json"
  wait_for 5 is_ready conn
  # An agent passes over a connector whose certificate it did not take.
  stop agent KILL
  start_agent
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2
}
# refused_as NAME WHO REASON CERT [CA]: nothing passes, whoever refuses says why
refused_as() {
  : >"$T/connector.log"
  "as_$2" "$4" "${5:-ca.pem}"
  check "$1" eval '! pings'
  check "${1}_and_the_person_reads_why" wait_for 5 status_has "$3"
  [ -n "${SILENT:-}" ] ||
    check "${1}_and_the_connector_logs_it" wait_for 2 said connector "path (refused|attempt failed) .*reason=$3"
}

net_up
mkdir "$T/late" "$T/other" "$T/gone"
{
  pki && cp "$T/ca.pem" "$T/ca.key" "$T/late" &&
    "$HOSTILE" expired "$T/late" agent a1 && "$HOSTILE" expired "$T/late" connector c1 &&
    "$ZTNA" cert init --dir "$T/other" --trust-domain example.org &&
    "$ZTNA" cert issue --dir "$T/other" --role agent --name a1 &&
    "$ZTNA" cert issue --dir "$T/other" --role connector --name c1 --service echo &&
    issue connector c2 --service echo &&
    cp "$T/ca.pem" "$T/ca.key" "$T/gone" &&
    "$ZTNA" cert issue --dir "$T/gone" --role agent --name a1 &&
    "$ZTNA" cert issue --dir "$T/gone" --role connector --name c1 --service echo &&
    "$ZTNA" cert revoke --dir "$T/gone" "$T/gone/agent-a1.pem" "$T/gone/connector-c1.pem"
} >>"$T/cert.out" 2>&1 || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
connector_json
sed -i 's|"ca": "ca.pem"|"ca": "ca.pem", "crl": "gone/crl.pem"|' "$T/agent-a1.json" "$T/connector.json"
start_backend
start_relay
start_connector
wait_for 5 is_ready conn

as_agent agent-a1 ca.pem
check with_its_own_certificate_it_is_served pings
refused_as an_expired_agent_is_refused_by_the_connector agent certificate-expired late/agent-a1
refused_as a_revoked_agent_is_refused_by_the_connector agent revoked gone/agent-a1
refused_as another_agent_is_refused_on_this_route agent identity-mismatch agent-a2
refused_as a_connector_is_no_agent agent identity-mismatch connector-c2
refused_as a_relay_is_no_agent agent identity-mismatch relay-r1
# Who refuses first need not leave the other one time to say it.
SILENT=1
refused_as an_agent_of_another_ca_is_refused agent bad-certificate other/agent-a1 other/ca.pem
cat "$T/ca.pem" "$T/other/ca.pem" >"$T/both.pem"
SILENT=
refused_as an_agent_of_another_ca_that_trusts_ours_is_refused agent bad-certificate other/agent-a1 both.pem

SILENT=1
refused_as an_expired_connector_is_refused_by_the_agent connector certificate-expired late/connector-c1
refused_as a_revoked_connector_is_refused_by_the_agent connector revoked gone/connector-c1
refused_as another_connector_is_refused_on_this_route connector identity-mismatch connector-c2
refused_as an_agent_is_no_connector connector identity-mismatch agent-a2
refused_as a_relay_is_no_connector connector identity-mismatch relay-r1
refused_as a_connector_of_another_ca_is_refused connector bad-certificate other/connector-c1 both.pem
as_connector connector-c1 ca.pem
check the_right_one_is_served_again wait_for 10 pings
exit "${FAILED:-0}"
