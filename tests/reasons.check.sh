#!/bin/bash
# reasons.check.sh - every reason of base/reason.h is provoked by the far end and
# read on the agent's side in a test with the real programs, or it is said here
# why that cannot be. (e2e/reasons.sh shows that the sentence of each is read,
# whatever the cause.)
cd "$(dirname "$0")/.." || exit 1

# REASON  FILE: TEST..., or REASON  exempt: why
table() {
  cat <<'END'
none                 exempt: nothing is refused
no-such-service      e2e/why.sh: an_unknown_service_is_said_with_the_nearest
not-allowed          e2e/why.sh: what_no_rule_allows_is_said
port-not-allowed     e2e/why.sh: a_port_that_is_not_granted_is_said
expired              exempt: the agent asks again by itself, and what is read is the answer to that (policy.sh: and_its_agent_reads_that_no_rule_allows_it)
revoked              e2e/policy.sh: and_the_agents_status_says_why
replaced             e2e/refusals.sh: a_second_machine_with_the_same_certificate_is_replaced
no-connector         e2e/why.sh: a_stopped_connector_is_said
connector-refused    e2e/refusals.sh: a_connector_that_does_not_want_this_agent_is_connector_refused
backend-down         e2e/why.sh: a_failing_health_check_is_said
backend-refused      e2e/why.sh: who_listens_not_is_said
backend-timeout      e2e/refusals.sh: a_machine_that_is_silent_is_backend_timeout
too-many-routes      e2e/refusals.sh: a_rule_whose_routes_are_taken_is_too_many_routes
rate-limited         e2e/refusals.sh: who_asks_for_too_much_is_rate_limited
wrong-source         e2e/threats_relay.sh: the_person_reads_wrong_source
wrong-destination    e2e/refusals.sh: what_is_for_another_machine_is_in_the_status
not-begun-here       e2e/refusals.sh: what_nobody_asked_for_is_in_the_status
packet-too-big       exempt: this machine's kernel says it to the program (refusals.sh: a_packet_that_is_too_big_is_told_to_its_program)
malformed            e2e/refusals.sh: a_connector_that_breaks_its_format_is_malformed
bad-certificate      e2e/threats_cert.sh: a_connector_of_another_ca_is_refused
certificate-expired  e2e/threats_cert.sh: an_expired_agent_is_refused_by_the_connector
identity-mismatch    e2e/why.sh: a_relay_with_another_name_is_said
unsupported-version  e2e/refusals.sh: a_relay_of_another_version_is_unsupported_version
route-unknown        exempt: it is set up again by itself at once; only the log names it (restart.sh)
draining             e2e/refusals.sh: a_connector_that_drains_is_read
shutting-down        e2e/refusals.sh: a_relay_that_is_stopped_is_shutting_down
idle                 exempt: what is idle is begun again by itself; a TCP flow that waited 60 s for a path is reset, which its program reads (sim/test_sim_tcp.c)
network-unreachable  exempt: nobody says it; a machine without a way to the relay reads relay-unreachable
relay-unreachable    e2e/refusals.sh: a_relay_that_does_not_answer_is_unreachable
internal             exempt: it is a mistake of the program, or no memory; names of newer programs are read as it (unit/test_reason.c)
reset                e2e/refusals.sh: a_connection_that_its_machine_resets_is_read_by_the_program
backend-unreachable  e2e/refusals.sh: one_that_the_connector_cannot_reach_is_backend_unreachable
bad-token            e2e/enroll_client.sh: a_used_token_is_refused
END
}

missing=
while read -r reason; do
  row=$(table | awk -v r="$reason" '$1 == r { $1 = ""; print substr($0, 2) }')
  file=tests/${row%%:*} name=${row#*: }
  case $row in
  '') missing+="# $reason: no test and no exemption"$'\n' ;;
  exempt:\ ?*) ;;
  *:*)
    grep -qE "[a-z_]+ $name( |\$)" "$file" 2>/dev/null ||
      missing+="# $reason: $file has no $name"$'\n'
    ;;
  *) grep -q -- "$reason" "$file" 2>/dev/null || missing+="# $reason: $file does not name it"$'\n' ;;
  esac
done < <(tr '\n\\' '  ' <src/base/reason.h | sed 's/X(/\nX(/g' | awk -F'"' '/^X\([A-Z]/ { print $2 }')
strangers=$(comm -13 <(grep -oE '"[a-z]+(-[a-z]+)*",' src/base/reason.h | tr -d '",' | sort -u) <(table | awk '{ print $1 }' | sort -u))
[ -z "$strangers" ] || missing+="# no reasons: $strangers"$'\n'
if [ -z "$missing" ]; then
  echo "ok every_reason_has_a_test_or_says_why_not"
else
  echo "not ok every_reason_has_a_test_or_says_why_not"
  printf '%s' "$missing"
  exit 1
fi
