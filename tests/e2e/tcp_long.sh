#!/bin/bash
# tcp_long.sh (make check-long) - a gigabyte each way at 0, 1 and 5 % loss: all
# of it, without a long stall; and a reader that sleeps fills no memory.
#   BYTES=100000000 tests/e2e/tcp_long.sh
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/tcp_lib.sh
need ip nft
BYTES=${BYTES:-1000000000}

rss() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$(pid_of "$1")/status"; } # KB
# The largest growth of agent and connector while a transfer's reader sleeps.
#   bounded KB get|put BYTES MOVES-ARGUMENTS...
bounded() {
  local limit=$1 a0= c0= a c grown=0 job rc
  shift
  [ "$VIA" = tunnel ] && a0=$(rss agent) c0=$(rss connector)
  moves "$@" &
  job=$!
  while kill -0 $job 2>/dev/null; do
    sleep 0.2
    [ "$VIA" = tunnel ] || continue
    a=$(($(rss agent) - a0)) c=$(($(rss connector) - c0))
    [ $a -gt $grown ] && grown=$a
    [ $c -gt $grown ] && grown=$c
  done
  wait $job
  rc=$?
  [ "$VIA" = raw ] ||
    echo "# agent $a0 KB, connector $c0 KB before; grew by $grown KB at most"
  [ $rc = 0 ] && [ $grown -le "$limit" ]
}

net_up
tcp_up
# Buffers of this one flow, of its path's frames, and what malloc rounds up: of
# programs that have not been stretched by other transfers yet.
check a_client_that_sleeps_fills_no_memory bounded 8192 get 300000000 3000 nap=30
PORT=77 check a_backend_that_sleeps_fills_no_memory bounded 8192 put 300000000 33000
for percent in 0 1 5; do
  [ $percent = 0 ] || lose $percent
  check "down_with_${percent}_percent_loss" moves get "$BYTES"
  check "up_with_${percent}_percent_loss" moves put "$BYTES"
  [ $percent = 0 ] || check "packets_were_lost_at_$percent" test "$(lost)" -gt $((BYTES / 2000000 * percent))
  no_loss
done
exit "${FAILED:-0}"
