# paths_lib.sh - echoes through a link while something happens to its paths: how
# long was nothing answered, and which of them are missing? For scripts that
# sourced lab.sh:
#
#   echoes_start MICROS          one every so often, until echoes_stop
#   uses KIND                    direct or relay, says the agent
#   happens NAME LIMIT-MS COMMAND...
#                                at a moment that is noted: answered again within
#                                the limit, and what was lost is said
LINK=${LINK:-${ZTNA%/*}/tests/tool_link}

# --- which path it is

link_of() { on agent "$LINK" 127.0.0.1:9090; }
# member NAME: of the agent's link, see tool_link.c
member() { link_of | sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p"; }
uses() { [ "$(member used)" = "$1" ]; }
has_paths() { [ "$(member well)" -ge "$1" ]; } 2>/dev/null
# 1 or 2: the relay in use
used_relay() { case $(member at) in 192.0.2.130:*) echo 2 ;; *) echo 1 ;; esac; }
metric() { # HOST NAME
  on "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090
    printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3' |
    tr -d '\r' | awk -v m="$2" '$1 == m { print $2 }'
}

# --- echoes

echoes_start() {
  start echoes agent sh -c "exec $TOOL stream 10.100.0.2:9999 $1 numbers >$T/echoes"
  wait_for 5 test -s "$T/echoes"
}
echoes_stop() { stop echoes; }
# answered MS: something that was sent then or later
answered() { tail -n 100 "$T/echoes" | awk -v t="$1" '$2 >= t { hit = 1 } END { exit !hit }'; }
settle() { wait_for 5 answered "$(now_ms)"; }
# tally FROM TO: echoes that were sent in between and are back, as
# "sent N lost N outage MS": the longest time without an answer
tally() {
  awk -v from="$1" -v to="$2" '
    $2 < from || $2 > to || NF < 3 { next }
    !n++ { first = last = $1; heard = from }
    $1 < first { first = $1 }
    $1 > last { last = $1 }
    $3 - heard > outage { outage = $3 - heard }
    $3 > heard { heard = $3 }
    END { all = n ? last - first + 1 : 0
      print "sent", all, "lost", all - n, "outage", n ? outage + 0 : to - from }' "$T/echoes"
}
# lost_nothing FROM TO
lost_nothing() {
  local sum
  sum=$(tally "$1" "$2")
  echo "# $sum ms"
  case $sum in "sent 0 "*) return 1 ;; *" lost 0 "*) ;; *) return 1 ;; esac
}

# happens NAME LIMIT-MS COMMAND...: answered within that time after EVENT, the
# command's begin unless it says another, and still half a second later
happens() {
  local name=$1 limit=$2 sum
  shift 2
  settle || { echo "nothing is answered before: $name"; return 1; }
  EVENT=$(now_ms)
  "$@" || { echo "$name: $* failed"; return 1; }
  wait_for 10 answered $((EVENT + 500))
  sum=$(tally $((EVENT - 20)) "$(now_ms)")
  echo "# $name: $sum ms"
  [ "${sum##* }" -le "$limit" ] && return
  link_of
  return 1
}
