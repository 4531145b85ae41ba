#!/bin/bash
# demo.sh - `ztna demo` as a person without privileges starts it, on a machine
# with nothing but loopback.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ss setpriv prlimit

mkdir "$T/home"
chmod 711 "$T"
chown 65534 "$T/home"
PERSON="setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --no-new-privs"
DEMO="env -C $T/home TMPDIR=$T/home HOME=$T/home $PERSON $ZTNA demo"
run_demo() { # OUTPUT FLAGS...
  local to=$1
  shift
  on here timeout 60 $DEMO "$@" >"$to" 2>&1
}

# member NAME CONDITION-ON-x
member() { awk -F'[:,]' -v n="\"$1\"" '$1 ~ n { x = $2 } END { exit !(x != "" && ('"$2"')) }' "$T/json"; }
shown() { # LINE, a pattern
  grep -Eq "^ *[0-9]+\.[0-9] ms  $1" "$T/text" || { cat "$T/text"; false; }
}

# start_demo: until it measures the round-trip time
start_demo() {
  : >"$T/demo.log"
  start demo here $DEMO --seconds 2
  wait_for 10 said 'first reply'
}
said() { grep -q "ms  $1" "$T/demo.log"; }
interrupted() { # SIGNAL LINE: once it has said that, it is to end
  local begin
  start_demo && wait_for 20 said "$2" || return 1
  begin=$(now_ms)
  stop demo "$1"
  local code=$? took=$(($(now_ms) - begin))
  echo "# ended $took ms after SIG$1"
  [ $code = 1 ] && [ $took -lt 1500 ] && ! grep -E 'ERROR|Sanitizer|failed' "$T/demo.log"
}
listeners() { on here ss -Hltn | awk '{ print $4 }'; }
only_loopback() {
  start_demo || return 1
  listeners >"$T/ports"
  stop demo
  [ "$(grep -c '^127\.0\.0\.1:' "$T/ports")" = 2 ] &&
    ! grep -v '^127\.0\.0\.1:' "$T/ports"
}
nothing_listens() { [ -z "$(listeners)" ]; }
no_file() { [ -z "$(ls -A "$T/home")" ]; }
no_page_no_success() { # a process that gets no more sockets
  start_demo && $PERSON prlimit --pid "$(pid_of demo)" --nofile=3:3 || return 1
  wait "$(pid_of demo)"
  [ $? = 1 ] && grep -q 'ms  failed  *the page did not come: ' "$T/demo.log" ||
    { cat "$T/demo.log"; false; }
}

host here
check ends_well_as_json run_demo "$T/json" --json --seconds 1
check page_over_tcp member http_status 'x == 200'
check throughput_of_tcp member tcp_throughput_mbps 'x > 1'
check throughput_of_udp member throughput_mbps 'x > 1'
check says_that_it_is_well member ok 'x ~ /true/'
check ends_well_as_text run_demo "$T/text" --seconds 1
check shows_the_page shown 'page +HTTP 200, [1-9][0-9]* bytes over TCP$'
check shows_the_bulk shown 'bulk +[1-9][0-9]* Mbit/s down over TCP \(loopback, one stream\)$'
check listens_on_loopback_only only_loopback
check ends_when_interrupted_early interrupted INT 'first reply'
check ends_when_interrupted_in_the_udp_bulk interrupted INT rtt
check ends_when_interrupted_in_the_tcp_bulk interrupted INT page
check ends_when_terminated_in_the_tcp_bulk interrupted TERM page
check a_page_that_does_not_come_is_a_failure no_page_no_success
check nothing_listens_afterwards nothing_listens
check leaves_no_file no_file
exit "${FAILED:-0}"
