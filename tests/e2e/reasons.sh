#!/bin/bash
# reasons.sh - every reason of base/reason.h, said by the far end, is read on the
# agent's side by `ztna why`: what happened, and who can fix it.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/evil_lib.sh
need awk

# NAME|TEXT|FIX of each
reasons() {
  tr '\n\\' '  ' <src/base/reason.h | sed 's/X(/\nX(/g' |
    awk -F'"' '/^X\([A-Z]/ { print $2 "|" $4 "|" $6 }'
}

net_up
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
agent_json a1
echo not-allowed >"$T/reason"
start relay relay "$EVIL" relay "$T" r1 0.0.0.0:4433 refuse "$T/reason"
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 ||
  { not_ok up "the agent has no routes"; exit 1; }

n=0
while IFS='|' read -r name text fix; do
  [ "$name" = none ] && continue
  n=$((n + 1))
  echo "$name" >"$T/reason"
  sleep 0.05
  on agent "$ZTNA" why echo --http 127.0.0.1:9090 </dev/null >"$T/why.out" 2>&1
  if grep -qF "[$name]" "$T/why.out" &&
    grep -qF "echo cannot be reached: $text. Who can fix it: $fix." "$T/why.out"; then
    ok "${name//-/_}_is_read"
  else
    not_ok "${name//-/_}_is_read" "$(cat "$T/why.out")"
  fi
done < <(reasons)
check that_was_all_of_them test $n -ge 30 -a $n = "$(grep -c '^  X(' src/base/reason.h | awk '{ print $1 - 1 }')"
exit "${FAILED:-0}"
