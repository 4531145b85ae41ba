#!/bin/bash
# threats_relay.sh - a relay with a good certificate that lies (tool_evil relay)
# between the real agents and the real connector: nobody is led to another, no
# packet is done twice, and whoever is refused reads why.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need ping

lies() { # LIE [REASON]: relay and connector anew
  stop relay
  stop connector
  rm -f "$T/relay.log" "$T/connector.log"
  start relay relay "$EVIL" relay "$T" r1 0.0.0.0:4433 "$@"
  start_connector
  wait_for 5 is_ready conn
}
agent_up() { # HOST NAME
  rm -f "$T/$1.log"
  start_agent "$1" "$1" "$2"
  wait_for 5 is_ready "$1" && wait_for 5 routes "$1" 10.100.0.2
}
why() { on "$1" "$ZTNA" why echo --http 127.0.0.1:9090 >"$T/why.out" 2>&1; }
why_says() { why agent; cat "$T/why.out"; grep -qE -- "$1" "$T/why.out"; }
pings() { on "${1:-agent}" ping -c 2 -i 0.1 -W 1 10.100.0.2 >/dev/null; }
no_pings() { ! on "${1:-agent}" ping -c 3 -i 0.1 -W 1 10.100.0.2 >/dev/null; }

net_up
host other
link other relay 3
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
connector_json
agent_json a1
agent_json a2 192.168.3.2:4433
start_backend

lies truth
agent_up agent a1
check a_relay_that_does_not_lie_is_one pings

# --- what it says again

stop agent
lies again
agent_up agent a1
before conn 'ztna_connector_to_backend_packets_total'
check packets_said_again_are_not_lost on agent ping -c 50 -i 0.02 -W 1 10.100.0.2
repeated() { [ "$(sed -n 's/.*repeated=//p' "$T/relay.log" | tail -1)" -ge 300 ]; }
check they_were_said_again wait_for 3 repeated
once() { # nothing twice: ping says DUP, and the connector counts what came
  counted 50 || return 1
  ! counted 60 || return 1
  ! on agent ping -c 20 -i 0.02 -W 1 10.100.0.2 | grep -E 'DUP|duplicates'
}
check nothing_is_done_twice once
check and_no_path_ends_of_it eval '! grep -E "path ended|relay lost" "$T/agent.log" "$T/connector.log"'

# --- another connector than it says, and other handles and addresses

stop agent
lies names
agent_up agent a1
check a_connector_of_another_name_gets_no_packet no_pings
check the_agent_says_whose_certificate_it_is said agent \
  'connector refused .*reason=identity-mismatch|reason=identity-mismatch.*connector'
check the_person_reads_identity_mismatch why_says 'identity-mismatch'
check the_backend_saw_nothing test "$(metric conn 'ztna_connector_to_backend_packets_total')" = 0
stop agent
lies handle
agent_up agent a1
before conn 'ztna_connector_quic_drops_total{reason="malformed"}'
check with_a_wrong_handle_nothing_passes no_pings
check the_connector_counts_it_as_malformed counted 1
stop agent
lies tunnel
agent_up agent a1
check an_address_that_differs_on_both_sides_opens_nothing no_pings
check the_connector_refuses_the_hello said connector 'hello refused .*reason=wrong-source'
check it_is_not_asked_over_and_over test "$(grep -c 'hello refused' "$T/connector.log")" -le 10
check the_person_reads_wrong_source why_says 'wrong-source'

# --- one agent into the route of another

stop agent
lies swap
agent_up agent a1
pings
agent_up other a2
check a_second_agent_gets_nothing_by_the_firsts_route no_pings other
check the_connector_refuses_its_certificate said connector 'path refused .*reason=identity-mismatch'
check the_first_one_works_on wait_for 5 pings
exit "${FAILED:-0}"
