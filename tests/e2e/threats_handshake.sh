#!/bin/bash
# threats_handshake.sh - handshakes with the real relay that somebody says again
# or changes on the way: first packets, tokens of Retry, early data, and the
# groups for the key exchange.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile
R1=192.168.1.2:4433

pings() { on agent ping -c 2 -i 0.1 -W 1 10.100.0.2 >/dev/null; }
replay() { on agent "$HOSTILE" replay $R1 "$T/agent-a2.pem" "$T/agent-a2.key" "$@"; }
# value LINE NAME: of what `replay` said
value() { sed -n "s/^$1 .*\\b$2=\\([0-9]*\\).*/\\1/p" <<<"$SAID"; }
half_open_is_over() { [ "$(metric relay ztna_relay_half_open)" = 0 ]; }

all_up
pings || { not_ok ping_before; exit 1; }

# --- first packets, a hundred times, from here and from elsewhere

WAS=$(metric relay ztna_relay_handshakes_total)
as "$(replay)"
for where in here elsewhere; do
  check "initials_said_again_from_${where}_get_three_times_their_bytes_at_most" \
    test "$(value initials-$where bytes)" -gt 0 -a "$(value initials-$where bytes)" -le $((3 * $(value initials-$where sent)))
done
check they_become_no_connection test "$(metric relay ztna_relay_handshakes_total)" = "$WAS"
check and_are_forgotten wait_for 5 half_open_is_over

# --- tokens

stop relay
sed -i 's/"relay": {/"relay": {"retry": "always", /' "$T/relay.json"
start_relay
wait_for 10 pings
replay 11 >"$T/tokens" 2>&1 &
TOKENS=$! # meanwhile the rest

# --- early data: there is no ticket to make it with

out=$(on agent "$HOSTILE" dial $R1 "$T/agent-a2.pem" "$T/agent-a2.key" resume)
check a_ticket_of_its_own_making_is_ignored grep -q 'status=200.*' <<<"$out"
check a_ticket_without_a_certificate_opens_nothing eval \
  'on agent "$HOSTILE" dial $R1 "$T/agent-a2.pem" "$T/agent-a2.key" no-cert resume | grep -q "reason=bad-certificate"'

# --- the key exchange: somebody on the way takes the group away

agent_json a2 192.168.1.2:4444
sed -i 's/9090/9092/; s/ztna0/ztna1/' "$T/agent-a2.json"
start keep relay "$HOSTILE" mitm 192.168.1.2:4444 $R1 keep
start through agent "$ZTNA" agent --config "$T/agent-a2.json"
check opened_and_sealed_again_it_passes wait_for 5 said through 'relay connected'
check by_the_hybrid_group said relay 'connected identity=spiffe://example.org/agent/a2 .*group=X25519MLKEM768'
stop through
stop keep
start strip relay "$HOSTILE" mitm 192.168.1.2:4444 $R1 strip
start stripped agent "$ZTNA" agent --config "$T/agent-a2.json"
check a_group_is_taken_out wait_for 5 said strip 'taken=1'
check that_ends_the_handshake wait_for 5 said stripped 'relay lost'
sleep 1
check nothing_weaker_is_taken eval '! said stripped "relay connected"'
check the_log_says_which_side_refused said stripped 'reason='
wait $TOKENS
as "$(cat "$T/tokens")"
check a_first_packet_gets_a_retry line '^retry .*answers=1 retries=1 '
check a_token_is_worth_nothing_elsewhere line '^token-elsewhere .*answers=[0-9]+ .*largest=([0-9]|[1-9][0-9]|[12][0-9][0-9])\b'
check a_token_is_worth_nothing_after_ten_seconds line '^token-late .*answers=[0-9]+ .*largest=([0-9]|[1-9][0-9]|[12][0-9][0-9])\b'
check where_it_was_given_it_leads_to_a_handshake line '^token-here .*largest=1[0-9][0-9][0-9]\b'
check whoever_has_nobody_on_the_way_works wait_for 10 pings
exit "${FAILED:-0}"
