#!/bin/bash
# alloc.sh - once traffic flows, no process on its way allocates: a preloaded
# library counts (alloc_count.c). What remains, a few per 10,000 packets, or per
# 1000 where other programs take the processor away, are ngtcp2's pools, which
# grow when more is on its way than ever before. One for each train of packets
# would be 20 per 1000 at least.
cd "$(dirname "$0")/../.." || exit 1
B=${BUILD:-build}
. tests/bench/lib.sh
need ip ping "${CC:-cc}"
alloc_counter || skip_all "needs glibc and no sanitizer"

few() { # NAME: at most 10 per 1000
  awk -v n="$1" '$1 == n && $2 <= 10 { ok = 1 } END { exit !ok }' "$T/allocs" ||
    { cat "$T/allocs"; false; }
}

bench_hosts
chain_up
for way in up down; do
  alloc_flow $way 1 >"$T/allocs" || { not_ok "flow_$way"; continue; }
  [ -z "${VERBOSE:-}" ] || sed "s/^/# /" "$T/allocs"
  for p in agent relay connector; do
    check "${p}_allocates_nothing_per_packet_$way" few "alloc.$way.$p"
  done
done
exit "${FAILED:-0}"
