#!/bin/bash
# revoke_two.sh - two relays with files of policy that differ. A refusal by one of
# them ends at once what the other one allows, too; but it is not remembered:
# whoever asks the other one anew is served. So all relays need the same file.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/paths_lib.sh
. tests/e2e/evil_lib.sh
lab_need "$LINK"

lab_pki && lab_up sym-random sym-random 2 && lab_json
rules='{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/*"], "services": ["*"], "protocols": ["udp", "icmp"]}]'
lab_json() { :; } # as it is, but a file for each
sed -i 's/"policy.json"/"policy2.json"/' "$T/relay2.json"
for f in policy policy2; do echo "$rules}" >"$T/$f.json"; done
lab_programs || { not_ok lab "$(cat "$T/cert.out")"; exit 1; }
echoes_start 2000
check a_link_has_a_path_over_each_relay wait_for 5 has_paths 2

revoke_in() { # FILE
  echo "$rules, \"revoked\": [\"spiffe://example.org/agent/a1\"]}" >"$T/$1.new"
  mv "$T/$1.new" "$T/$1.json"
}
# Both grants go, the other relay's, too; the count is of connector's log.
both_end() {
  [ "$(grep -c 'grant closed .*service=echo reason=revoked' "$T/connector.log")" -ge 2 ]
}
settle
revoke_in policy
check a_refusal_by_one_relay_ends_the_grants_of_both wait_for 1 both_end
check its_control_connection_ends wait_for 2 said agent 'relay lost relay=192.0.2.2:4433 reason=revoked'
# --- and the other one, which knows nothing of it, grants anew
served_by_the_other() { answered "$(now_ms)" || { sleep 0.2; answered $(($(now_ms) - 150)); }; }
check but_the_other_relay_grants_anew_what_its_file_allows wait_for 5 served_by_the_other
check that_is_over_the_other_one test "$(used_relay)" = 2
revoke_in policy2
check only_both_files_end_it_for_good wait_for 2 said agent 'relay lost relay=192.0.2.130:4433 reason=revoked'
sleep 2
check nothing_comes_any_more eval '! answered $(($(now_ms) - 1000))'
exit "${FAILED:-0}"
