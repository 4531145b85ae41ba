#!/bin/bash
# identity_crl.sh - lists of revoked certificates while programs run: each of
# relay, connector and agent is named by the list of each other, PEM and DER; what
# they have with each other ends within a second, and they read why.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping openssl
. tests/e2e/identity_lib.sh

world -300 $((365 * DAY))
start stream agent sh -c "exec $TOOL stream 10.100.0.2:9999 5000 >>$T/udp"
last() { awk '{ t = $2 } END { print t ? t : 0 }' "$T/udp"; } # echo, when
silent() { [ $(($(now_ms) - $(last))) -ge 300 ]; }
came_since() { [ "$(last)" -gt "$1" ]; }
reaches() {
  local now
  now=$(now_ms)
  wait_for "$1" came_since "$now"
}
# ends WHOSE-LIST WHOM: that list names it: the last echo came within a second
ends() {
  local began took
  reaches 3 || { echo "no echo before"; return 1; }
  list "$1" "$(file_of "$2").pem"
  began=$(now_ms)
  wait_for 3 silent || { echo "no end"; return 1; }
  took=$(($(last) - began))
  echo "# $1's list names the $2: the last echo came $took ms after it"
  [ $took -le 1000 ]
}
# again WHOSE-LIST: nobody is revoked any more
again() {
  local began
  list "$1"
  began=$(now_ms)
  wait_for 12 came_since $((began + 50)) || return
  echo "# an echo came $(($(last) - began)) ms after it was empty again"
}
says_revoked() { status_has "$1" '"reason":"revoked"'; }
why_says_revoked() { on agent "$ZTNA" why echo --http 127.0.0.1:9090 >"$T/why" 2>&1; grep -q revoked "$T/why" || { cat "$T/why"; return 1; }; }

# pair WHOSE-LIST WHOM [WHO-SAYS-SO [WORDS]]: ends, is told, and not for ever
pair() {
  ends "$1" "$2" || return
  wait_for 2 says_revoked "${3:-$1}" || { echo "status: not revoked"; return 1; }
  [ -z "${4:-}" ] || wait_for 4 logged "$2" "$4" || { echo "$2 was not told"; return 1; }
  again "$1"
}
end_of() { echo "disconnected identity=spiffe://example.org/$1 .* reason=revoked by=peer"; }
check an_agents_list_ends_a_connector pair agent connector agent 'path (ended|attempt failed) .* reason=revoked'
check and_why_says_so eval 'list agent connector-c1.pem && wait_for 3 why_says_revoked && again agent'
DER=1
check a_relays_list_ends_an_agent pair relay agent agent
check a_connectors_list_ends_an_agent pair connector agent agent
DER=
check an_agents_list_ends_a_relay pair agent relay agent "$(end_of agent/a1)"
check a_connectors_list_ends_a_relay pair connector relay connector "$(end_of connector/c1)"
check a_relays_list_ends_a_connector pair relay connector connector

# --- a list that ran out

ran_out() {
  LIST_FROM=-$((9 * DAY)) LIST_ENDS=-5 ends relay agent || return
  wait_for 2 status_has relay 'ran out at ' && says_revoked agent &&
    logged relay 'relay: the list of revoked certificates of "ztna CA example.org" ran out at .*: who was revoked since is let in; make it anew: ztna cert crl' &&
    words relay | grep -q '^WARNING: the list of revoked certificates' &&
    [ "$(value relay crl_expires_seconds)" -lt "$(date +%s)" ] && again relay
}
check a_list_that_ran_out_refuses_all_the_same_and_says_so ran_out
exit "${FAILED:-0}"
