#!/bin/bash
# paths_long.sh (make check-long) - minutes of mishaps from a seed: cut paths,
# routers that forget, relays that die, new addresses; under echoes and TCP. No
# flow is lost, and echoes are missed for a second at most. Moves between paths
# are judged in sum, two per mishap: a late return is counted with the next one;
# mishaps with more than two are shown.
#   MINUTES=10 SEED=1 VERBOSE=1 tests/e2e/nat/paths_long.sh
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/paths_lib.sh
TCP=${TCP:-${ZTNA%/*}/tests/tool_tcp}
lab_need tc "$LINK" "$TCP"
MINUTES=${MINUTES:-10}
SEED=${SEED:-$(($(date +%s) % 100000))}
LIMIT=${LIMIT:-1000} # ms
RANDOM=$SEED
FOR=$((MINUTES * 60))

connector_json() { # RELAY
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["$1"], "services": [
  {"id": "echo", "backends": [{"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
   {"protocol": "tcp", "port": 7, "to": "127.0.0.1:7"},
   {"protocol": "tcp", "port": 71, "to": "127.0.0.1:71"}]}]}}
END
}
up() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/a*"], "services": ["echo"], "protocols": ["tcp", "udp", "icmp"]}]}
END
  lab_pki && lab_up port-restricted-np firewall 2 || return
  start tool conn "$TCP" serve 7=echo 71=source
  lab_programs || return
  on nat-agent tc qdisc add dev lan root tbf rate 20mbit burst 256k latency 50ms
}

# --- what happens

# No subshell: it would have a seed of its own.
pause() { sleep "$(($1 + RANDOM % ($2 - $1))).$((RANDOM % 10))"; } # FROM TO
relay_for_a_while() { # 1|2
  kill_relay "$1"
  pause 0 5
  if [ "$1" = 1 ]; then start_relay; else start_relay2; fi
}
cut_for_a_while() {
  cut_direct
  pause 0 5
  heal_direct
}
# Its network has room for so many moves.
declare -A MOVED=([agent]=0 [conn]=0)
moves_on() { # SIDE
  MOVED[$1]=$((MOVED[$1] + 1))
  if [ "${MOVED[$1]}" -le 11 ]; then
    new_address "$1"
  else
    unplug "$1"
    plug "$1"
  fi
}
mishap() { # NUMBER
  case $1 in
  0 | 1) WHAT="cut" && cut_for_a_while ;;
  2) WHAT="agent's router" && flush_nat agent ;;
  3) WHAT="connector's router" && flush_nat conn ;;
  4 | 5) WHAT="relay $(($1 - 3))" && relay_for_a_while $(($1 - 3)) ;;
  6) WHAT="agent's address" && moves_on agent ;;
  7) WHAT="connector's address" && moves_on conn ;;
  esac
}
# A line per mishap: when, moves of paths, outage, lost echoes, what.
one_after_another() {
  local began end from moves sum
  began=$(now_ms) end=$(($(now_ms) + FOR * 1000))
  wait_for 10 uses direct
  while [ "$(now_ms)" -lt $end ]; do
    from=$(now_ms) moves=$(member moves)
    mishap $((RANDOM % 8))
    pause 3 10
    settle
    sum=$(tally $((from - 20)) "$(now_ms)")
    set -- $sum
    echo "$((from - began)) $(($(member moves) - moves)) $6 $4 $WHAT ($(member used))" >>"$T/mishaps"
  done
}

# --- who is there meanwhile

FLOWS="keys1 keys2 keys3 get1 get2"
start_flows() {
  local f
  for f in $FLOWS; do
    case $f in
    keys*) start $f agent "$TCP" rr 10.100.0.2:7 "seconds=$((FOR + 10))" gap_ms=50 ;;
    get*) start $f agent "$TCP" get 10.100.0.2:71 "bytes=$((FOR * 1000000))" "seed=${f#get}" ;;
    esac
  done
}
ended_well() { # NAME
  local code
  wait "$(pid_of "$1")"
  code=$?
  sed "s/^/# $1: /" "$T/$1.log"
  return $code
}
# of the third field, sorted, and who was above the limit
nobody_waited_long() {
  sort -n -k 3 "$T/mishaps" | awk -v limit="$LIMIT" '
    { v[NR] = $3; lost += $4; if ($3 > limit) bad = bad "# " $0 "\n" }
    function share(q, i) { i = int(q * NR); return v[i < q * NR ? i + 1 : i ? i : 1] }
    END { printf "# %d mishaps: without an answer p50 %d p95 %d max %d ms, %d echoes lost\n%s",
      NR, share(0.5), share(0.95), v[NR], lost, bad; exit bad != "" || !NR }'
}
moves_are_few() {
  awk '{ moves += $2 } $2 > 2 { print "# " $0 }
    END { print "# " moves " moves of paths in " NR " mishaps"; exit moves > 2 * NR }' "$T/mishaps"
}

echo "# SEED=$SEED MINUTES=$MINUTES"
up || { not_ok link "$(cat "$T/cert.out")"; exit 1; }
start_flows
echoes_start 10000
one_after_another
[ -z "$VERBOSE" ] || sed 's/^/# /' "$T/mishaps"
check echoes_are_answered_again_within_a_second nobody_waited_long
check two_moves_per_mishap_on_average_at_most moves_are_few
for f in $FLOWS; do check "flow_${f}_is_whole" ended_well $f; done
exit "${FAILED:-0}"
