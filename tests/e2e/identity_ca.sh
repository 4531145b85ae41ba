#!/bin/bash
# identity_ca.sh - from one CA to the next while programs run: all believe both,
# get certificates and lists of the second, and then believe it alone. Nothing is
# lost by it, and who comes with a certificate of the first is refused.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping openssl
. tests/e2e/identity_lib.sh

trust() { # N FILE...: all trust these CAs, which is the N-th exchange
  local n=$1
  shift
  cat "$@" >"$T/ca.new" && mv "$T/ca.new" "$T/ca.pem"
  roles reloaded "$n"
}
reloaded() { wait_for 3 is "$2" identity_reloads_total "$1" && is "$2" identity_ok 1; }
of_second() { # ROLE: a certificate of the second CA
  local name
  name=$(file_of "$1")
  KEYS=$T/two fresh "$1" -300 $((90 * DAY)) && mv "$T/two/$name.key" "$T" && mv "$T/two/$name.pem" "$T" && taken "$1" 2
}
of_second_list() { KEYS=$T/two list "$1" && reloaded 3 "$1"; }
refused_now() { # who has a certificate of the first CA
  local out
  out=$(on agent "$HOSTILE" call 192.168.1.2:4433 "$T/agent-a2.pem" "$T/agent-a2.key" GET /v1/self)
  [[ $out == *'ended by=peer reason=bad-certificate '* ]] || { echo "$out"; return 1; }
}
# Of its path both ends have shown certificates of the second.
moved() { [ "$(n_logged agent 'path changed .* planned')" -ge 2 ]; }

world -300 $((365 * DAY))
cp "$T/ca.pem" "$T/one.pem"
"$ZTNA" cert init --dir "$T/two" --trust-domain example.org >>"$T/cert.out" 2>&1
start_load 11
sleep 0.3
check all_trust_two_cas trust 1 "$T/one.pem" "$T/two/ca.pem"
check all_move_to_certificates_of_the_second roles of_second
check and_to_its_lists roles of_second_list
check paths_are_made_anew_by_it wait_for 12 moved
check the_first_is_taken_out trust 4 "$T/two/ca.pem"
check a_certificate_of_the_first_is_refused refused_now
check that_loses_nothing_either load_ended 0
check and_who_comes_anew_is_served eval 'stop agent && start_agent && wait_for 5 is_ready agent && wait_for 5 pings'
exit "${FAILED:-0}"
