#!/bin/bash
# run.sh - measures relay, connector and agent on hosts in network namespaces,
# in one run of about five minutes: `make bench`. Prints one table and writes
# bench.json beside the binary. Ratios of one run are what to trust; figures of
# a busy or virtual machine vary.
#
#   run.sh [BUILD-DIRECTORY [PART...]]   parts: idle relay chain alloc tcp
cd "$(dirname "$0")/../.." || exit 1
B=${1:-build}
shift
PARTS=${*:-idle relay chain alloc tcp}
SECONDS_EACH=${SECONDS_EACH:-2}
. tests/bench/lib.sh
. tests/bench/tcp.sh
need ip taskset ping
ROWS=$T/rows

say() { echo "bench: $*" >&2; }
wants() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }
rows() { # PREFIX COMMAND...: its lines "name value unit" become rows
  local prefix=$1
  shift
  "$@" >"$T/out" || { say "failed: $*"; cat "$T/out" >&2; exit 1; }
  sed "s/^/$prefix/" "$T/out" >>"$ROWS"
}

# --- a relay with 1000 control connections

part_idle() {
  start relay relay "$ZTNA" relay --config "$T/relay.json"
  wait_for 5 is_ready relay || give_up "the relay is not ready"
  rows "" "$TOOLS/bench_idle" --ca "$T" --relay 192.168.1.2:4433 \
    --pid "$PID_relay" --netns "$(netns agent)"
  stop relay
}

# --- forwarding, beside bare forwarders; all of them on CPU 1

forwarder() { # MODE NUMBER
  start "bare$2" relay taskset -c 1 "$TOOLS/bench_forward" "$1" --seconds 120 \
    --listen "192.168.1.2:500$2" --to "192.168.2.1:600$2"
}

part_relay() {
  start relay relay taskset -c 1 "$ZTNA" relay --config "$T/relay.json"
  forwarder gro 1
  forwarder plain 2
  wait_for 5 is_ready relay || give_up "the relay is not ready"
  rows "" "$TOOLS/bench_relay" --ca "$T" --pid "$PID_relay" \
    --relay 192.168.1.2:4433 192.168.2.2:4433 \
    --netns "$(netns agent)" "$(netns conn)" "$(netns relay)" --seconds "$SECONDS_EACH" \
    --bare gro 192.168.1.2:5001 6001 "$PID_bare1" \
    --bare plain 192.168.1.2:5002 6002 "$PID_bare2"
  stop bare1
  stop bare2
  stop relay
}

# --- the whole chain

memory() { # NAME: resident now
  local f=/proc/$(pid_of "$1")/smaps_rollup
  awk -v n="$1" '$1 == "Rss:" { printf "%s.running.rss %.1f MB\n", n, $2 / 1024 }
    $1 == "Anonymous:" { printf "%s.running.anon %.1f MB\n", n, $2 / 1024 }' "$f" >>"$ROWS"
}

part_chain() {
  local size
  chain_up
  route_raw
  sleep 1
  for p in agent connector relay; do memory $p; done
  rows "rtt." on agent "$CHAIN" rtt 192.168.2.1:9997 raw
  rows "rtt." on agent "$CHAIN" rtt 10.100.0.2:9999 tunnel
  for size in 64 512 1200 1200x32; do
    rows "chain." flow up "up.$size" $size "$SECONDS_EACH"
    rows "chain." flow down "down.$size" $size "$SECONDS_EACH"
  done
  for p in agent connector relay echo; do stop $p; done
}

# --- allocations

part_alloc() {
  alloc_counter || { say "no counter of allocations here"; return; }
  chain_up
  for way in up down; do
    alloc_flow $way 2 >>"$ROWS" || give_up "no flow $way"
  done
  for p in agent connector relay echo; do stop $p; done
}

# --- the table

report() {
  awk -v json="$B/bench.json" -f tests/bench/report.awk "$ROWS"
}

bench_hosts
for part in idle relay chain alloc tcp; do
  wants $part || continue
  say "$part"
  part_$part
done
report
