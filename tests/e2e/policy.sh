#!/bin/bash
# policy.sh - a policy that changes while the relay runs: what it takes away
# ends at once and says why, mistakes change nothing, rules end and have limits.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip
TCP=${TOOL%/*}/tool_tcp

get() { # HOST PATH
  on "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET $2 HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3"
}
value() { get relay /metrics | tr -d '\r' | awk -v m="$1" '$1 == m { print $2 }'; }
is() { [ "$(value "ztna_relay_policy_$1")" = "$2" ]; }
status_has() { ready "$1" | tr -d ' \n' | grep -qF -- "$2"; } # HOST TEXT
logged() { grep -qF -- "$2" "$T/$1.log"; }
last() { awk '{ t = $2 } END { print t ? t : 0 }' "$T/udp"; } # echo, when

all='"agents": ["spiffe://example.org/agent/*"], "services": ["*"]'
a1='"agent": "spiffe://example.org/agent/a1", "service": "echo", "protocol": "udp", "port": 9999'
# policy RULE... [-- REVOKED TESTS]: written beside the file and renamed
policy() {
  local r list=
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    list="$list${list:+,
}{$1}"
    shift
  done
  printf '{"rules": [%s],\n "revoked": [%s],\n "tests": [%s]}\n' "$list" "${2:-}" "${3:-}" >"$T/policy.new"
  mv "$T/policy.new" "$T/${FILE:-policy.json}"
}
say() { # CODE PATTERN COMMAND...
  local code=$1 want=$2 out rc
  shift 2
  out=$("$ZTNA" policy "$@" 2>&1)
  rc=$?
  echo "$rc: $out"
  # shellcheck disable=SC2053
  [ $rc = "$code" ] && [[ $out == $want ]]
}

# --- on the command line

policy "\"name\": \"web\", $all, \"protocols\": [\"tcp\", \"icmp\"], \"ports\": [80]" \
  "\"name\": \"guests\", $all, \"protocols\": [\"udp\"], \"until\": \"2020-01-01\"" -- \
  '"spiffe://example.org/agent/lost"' "{$a1, \"expect\": \"allowed\"}"
cp "$T/policy.json" "$T/old.json"
p=$T/policy.json
check a_good_file_is_fine say 0 "$p: rules\[1\]: 'guests' ended at 2020-01-01T00:00:00Z
$p: ok: 2 rules, 1 test" check "$p"
sed -i 's/"allowed"/"revoked"/; s/"ports"/"port"/' "$p"
check a_mistake_has_its_place say 3 "$p:1: rules\[0\]: unknown key \"port\"; did you mean \"ports\"\?" check "$p"
sed -i 's/"port":\( .80\)/"ports":\1/' "$p"
check a_test_that_fails_has_its_place say 3 "$p:4: tests\[0\]: failed: *expected revoked, got allowed: rule 'guests' allows it, until 2020-01-01T00:00:00Z" check "$p"
check a_permission_names_its_rule say 0 "allowed: rule 'web' allows it" \
  why "$p" --agent a1 --service echo --protocol tcp --port 80
check a_refusal_names_what_is_missing say 5 \
  "refused (port-not-allowed): rule 'web' matches agent and service but not tcp port 22; it allows tcp 80 and icmp" \
  why "$p" --agent spiffe://example.org/agent/a1 --service echo --protocol tcp --port 22
check a_rule_that_ended_is_named say 5 "*rule 'guests' matches * but it ended at 2020-01-01T00:00:00Z" \
  why "$p" --agent a1 --service echo --protocol udp --port 22
check that_was_otherwise_before say 0 "allowed: rule 'guests' allows it, until *" \
  why "$p" --agent a1 --service echo --protocol udp --port 22 --at 2019-12-31
check who_is_revoked_reads_so say 5 "refused (revoked): *" why "$p" --agent lost --service echo --protocol icmp
check why_speaks_json say 5 '*"schema": "ztna.policy/1"*"reason": "port-not-allowed"*' \
  why "$p" --agent a1 --service echo --protocol tcp --port 22 --json
policy "\"name\": \"web\", $all, \"protocols\": [\"tcp\", \"icmp\"], \"ports\": [80, 443]" -- \
  '"spiffe://example.org/agent/lost", "spiffe://example.org/agent/a2"'
check a_difference_is_a_line say 0 'spiffe://example.org/agent/\* \*: tcp 80; icmp -> tcp 80, 443; icmp
spiffe://example.org/agent/\* echo: tcp 80; icmp -> tcp 80, 443; icmp
spiffe://example.org/agent/a1 \*: tcp 80; icmp -> tcp 80, 443; icmp
spiffe://example.org/agent/a1 echo: tcp 80; icmp -> tcp 80, 443; icmp
spiffe://example.org/agent/a2 \*: tcp 80; icmp -> revoked
spiffe://example.org/agent/a2 echo: tcp 80; icmp -> revoked' diff "$T/old.json" "$p"
check the_same_differs_in_nothing say 0 '' diff "$p" "$p"
check a_difference_is_json_too say 0 '*"changes": \[*"new": {*"reason": "revoked"*' diff "$T/old.json" "$p" --json
check wrong_use_is_told say 2 '*--port is missing' why "$p" --agent a1 --service echo --protocol tcp

# --- while it runs

usual="\"name\": \"usual\", $all, \"protocols\": [\"udp\", \"tcp\", \"icmp\"]"
policy "$usual"
net_up
{ pki && issue agent a3; } || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [{"id": "echo", "backends": [
  {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
  {"protocol": "tcp", "port": 78, "to": "127.0.0.1:78"}]}]}}
END
start_backend
start tcp conn "$TCP" serve 78=flood
start_relay
start_connector
wait_for 5 is_ready conn
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 ||
  not_ok up "the agent has no routes"
start stream agent sh -c "exec $TOOL stream 10.100.0.2:9999 5000 >>$T/udp"
first_came() { [ "$(last)" -gt 0 ]; }
check there_is_traffic wait_for 3 first_came
check the_status_names_the_file status_has relay "\"policy\":{\"file\":\"$T/policy.json\",\"loaded_at\":\"$(date -u +%Y-)"

silent() { [ $(($(now_ms) - $(last))) -ge 400 ]; }
# ends SINCE LIMIT: echoes end within LIMIT ms of that time
ends() {
  local took
  wait_for 3 silent || { tail -2 "$T/udp"; return 1; }
  took=$(($(last) - $1))
  echo "# the last echo came $took ms after it"
  [ $took -le "$2" ]
}
reaches() { # from now on
  local now
  now=$(now_ms)
  wait_for 3 came_since "$now"
}
came_since() { [ "$(last)" -gt "$1" ]; }
comes_back() { # after the policy allows it again
  local began
  policy "$usual"
  began=$(now_ms)
  wait_for 5 came_since $((began + 50)) || return 1
  echo "# an echo came $(($(last) - began)) ms after it was allowed again"
}

taken_away() {
  local began
  policy "\"name\": \"others\", \"agents\": [\"spiffe://example.org/agent/x*\"], \"services\": [\"*\"]"
  began=$(now_ms)
  ends "$began" 1000
}
check what_is_taken_away_ends_within_a_second taken_away
check and_the_agents_status_says_why status_has agent '"reason":"revoked"'
check and_who_can_fix_it status_has agent '"fix":"theadministratorofthepolicy"'
check and_the_relays_log logged relay 'policy reloaded file='
check what_is_given_back_works comes_back

bad() {
  local before
  before=$(value ztna_relay_policy_reloads_total)
  sed 's/"services"/"servces"/' "$T/policy.json" >"$T/policy.new"
  mv "$T/policy.new" "$T/policy.json"
  wait_for 2 is ok 0 && reaches && [ "$(value ztna_relay_policy_reloads_total)" = "$before" ]
}
check a_bad_file_changes_nothing bad
check and_the_status_says_which_mistake status_has relay "\"last_error\":\"$T/policy.json:1:rules[0]:unknownkey\\\"servces\\\""
check and_the_log_says_so logged relay 'not reloaded, the former policy stays in force'
check and_the_metric_counts_it is reload_failures_total 1
failing() { # written in place this time
  printf '{"rules": [], "tests": [{%s, "expect": "allowed"}]}' "$a1" >"$T/policy.json"
  wait_for 2 is reload_failures_total 2 && reaches
}
check a_policy_that_fails_its_own_tests_is_refused failing

past() { [ "$(now_ms)" -ge "$1" ]; }
ends_on_time() {
  local at
  at=$(($(date +%s) + 2))
  policy "$usual, \"until\": \"$(date -u -d @$at +%Y-%m-%dT%H:%M:%SZ)\""
  wait_for 2 is ok 1 || return 1
  wait_for 3 past $((at * 1000))
  ends $((at * 1000)) 500 && [ $(($(last) - at * 1000)) -ge -100 ]
}
check a_rule_ends_on_time ends_on_time
check and_its_agent_reads_that_no_rule_allows_it status_has agent '"reason":"not-allowed"'

limited() {
  local out rate
  policy "$usual, \"limits\": {\"rate\": \"500KiB\"}"
  wait_for 2 reaches || return 1
  out=$(on agent "$TCP" bulk down 10.100.0.2:78 seconds=2) || { echo "$out"; return 1; }
  rate=$(sed -n 's/.*speed_mbit=\([0-9]*\).*/\1/p' <<<"$out")
  echo "# $out"
  # 4.1 Mbit/s of packets, of which some are headers; 125 KiB at once
  [ "$rate" -ge 1 ] && [ "$rate" -le 5 ]
}
check a_rules_rate_is_kept limited
check_drops() { get relay /metrics | grep -q 'dropped_packets_total{reason="rate-limited"} [1-9]'; }
check what_was_too_much_is_counted check_drops

