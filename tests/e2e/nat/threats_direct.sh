#!/bin/bash
# threats_direct.sh - direct paths of the real programs: an end that shows another
# certificate there than over the relay, strangers' STUN, and checks that somebody
# says again from elsewhere. The link stays on the relay, or with whom it is.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/paths_lib.sh
. tests/e2e/evil_lib.sh
lab_need "$LINK"
HOSTILE=${ZTNA%/*}/tests/tool_hostile IMPOSTOR=${ZTNA%/*}/tests/tool_impostor STUN=${ZTNA%/*}/tests/tool_stun

pings() { on agent ping -c 3 -i 0.1 -W 1 10.100.0.2 >/dev/null; }
is_direct() { wait_for 8 uses direct || { link_of; return 1; }; }
# pair AGENT-CERT CONNECTOR-CERT: both anew; with "-" their own one
pair() {
  stop agent KILL
  stop connector KILL
  rm -f "$T/agent.log" "$T/connector.log"
  start connector conn env IMPOSTOR_FROM=2 ${2:+IMPOSTOR="$T/$2"} IMPOSTOR_CA="$T/ca.pem" \
    "$IMPOSTOR" connector --config "$T/connector.json"
  wait_for 5 is_ready conn
  start agent agent env IMPOSTOR_FROM=2 ${1:+IMPOSTOR="$T/$1"} IMPOSTOR_CA="$T/ca.pem" \
    "$IMPOSTOR" agent --config "$T/agent-a1.json"
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2
  pings
}
# stays NAME LOG PATTERN: refused there, and the relay carries on
stays() {
  check "$1" wait_for 5 said "$2" "$3"
  check "${1}_and_the_relay_carries_on" eval 'pings && uses relay'
}

lab_pki && lab_up public public || { not_ok lab "$(cat "$T/cert.out")"; exit 1; }
mkdir "$T/late" "$T/gone"
{
  cp "$T/ca.pem" "$T/ca.key" "$T/late" && issue agent a2 && issue connector c2 --service echo &&
    "$HOSTILE" expired "$T/late" agent a1 && "$HOSTILE" expired "$T/late" connector c1 &&
    cp "$T/ca.pem" "$T/ca.key" "$T/gone" &&
    "$ZTNA" cert issue --dir "$T/gone" --role agent --name a1 &&
    "$ZTNA" cert issue --dir "$T/gone" --role connector --name c1 --service echo &&
    "$ZTNA" cert revoke --dir "$T/gone" "$T/gone/agent-a1.pem" "$T/gone/connector-c1.pem"
} >>"$T/cert.out" 2>&1 || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }

identity() { # ROLE-NAME, as in lib.sh, with a list of revoked certificates
  echo "\"identity\": {\"cert\": \"$1.pem\", \"key\": \"$1.key\", \"ca\": \"ca.pem\", \"crl\": \"gone/crl.pem\"}"
}
lab_programs || { not_ok programs; exit 1; }

# --- strangers, and checks said again

DROPS='ztna_direct_drops_total{.*}'
pings
check the_path_is_direct is_direct
AT=$(member at) # the connector, from outside
before conn "$DROPS"
on core "$STUN" ask "$AT" >"$T/stun.out" 2>&1
check a_strangers_stun_gets_no_answer grep -q 'no answer' "$T/stun.out"
check it_is_counted counted 1
A=$(outer_of agent)
before agent "$DROPS"
on core "$STUN" ask "$A" >"$T/stun.out" 2>&1
check nor_does_it_from_an_agent grep -q 'no answer' "$T/stun.out"
check which_counts_it_too counted 1

# Everything that the two say to each other, again from
# elsewhere; what is sent there is counted on its way.
on core nft -f - <<END
table ip spy {
  chain forward {
    type filter hook forward priority 0;
    ip daddr { 198.51.100.77, 203.0.113.77 } counter name copier
  }
  counter copier { }
}
END
on core "$HOSTILE" mirror agent "${A%:*}:0" "${AT%:*}:0" 198.51.100.77:0 4 >"$T/m1" 2>&1 &
M1=$!
on core "$HOSTILE" mirror conn "${AT%:*}:0" "${A%:*}:0" 203.0.113.77:0 4 >"$T/m2" 2>&1 &
M2=$!
pair '' ''
check with_checks_said_again_the_path_is_direct is_direct
check with_whom_it_should_be test "$(member at | cut -d: -f1)" = "${AT%:*}"
check and_it_works pings
wait $M1 $M2
check they_were_said_again test "$(awk '/^sent/ { n += $2 } END { print n + 0 }' "$T/m1" "$T/m2")" -ge 20
check both_ends_counted_them test "$(metric agent "$DROPS")" -ge 1 -a "$(metric conn "$DROPS")" -ge 1
answers() { on core nft list counter ip spy copier | awk '/packets/ { print $2 }'; }
check the_copier_gets_no_answer test "$(answers)" = 0

# --- the right handle with another certificate

failed='path (attempt failed|refused|ended) .*reason='
pair late/agent-a1 ''
stays an_expired_agent_gets_no_direct_path connector "${failed}certificate-expired"
pair gone/agent-a1 ''
stays a_revoked_agent_gets_no_direct_path connector "${failed}revoked"
pair agent-a2 ''
stays another_agent_gets_no_direct_path connector "${failed}identity-mismatch"
pair '' late/connector-c1
stays an_expired_connector_gets_no_direct_path agent 'certificate-expired'
pair '' gone/connector-c1
stays a_revoked_connector_gets_no_direct_path agent 'reason=revoked'
pair '' connector-c2
stays another_connector_gets_no_direct_path agent 'identity-mismatch'
pair '' ''
check with_the_right_ones_it_is_direct_again is_direct
exit "${FAILED:-0}"
