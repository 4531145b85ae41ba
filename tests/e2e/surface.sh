#!/bin/bash
# surface.sh - what a relay, and a connector with a direct path, give strangers:
# never more than three times what they sent; nothing at all. And what a restarted
# relay gives those whom it knew: a reset. Retry keys are exchanged while it runs.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping
HOSTILE=${ZTNA%/*}/tests/tool_hostile
[ -x "$HOSTILE" ] || skip_all "no $HOSTILE"

page() { on relay bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3'; }
metric() { page | awk -v p="^($1)" '$1 ~ p { n += $2 } END { print n + 0 }'; }
said() { grep -qE -- "$2" "$T/$1.log"; }
pings() { on agent ping -c 1 -W 1 10.100.0.2 >/dev/null; }

net_up
host bad
link bad relay 3
link agent conn 4
link bad conn 5
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
(umask 077; printf '%064d\n' 1 >"$T/retry.keys")
relay_json
sed -i 's|"policy": "policy.json"|"policy": "policy.json", "retry_keys": "retry.keys"|' "$T/relay.json"
agent_json a1
connector_json
start_backend
start_relay
start_connector
wait_for 5 is_ready conn
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 || { not_ok programs_up; exit 1; }
wait_for 5 pings || { not_ok ping_before; exit 1; }

# --- bytes out for bytes in

# at_most_threefold FILE: no kind of datagram was worth more than three times its
# bytes
at_most_threefold() {
  sed 's/^/#   /' "$1"
  awk -F'[ =]' '{ n++; if ($5 > 3 * $3) bad = 1 } END { exit bad || n != 13 }' "$1"
}
amplify() { on bad "$HOSTILE" amplify 192.168.3.2:4433 "$1" >"$T/$2" 2>&1; }
bytes() { awk -F'[ =]' -v k="$1" '$1 == k { print $5 }' "$T/$2"; }
amplify 4 auto &
AMPLIFY=$!

# --- a scan of who has a direct path

C=$(ready relay | grep -oE '"connector_address": *"[0-9.]+:[0-9]+"' | grep -oE '[0-9]+"$' | tr -d '"')
check a_path_is_direct wait_for 8 said agent 'direct path|path live.*direct'
scan=$(on bad "$HOSTILE" scan 192.168.5.2 192.168.5.1:0 "$C")
check a_direct_port_is_silent_to_strangers grep -q "port=$C answers=0 icmp=0" <<<"$scan"
scan=$(on agent "$HOSTILE" scan 192.168.4.2 192.168.4.1:0 "$C")
check it_is_to_the_agents_host_as_well grep -q "port=$C answers=0 icmp=0" <<<"$scan"
check the_path_lives_on pings

wait $AMPLIFY
check strangers_get_three_times_their_bytes_at_most at_most_threefold "$T/auto"
check something_was_answered test "$(bytes a_whole_flight auto)" -gt 2400
for kind in a_short_initial an_altered_initial other_versions a_short_header_of_21 handshake_packets_of_nobody; do
  check "${kind}_gets_nothing" test "$(bytes $kind auto)" = 0
done
check a_reset_is_shorter_than_its_cause test "$(bytes a_short_header_of_43 auto)" -lt 43 -a "$(bytes a_short_header_of_43 auto)" -gt 0

# --- Retry keys

keys_ok() { test "$(metric ztna_relay_retry_keys_ok)" = "$1" -a "$(metric 'ztna_relay_retry_keys ?$')" = "$2"; }
check retry_keys_are_in_force keys_ok 1 1
(umask 077; printf '%064d\n%064d # before\n' 2 1 >"$T/keys.new") && mv "$T/keys.new" "$T/retry.keys"
check changed_keys_are_taken_while_it_runs wait_for 3 keys_ok 1 2
echo 12345 >>"$T/retry.keys"
check a_bad_file_changes_nothing wait_for 3 keys_ok 0 2
check and_the_log_says_where_it_is_wrong said relay 'retry.keys:3: want a key of 64 hex digits, got 5 characters'
check no_key_is_in_the_log bash -c "! grep -E '0{20}|12345' $T/relay.log"
(umask 077; printf '%064d\n' 2 >"$T/retry.keys") && chmod 644 "$T/retry.keys"
kill -HUP "$(pid_of relay)"
check keys_that_others_may_read_are_refused wait_for 3 said relay 'others may read it .mode 644.'
check status_says_so eval 'ready relay | tr -d " \n" | grep -q "\"retry_keys\":{.*\"ok\":false.*\"failures\":[1-9]"'
chmod 600 "$T/retry.keys" && kill -HUP "$(pid_of relay)"
check good_keys_are_taken_again wait_for 3 keys_ok 1 1

# --- a restart

# lost SECONDS PATTERN: after the next packets the agent says so
lost() { on agent ping -c 3 -i 0.2 -W 1 10.100.0.3 >/dev/null; wait_for "$1" said agent "$2"; }
restart() {
  stop relay KILL
  : >"$T/agent.log"
  start_relay
  wait_for 5 is_ready relay
}
restart
check a_restarted_relay_ends_the_old_connection_by_a_reset lost 1 'relay lost.*stateless reset'
check the_agent_is_back wait_for 3 said agent 'relay connected'
# With another key it could be anybody's: nothing is believed.
sleep 1
rm "$T/state/state.key"
restart
check a_reset_by_another_key_is_not_believed eval '! lost 2 "relay lost.*stateless reset"'
check though_it_was_sent test "$(metric ztna_relay_resets_total)" -ge 1

# --- Retry always

stop relay KILL
sed -i 's|"policy": "policy.json"|"policy": "policy.json", "retry": "always"|' "$T/relay.json"
start_relay
wait_for 5 is_ready relay
amplify 1 always
check with_retry_always_they_get_less_than_they_sent eval "at_most_threefold $T/always && awk -F'[ =]' '\$5 > \$3 / 4 + 45 { exit 1 }' $T/always"
exit "${FAILED:-0}"
