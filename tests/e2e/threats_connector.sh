#!/bin/bash
# threats_connector.sh - a connector with a good certificate and bad manners
# (tool_evil connector) behind the real relay, before the real agent: routes of
# others stay as they are, and the agent's machine gets answers to what it began,
# nothing else.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need ping
R2=192.168.2.2:4433

net_up
pki && issue connector e1 --service dns || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
connector_json
sed -i 's/\(9999"}\]}\),$/\1]}}/; /"id": "dns"/d' "$T/connector.json" # e1 has it
start_backend
start_relay
start_connector
wait_for 5 is_ready conn
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2
pings() { on agent ping -c 2 -i 0.1 -W 1 10.100.0.2 >/dev/null; }
pings || { not_ok ping_before "$(cat "$T/connector.json")"; exit 1; }
ROUTE=$(ready relay | tr -d ' \n' | grep -oE '"(id|route)":"[0-9a-f]{32}"' | head -1 | grep -oE '[0-9a-f]{32}')
[ ${#ROUTE} = 32 ] || { not_ok route_of_a1 "$(ready relay)"; exit 1; }
evil() { on conn "$EVIL" connector "$T" e1 $R2 dns "$@"; }

# --- routes that it was not asked for

as "$(evil "request=POST,/v1/routes/$ROUTE/answer,{\"ok\":true}" \
  "request=POST,/v1/routes/$ROUTE/answer,{\"refuse\":\"not-allowed\"}" \
  "request=DELETE,/v1/routes/$ROUTE")"
check an_answer_that_nobody_asked_for_is_unknown line '"ok".*status=404'
check a_refusal_that_nobody_asked_for_is_unknown line '"refuse".*status=404'
check it_cannot_close_the_route line 'DELETE.*status=404'
check and_the_route_works pings

# --- the machine behind the agent: from port 4000 it asked 10.100.0.3:53

into_the_machine() { on agent cat /sys/class/net/ztna0/statistics/rx_packets; }
# tries NAME REASON N PACKET...: each is counted by the agent, none comes through
tries() {
  local name=$1 reason=$2 was
  shift 2
  before agent "ztna_agent_drops_total{reason=\"$reason\"}"
  evil opened "$@" >"$T/e1" &
  EVIL_PID=$!
  wait_for 5 grep -q registered=1 "$T/e1"
  was=$(into_the_machine)
  on agent "$TOOL" tagged 10.100.0.3:53 4000 1 question >"$T/asker" 2>&1 &
  ASKER=$!
  wait $EVIL_PID $ASKER
  as "$(cat "$T/e1")"
  check "$name" line 'opened: live=1'
  CAME=$(($(into_the_machine) - was))
}
not_begun='(not-begun-here|malformed)'
tries what_nobody_asked_for_is_dropped "$not_begun" udp=10.100.0.3,53,own,4001 udp=10.100.0.3,54,own,4000 \
  syn=10.100.0.3,53,own,22 pong=10.100.0.3,0,own,0 ping=10.100.0.3,0,own,0 error=10.100.0.3,53,own,4009
check all_of_it_is_counted counted 6
check none_of_it_reaches_the_machine test "$CAME" = 0
tries other_sources_are_dropped wrong-source udp=10.100.0.2,53,own,4000 udp=192.0.2.77,53,own,4000 udp=own,53,own,4000
check they_are_counted_as_wrong_source counted 3
check none_of_these_either test "$CAME" = 0
tries other_destinations_are_dropped wrong-destination udp=10.100.0.3,53,192.0.2.77,4000 udp=10.100.0.3,53,192.168.1.1,4000
check they_are_counted_as_wrong_destination counted 2
check nor_of_these test "$CAME" = 0
tries the_answer_to_its_question_passes none udp=10.100.0.3,53,own,4000
check and_that_alone test "$CAME" = 1
check the_agent_was_not_disturbed pings

exit "${FAILED:-0}"
