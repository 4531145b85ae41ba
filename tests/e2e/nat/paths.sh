#!/bin/bash
# paths.sh - what happens to the paths of a link, and what people notice of it:
# 1000 echoes per second through the real programs in the laboratory of NATs.
# At most a second without an answer, and nothing lost when a move was planned.
#
#   paths.sh [STORY...]      cut moved forgotten relay; each in a laboratory of
#                            its own, JOBS (2) at a time
#   LOAD_FOR=10 LIMIT=300 tests/e2e/nat/paths.sh cut
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/paths_lib.sh
lab_need xargs "$LINK"
LIMIT=${LIMIT:-1000}    # ms
LOAD_FOR=${LOAD_FOR:-3} # seconds

up() { # CLASS-A CLASS-B
  lab_pki && lab_up "$1" "$2" 2 && lab_programs || { not_ok link "$(cat "$T/cert.out")"; exit 1; }
  BEGAN=$(now_ms)
  echoes_start 1000
}
goes_on() { happens "$*" "$LIMIT" "$@"; }
is_direct() { wait_for 8 uses direct || { link_of; return 1; }; }

# --- there, away, and back; and who may not any more

moved_without_loss() { # FROM
  is_direct || return
  echo "# direct after $(($(now_ms) - $1)) ms"
  settle
  sleep 0.2
  settle
  lost_nothing "$1" "$(now_ms)"
}
forwarded() {
  echo $(($(metric relay ztna_relay_forwarded_packets_total) +
    $(metric relay2 ztna_relay_forwarded_packets_total)))
}
# Keep-alives are one per path and end in 15 s, with their answers.
relays_see_nothing() {
  local before after sum began
  began=$(now_ms) before=$(forwarded)
  sleep "$LOAD_FOR"
  after=$(forwarded) sum=$(tally "$began" "$(now_ms)")
  echo "# relays forwarded $((after - before)) packets in $LOAD_FOR s, echoes: $sum ms"
  case $sum in "sent 0 "*) return 1 ;; esac
  [ $((after - before)) -le $((8 + LOAD_FOR)) ]
}
# The rule goes before the next attempt, which is a second after the cut.
returned_to_without_loss() {
  local from
  uses relay || { link_of; return 1; }
  from=$(now_ms)
  heal_direct
  moved_without_loss "$from"
}
without_echo() {
  cat >"$T/policy.new" <<END
{"rules": [{"name": "less", "agents": ["spiffe://example.org/agent/a*"], "services": ["dns"]}]}
END
  mv "$T/policy.new" "$T/policy.json"
  kill -HUP "$(pid_of relay)" "$(pid_of relay2)"
}
revoked() {
  local from last
  settle && is_direct || return
  from=$(now_ms)
  without_echo
  sleep 1.5
  last=$(awk '$3 > last { last = $3 } END { print last }' "$T/echoes")
  echo "# the last answer came $((last - from)) ms after the policy changed"
  grep -q 'policy reloaded' "$T/relay.log" && [ $((last - from)) -le 1000 ]
}
story_cut() {
  up port-restricted firewall
  check the_first_move_to_the_direct_path_loses_nothing moved_without_loss "$BEGAN"
  check on_the_direct_path_relays_forward_only_keep_alives relays_see_nothing
  check a_cut_direct_path_is_left_within_a_second goes_on cut_direct
  check it_is_returned_to_without_loss returned_to_without_loss
  check revocation_stops_the_direct_path_within_a_second revoked
}

# --- others below us

pulled() {
  unplug agent
  sleep 0.1
  plug agent
  EVENT=$(now_ms) # from here on it may work
}
story_moved() {
  up port-restricted-np firewall
  is_direct
  check a_new_address_of_the_connector_costs_less_than_a_second goes_on new_address conn
  check after_that_the_link_is_direct_again is_direct
  check a_cable_plugged_in_again_works_within_a_second goes_on pulled
  check a_new_address_of_the_agent_costs_less_than_a_second goes_on new_address agent
}
both_flushed() { flush_nat agent && flush_nat conn; }
story_forgotten() {
  up port-restricted-np firewall
  is_direct
  check a_router_that_forgets_costs_less_than_a_second goes_on flush_nat agent
  check after_that_the_link_is_direct_again is_direct
  check both_routers_that_forget_cost_less_than_a_second goes_on both_flushed
}

# --- two that no direct path leads between

relay_dies() { kill_relay "$RELAY"; }
goes_on_over_the_other() {
  RELAY=$(used_relay)
  goes_on relay_dies && uses relay && [ "$(used_relay)" != "$RELAY" ]
}
comes_back() {
  local from
  from=$(now_ms)
  if [ "$RELAY" = 1 ]; then start_relay; else start_relay2; fi
  wait_for 8 has_paths 2 || { link_of; return 1; }
  settle
  lost_nothing "$from" "$(now_ms)"
}
story_relay() {
  up sym-random sym-random
  check a_link_has_a_path_over_each_relay wait_for 5 has_paths 2
  check the_death_of_a_relay_costs_less_than_a_second goes_on_over_the_other
  check its_return_costs_nothing comes_back
}

# --- all of them

if [ "${1:-}" = --one ]; then
  "story_$2"
  exit "${FAILED:-0}"
fi
lab_pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
export LAB_PKI=$T
STORIES=${*:-cut moved forgotten relay}
echo $STORIES | xargs -n 1 -P "${JOBS:-2}" sh -c '"$0" --one "$2" >"$1/$2.out" 2>&1' \
  tests/e2e/nat/paths.sh "$T" || FAILED=1
for s in $STORIES; do cat "$T/$s.out"; done
exit "${FAILED:-0}"
