# evil_lib.sh - what the scripts threats_*.sh share, behind lib.sh: what hostile
# peers (tool_evil) said of their attempts, and counters of the real programs.
EVIL=${EVIL:-${ZTNA%/*}/tests/tool_evil}
[ -x "$EVIL" ] || skip_all "no $EVIL"

page() { # HOST PATH
  on "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET '"$2"' HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3'
}
# metric HOST PATTERN: the sum of all that match, labels included
metric() {
  local p=${2//\{/[\{]}
  page "$1" /metrics | tr -d '\r' | awk -v p="^${p//\}/[\}]}\$" '$1 ~ p { n += $2 } END { print n + 0 }'
}
# before HOST PATTERN, and counted N: as many more since, or above
before() { COUNT_AT=$1 COUNT_OF=$2 COUNT_WAS=$(metric "$1" "$2"); }
counted() {
  local n=$(($(metric "$COUNT_AT" "$COUNT_OF") - COUNT_WAS))
  echo "$COUNT_OF: $n more"
  [ $n -ge "$1" ]
}
# outer_of agent|connector: where the relay sees it
outer_of() {
  ready relay | grep -oE "\"$1_address\": *\"[0-9.]+:[0-9]+\"" | head -1 | grep -oE '[0-9.]+:[0-9]+'
}
# tunnel_of HOST: an agent's own address
tunnel_of() { ready "$1" | grep -oE '"100\.64\.[0-9]+\.[0-9]+"' | head -1 | tr -d '"'; }
# as OUTPUT, and line PATTERN: one of its lines matches
as() { SAID=$1; }
line() { grep -qE -- "$1" <<<"$SAID" || { echo "$SAID"; return 1; }; }
said() { grep -qE -- "$2" "$T/$1.log"; }

# The ping that was started meanwhile lost nothing, no path ended, no assertion.
undisturbed() {
  stop ping INT
  check nobody_else_was_disturbed ping_lost_nothing
}
ping_lost_nothing() {
  ! grep -E 'relay lost|path ended|made anew|route closed' "$T/agent.log" || return 1
  grep -oE 'icmp_seq=[0-9]+' "$T/ping.log" | cut -d= -f2 | sort -n |
    awk '{ while (++n < $1) lost++ } END { print n, "answers,", lost + 0, "lost"; exit lost || n < 50 }'
}
