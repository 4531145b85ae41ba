#!/bin/bash
# tcp_survive.sh (make check-long) - the relay is killed and started again, and
# the person's line is dead for 20 s, in the middle of transfers and of an ssh
# session at which somebody types: all go on, and nothing is missing.
#   EVENTS="relay line" BYTES=3000000000 tests/e2e/tcp_survive.sh
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/tcp_lib.sh
need ip nft
PATH=$PATH:/usr/sbin command -v dropbear >/dev/null || skip_all "needs dropbear (Debian package dropbear-bin)"
BYTES=${BYTES:-3000000000}
EVENTS=${EVENTS:-relay line}
[ "$VIA" = tunnel ] || EVENTS=line
wants() { case " $EVENTS " in *" $1 "*) ;; *) return 1 ;; esac; }

# A line typed every 100 ms, until $T/enough is there; the far side answers each.
type_lines() {
  local i=0
  while [ ! -e "$T/enough" ]; do
    i=$((i + 1))
    echo "$i"
    sleep 0.1
  done
  echo end
}
session() {
  type_lines | on agent bash -c "$(declare -f ssh_client); T=$T
    ssh_client ${AT[ssh]} 22 'while read l; do echo got \$l; [ \$l != end ] || exit 0; done; exit 9'" >"$T/session"
}
answers() { sed -n 's/^got \([0-9]*\)\r*$/\1/p' "$T/session"; }
answered_since() { [ "$(answers | tail -n 1)" -gt "$1" ]; }
session_goes_on() { # a line typed from now on is answered
  local now
  now=$(answers | tail -n 1)
  wait_for 5 answered_since $((${now:-0} + 5))
}
session_is_whole() { # every line, once, in order, and the end
  answers | awk '$1 != ++n { print "line " $1 " where " n " was due"; exit 1 }
    END { print "# " n " lines"; exit n < 50 }' && grep -q 'got end' "$T/session"
}

# transfers NAME LONGEST-STALL-MS COMMAND...: one down and one up, and the
# command in the middle of both
transfers() {
  local name=$1 stall=$2 way
  shift 2
  for way in get put; do
    moves $way "$BYTES" "$stall" >"$T/$name.$way" 2>&1 &
    eval "job_$way=$!"
  done
  sleep 0.7
  for way in get put; do
    eval "kill -0 \$job_$way" 2>/dev/null || not_ok "${name}_in_the_middle_of_$way" "it was over before"
  done
  "$@"
  for way in get put; do
    eval "wait \$job_$way"
    if [ $? = 0 ]; then
      cat "$T/$name.$way"
      ok "${name}_$way"
    else
      not_ok "${name}_$way" "$(cat "$T/$name.$way")"
    fi
  done
  check "${name}_session_goes_on" session_goes_on
}

relay_dies() { # SECONDS
  stop relay KILL
  sleep "$1"
  start_relay
}
line_dies() { # SECONDS
  lose 100
  sleep "$1"
  no_loss
}

net_up
servers_host conn
start_ssh 22 || { not_ok dropbear "$(cat "$T/ssh.log")"; exit 1; }
tcp_up
session &
SESSION=$!
PIDS="$PIDS $SESSION"
wait_for 5 answered_since 3 || not_ok session "nothing is answered: $(cat "$T/session" "$T/dbclient.log")"

if wants relay; then
  transfers relay_restarts_at_once 5000 relay_dies 0.3
  transfers relay_restarts_after_4_s 9000 relay_dies 4
fi
# The kernel's own TCP, without a tunnel, tries again ever more rarely.
! wants line ||
  transfers line_dead_for_20_s $([ "$VIA" = raw ] && echo 60000 || echo 26000) line_dies 20
touch "$T/enough"
wait_for 10 grep -q 'got end' "$T/session"
check session_is_whole session_is_whole
exit "${FAILED:-0}"
