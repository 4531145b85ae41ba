#!/bin/bash
# threats_agent.sh - an agent with a good certificate and bad manners, against
# the real relay and connector: others' handles, addresses, grants, services.
# Whoever works keeps working, and what was tried is counted by its reason.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need ping

all_up
issue agent zed
on agent ping -c 3 -i 0.1 -W 1 10.100.0.2 >/dev/null || { not_ok ping_before; exit 1; }
start ping agent ping -i 0.02 10.100.0.2
R1=192.168.1.2:4433
A1=$(tunnel_of agent)
[ -n "$A1" ] || { not_ok address_of_a1 "$(ready agent)"; exit 1; }
# What the line shows: the ids under which a1's path is known at both ends.
TO_C=$(on relay "$EVIL" handles v2b "$(outer_of connector)" 1 | awk 'NR == 1 { print $2 }')
TO_A=$(on relay "$EVIL" handles v1b "$(outer_of agent)" 1 | awk 'NR == 1 { print $2 }')
[ ${#TO_C} = 16 ] && [ ${#TO_A} = 16 ] || { not_ok handles "$TO_C $TO_A"; exit 1; }
evil() { on agent "$EVIL" agent "$T" "$@"; }

# --- without a grant

as "$(evil zed $R1 ask=echo)"
check an_agent_without_a_rule_gets_no_grant line 'ask=echo:.*status=403'
as "$(evil zed $R1 "dial=$TO_A,$TO_C")"
check without_a_grant_no_path_opens line 'dial=.*live=0'

# --- another's handle

before relay 'ztna_relay_dropped_packets_total{reason="wrong-source"}'
as "$(evil a2 $R1 ask=echo "dial=own,$TO_C")"
check anothers_handle_leads_to_no_path line 'dial=.*live=0'
check the_relay_counts_it_as_wrong_source counted 1
before conn 'ztna_connector_quic_drops_total{reason="malformed"}'
as "$(evil a2 $R1 ask=echo "dial=$TO_A,own")"
check anothers_handle_as_source_opens_nothing line 'dial=.*live=0'
check the_connector_counts_it_as_malformed counted 1

# --- inside, where it may be

before conn 'ztna_connector_drops_total{reason="wrong-source"}'
as "$(evil a2 $R1 ask=echo dial hello=own open=echo \
  "udp=$A1,4000,10.100.0.2,9999" "udp=203.0.113.9,4000,10.100.0.2,9999" "ping=$A1,0,10.100.0.2,0" \
  udp=own,4000,10.100.0.2,9999)"
check a_path_of_its_own_opens line 'open=echo:.*said=opened'
check spoofed_inner_sources_get_no_answer line 'ping=.*10.100.0.2,0: live=1.*packets=0'
check they_are_counted_as_wrong_source counted 3
check what_is_allowed_is_answered line 'udp=own,4000,10.100.0.2,9999:.*packets=1'
before conn 'ztna_connector_drops_total{reason="wrong-destination"}'
as "$(evil a2 $R1 ask=echo dial hello=own open=echo udp=own,4000,10.100.0.3,53 \
  "udp=own,4000,$A1,9999" udp=own,4000,192.168.2.1,22)"
check another_services_address_gets_no_answer line '192.168.2.1,22: live=1.*packets=0'
check it_is_counted_as_wrong_destination counted 3
before conn 'ztna_connector_drops_total{reason="(port-)?not-allowed"}'
as "$(evil a2 $R1 ask=echo dial hello=own open=echo udp=own,4000,10.100.0.2,22 syn=own,4000,10.100.0.2,22)"
check another_port_is_answered_by_an_error_alone line 'udp=own,4000,10.100.0.2,22: live=1.*packets=1'
check it_is_counted_as_not_allowed counted 1
before conn 'ztna_connector_drops_total{reason="malformed"}'
as "$(evil a2 $R1 ask=echo dial hello=own open=echo cut=own,4000,10.100.0.2,9999)"
check a_packet_that_lies_about_its_length_is_counted counted 1

# --- another's address, grant, service, and messages that nobody understands

as "$(evil a2 $R1 ask=echo dial "hello=$A1")"
check a_hello_with_anothers_address_ends_the_path line 'hello=.*live=0.*ended=wrong-source by=peer'
GRANT=$(ready agent | tr -d ' \n' | grep -oE '"id":"[0-9a-f]{32}"' | head -1 | grep -oE '[0-9a-f]{32}')
as "$(evil a2 $R1 ask=echo dial hello=own "open=echo,${GRANT:-00112233445566778899aabbccddeeff}" open=other open=dns)"
check anothers_grant_opens_nothing line 'open=echo,.*said=refused reason=not-allowed'
check a_service_that_was_not_granted_opens_not line 'open=other: .*said=refused reason=not-allowed'
check nor_does_another_one_by_the_grant_at_hand line 'open=dns: .*said=refused reason=not-allowed'
as "$(evil a2 $R1 ask=echo dial hello=own 'say={"type":"open","context":"two"}')"
check a_message_that_breaks_its_format_ends_the_path line 'say=.*live=0.*ended=malformed by=peer'

undisturbed
exit "${FAILED:-0}"
