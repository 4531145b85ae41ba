#!/bin/bash
# restart.sh - each program is killed (-9) and started again while the person
# pings and sends UDP every 50 ms: traffic comes back by itself, and nothing of
# a dead agent is left on its host.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ping

# Two witnesses write the time of each reply, ms: of pings, and of UDP.
watch_traffic() {
  start pings agent sh -c "exec ping -D -n -i 0.05 10.100.0.2 >$T/pings 2>&1"
  start udp agent sh -c "exec $TOOL stream [fd5a:10::2]:9999 50000 >$T/udp"
}
ping_times() { sed -n 's/^\[\([0-9]*\)\.\([0-9][0-9][0-9]\).*bytes from.*/\1\2/p' "$T/pings"; }
udp_times() { sed -n 's/.* //p' "$T/udp"; }
# first WITNESS MS: the first reply at or after that time, as ms after it
first() { "$1_times" | awk -v t="$2" '$1 >= t { print $1 - t; exit }'; }
came() { [ -n "$(first ping "$1")" ] && [ -n "$(first udp "$1")" ]; }
silent() { # FROM TO: not one reply in between
  local w
  for w in ping udp; do
    "${w}_times" | awk -v a="$1" -v b="$2" '$1 > a && $1 < b { exit 1 }' ||
      return 1
  done
}

# back NAME LIMIT-MS DOWN-SECONDS COMMAND...: kill NAME, start it again by that
# command after a while; how long until pings and UDP are answered?
back() {
  local name=$1 limit=$2 down=$3 killed started what p u
  shift 3
  what="${name}_back_after_${down}s_down"
  stop "$name" KILL
  killed=$(now_ms)
  sleep "$down"
  started=$(now_ms)
  "$@"
  wait_for 15 came "$started"
  p=$(first ping "$started") u=$(first udp "$started")
  echo "# $name back after ping ${p:-never} ms, udp ${u:-never} ms (down $down s)"
  if ! silent $((killed + 20)) "$started"; then
    not_ok "$what" "replies while $name was dead"
  elif [ "${p:-99999}" -le "$limit" ] && [ "${u:-99999}" -le "$limit" ]; then
    ok "$what"
  else
    not_ok "$what" "not within $limit ms"
  fi
}

nothing_left() {
  ! on agent ip link show ztna0 >/dev/null 2>&1 &&
    ! on agent ip addr | grep -e 100.64 -e fd5a: &&
    ! on agent ip route show table all | grep -e 10.100 -e fd5a: &&
    on agent ip rule | cmp - "$T/rules.before" &&
    on agent ip route show table all | cmp - "$T/routes.before"
}
ends_clean() { # NAME: SIGTERM, exit code 0 within 2 s
  local code started
  started=$(now_ms)
  stop "$1"
  code=$?
  if [ $code = 0 ] && [ $(($(now_ms) - started)) -lt 2000 ]; then
    ok "$1_ends_clean"
  else
    not_ok "$1_ends_clean" "code $code after $(($(now_ms) - started)) ms"
  fi
}

net_up
on agent ip rule >"$T/rules.before"
on agent ip route show table all >"$T/routes.before"
programs_up
watch_traffic
wait_for 5 came "$(now_ms)" || not_ok traffic "no traffic to begin with"

back relay 3000 0.3 start_relay
back relay 3000 4 start_relay
back connector 3000 0.3 start_connector
back connector 3000 5 start_connector
stop agent KILL
check killed_agent_leaves_nothing wait_for 1 nothing_left
start_agent
wait_for 5 came "$(now_ms)"
back agent 2000 0.5 start_agent

ends_clean agent
check ended_agent_leaves_nothing nothing_left
ends_clean connector
ends_clean relay
exit "${FAILED:-0}"
