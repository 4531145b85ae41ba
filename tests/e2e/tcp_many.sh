#!/bin/bash
# tcp_many.sh (make check-long) - 500 connections from five agents for a minute:
# no request fails, nothing leaks, no agent gets less than half of another.
#   SECONDS_LONG=10 tests/e2e/tcp_many.sh
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/tcp_lib.sh
need ip
for c in nginx:nginx-light wrk:wrk; do
  PATH=$PATH:/usr/sbin command -v "${c%:*}" >/dev/null || skip_all "needs ${c%:*} (Debian package ${c#*:})"
done
SECONDS_LONG=${SECONDS_LONG:-60}
AGENTS="agent agent2 agent3 agent4 agent5"
WWW_MB=1

# Each on a leg of its own; all dial the relay by the address of the first.
more_agents() {
  local i n=3
  for i in 2 3 4 5; do
    host "agent$i"
    link "agent$i" relay $n
    if [ "$VIA" = raw ]; then
      on "agent$i" ip route add default via "192.168.$n.2"
    else
      on "agent$i" ip route add 192.168.1.2 via "192.168.$n.2"
      agent_json "a$i"
      start_agent "agent$i" "agent$i" "a$i"
    fi
    n=$((n + 1))
  done
  [ "$VIA" = raw ] && return
  for i in 2 3 4 5; do
    wait_for 5 routes "agent$i" "${AT[web]}" || { not_ok more_agents "agent$i has no route"; exit 1; }
  done
}

# 50 connections that stay, and 50 that are made anew for each page.
crowd() { # HOST
  on "$1" wrk -t 1 -c 50 -d "${SECONDS_LONG}s" --timeout 5s "http://${AT[web]}/" >"$T/$1.stay" 2>&1 &
  PIDS="$PIDS $!"
  on "$1" wrk -t 1 -c 50 -d "${SECONDS_LONG}s" --timeout 5s -H 'Connection: close' \
    "http://${AT[web]}/health" >"$T/$1.anew" 2>&1 &
  PIDS="$PIDS $!"
}
all_said() { ! grep -L 'requests in' "$T"/agent*.stay "$T"/agent*.anew | grep -q .; }
requests() { sed -n 's/^ *\([0-9]*\) requests in .*/\1/p' "$1"; }

# NAME SECOND RSS-KB DESCRIPTORS, of every program, until the crowds are gone
watch_use() {
  local p pid began
  began=$(date +%s)
  while [ $(($(date +%s) - began)) -lt $((SECONDS_LONG - 1)) ]; do
    for p in relay connector $AGENTS; do
      pid=$(pid_of "$p")
      [ -n "$pid" ] || continue
      echo "$p $(($(date +%s) - began)) $(awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status") $(ls "/proc/$pid/fd" | wc -l)"
    done
    sleep 0.5
  done
}
# The second half, in its own halves: the later takes no more than the earlier,
# give or take 3 % and 256 KB, and 100 descriptors that come and go.
flat() { # PROGRAM
  awk -v p="$1" -v end="$SECONDS_LONG" '$1 == p && $2 >= end / 2 {
      k = $2 >= end * 3 / 4
      if ($3 > rss[k]) rss[k] = $3
      if ($4 > fds[k]) fds[k] = $4
    }
    END {
      printf "# %s: %d then %d KB, %d then %d descriptors\n", p, rss[0], rss[1], fds[0], fds[1]
      exit !(rss[0] && rss[1] <= rss[0] * 1.03 + 256 && fds[1] <= fds[0] + 100)
    }' "$T/use"
}
none_failed() {
  local a kind f bad=
  for a in $AGENTS; do
    for kind in stay anew; do
      f=$T/$a.$kind
      [ "$(requests "$f")" -gt 0 ] && ! grep -E 'Socket errors|Non-2xx' "$f" ||
        { cat "$f"; bad=1; }
    done
  done
  [ -z "$bad" ]
}
fair() { # stay|anew
  local a
  for a in $AGENTS; do echo "$a $(requests "$T/$a.$1")"; done | awk -v kind="$1" '
    { line = line " " $2; if (!n++ || $2 < min) min = $2; if ($2 > max) max = $2 }
    END { print "# " kind ":" line; exit !(min > 0 && min * 2 >= max) }'
}

net_up
servers_host conn
start_nginx 80 || { not_ok nginx; exit 1; }
tcp_up
more_agents
for a in $AGENTS; do crowd "$a"; done
watch_use >"$T/use"
wait_for 15 all_said

check no_request_failed none_failed
check agents_are_served_alike fair stay
check agents_are_served_alike_for_short_ones fair anew
if [ "$VIA" = tunnel ]; then
  for p in relay connector $AGENTS; do check "${p}_leaks_nothing" flat "$p"; done
fi
exit "${FAILED:-0}"