revoked() {
  local began
  policy "$usual" -- "$1"
  began=$(now_ms)
  ends "$began" 1000
}
wait_for 2 reaches
check who_is_revoked_is_out_within_a_second revoked '"spiffe://example.org/agent/a1"'
check and_the_log_of_the_agent_says_why logged agent 'reason=revoked'
check and_it_is_not_let_in_again wait_for 3 logged relay 'handshake refused from=192.168.1.1:'
serial=$("$ZTNA" cert show "$T/agent-a3.pem" | sed -n 's/.*serial *//p')
stop agent
agent_json a3
start_agent agent agent3 a3
wait_for 5 reaches
check another_one_comes_in reaches
check a_certificate_is_revoked_by_its_number revoked "\"$serial\""
another_file() { # and that one is watched from then on
  FILE=other.json policy "$usual"
  sed -i 's/"policy.json"/"other.json"/' "$T/relay.json"
  kill -HUP "$(pid_of relay)"
  wait_for 2 status_has relay "\"file\":\"$T/other.json\"" || return 1
  FILE=other.json policy "$usual" '"name": "more", "agents": ["*"], "services": ["more"]'
  wait_for 2 is rules 2
}
check a_signal_follows_the_configuration_to_another_file another_file
check nobody_is_told_of_mistakes eval '! grep -hiE "assert|internal" "$T"/*.log'
exit "${FAILED:-0}"
