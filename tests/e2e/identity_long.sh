#!/bin/bash
# identity_long.sh (make check-long) - certificates that live for a minute, each
# exchanged three times in it, and lists that come and go, for two minutes: no
# datagram is lost, no connection is reset, and memory does not grow with them.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping openssl
. tests/e2e/identity_lib.sh
SECONDS_LONG=${SECONDS_LONG:-120}

rss() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$(pid_of "$1")/status"; } # KB
n=0
exchange_all() {
  local r
  for r in relay connector agent; do
    fresh $r -300 65 && list $r || return
    sleep 4
  done
  n=$((n + 1))
}
exchanges() {
  local end=$(($(date +%s) + SECONDS_LONG)) before= r
  while [ "$(date +%s)" -lt $end ]; do
    exchange_all || return
    [ -n "$before" ] || before="$(rss relay) $(rss connector) $(rss agent)"
  done
  # of each its certificate and its list
  for r in relay connector agent; do echo "# $r: $(value $r identity_reloads_total) exchanges"; done
  echo "# KB at first: $before, at last: $(rss relay) $(rss connector) $(rss agent)"
  set -- $before
  [ "$(rss relay)" -lt $(($1 + 4096)) ] && [ "$(rss connector)" -lt $(($2 + 4096)) ] && [ "$(rss agent)" -lt $(($3 + 4096)) ]
}
right() { is "$1" identity_ok 1 && is "$1" identity_reload_failures_total 0; }

world -300 65
start_load $((SECONDS_LONG + 15))
check short_lives_follow_each_other exchanges
check all_of_them_were_taken roles right
check and_nothing_was_lost load_ended 0
exit "${FAILED:-0}"
