#!/bin/bash
# matrix.sh - pairs of NAT classes (make check-long), with the real programs:
# how long from a working relayed link to echoes both ways on a direct path?
#
#   matrix.sh [--pairs A:B,same-lan,...] [--all] [--runs N] [--jobs N]
#             [--json FILE] [--logs DIR]
#
# --all: every pair once, both ends in turn; without, those below. --jobs: pairs
# at a time (1: whoever shares two cores with others measures them, too). --logs
# keeps what the programs said in runs that were not direct. Agent, connector
# and all mappings are new in each run. Packets are counted in the middle: a link
# that says direct and is not is found out. LIMIT=MS: patience; RELAYS=2: for each
# end; LEVEL=debug: of the logs.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
DIRECT=${DIRECT:-${ZTNA%/*}/tests/tool_direct}
PAIRS="public:public full-cone:full-cone-np addr-restricted:addr-restricted-np
  port-restricted:port-restricted port-restricted-np:port-restricted-np
  firewall:firewall public:firewall firewall:port-restricted
  full-cone:port-restricted addr-restricted:port-restricted-np
  short-timeouts:port-restricted input-accept:port-restricted
  input-accept:input-accept public:input-accept sym-seq:public
  sym-seq:port-restricted sym-seq:sym-seq input-accept:sym-seq
  sym-random:public sym-random:addr-restricted sym-random:port-restricted
  port-restricted-np:sym-random sym-random:sym-random cgn:port-restricted
  cgn-pr:port-restricted cgn:cgn cgn-pr:sym-seq upnp:sym-random sym-random:upnp
  udp-relay-only:public udp-443:port-restricted v6-firewall:v6-firewall
  v6-firewall:public same-lan hairpin no-hairpin"

usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2; }
every_pair() {
  local a b rest=$CLASSES n=0
  for a in $CLASSES; do
    for b in $rest; do
      n=$((n + 1))
      [ $((n % 2)) = 0 ] && echo "$a:$b" || echo "$b:$a"
    done
    rest=${rest#*"$a"}
  done
  echo "$SHARED"
}

# --- one pair, in a process of its own

expects_direct() { # CLASS-A CLASS-B
  awk "$(cat tests/e2e/nat/expect.awk)
    BEGIN { expect(\"$1\", \"$2\"); exit want != \"direct\" }"
}
# is_proved RESULT OUT BACK RELAYED OUT BACK RELAYED: of 40 echoes, most went
# where it says
is_proved() {
  local out=$(($5 - $2)) back=$(($6 - $3)) relayed=$(($7 - $4))
  case $1 in
  direct) [ $out -ge 20 ] && [ $back -ge 20 ] && [ $relayed -lt 20 ] ;;
  *) [ $relayed -ge 40 ] ;;
  esac
}
# measure LIMIT [settle]: prints what the tool found
measure() {
  local said line= before after proved=no
  coproc tool { on agent "$DIRECT" 10.100.0.2:9999 127.0.0.1:9090 "$@" 2>&1; }
  exec 3<&"${tool[0]}" 4>&"${tool[1]}"
  read -r said <&3
  before=$(counted)
  echo >&4
  read -r line <&3
  after=$(counted)
  exec 3<&- 4>&-
  is_proved "$said" $before $after && proved=yes
  echo "${line:-result=none settled_ms=-1} proved=$proved"
}
keep_logs() { # RUN
  mkdir -p "$LOGS/$PAIR.$1"
  cp "$T"/*.log "$LOGS/$PAIR.$1"
  ready agent >"$LOGS/$PAIR.$1/agent.json" 2>/dev/null
  ready conn >"$LOGS/$PAIR.$1/connector.json" 2>/dev/null
}
runs_of_pair() { # A:B or a shared class
  local i how line up=lab_programs
  PAIR=$1 how="${LIMIT:-12000}"
  can ${1/:/ } || return 0
  expects_direct "${1%:*}" "${1#*:}" || how="${LIMIT:-10000} settle"
  lab_pki && lab_up "${1%:*}" "${1#*:}" "$RELAYS" || return
  for i in $(seq "$RUNS"); do
    if $up; then line=$(measure $how); else line="result=none settled_ms=-1"; fi
    echo "pair=$PAIR run=$i $line"
    case $line in *result=direct*proved=yes*) ;; *) [ -z "$LOGS" ] || keep_logs "$i" ;; esac
    pair_stop
    : >"$T/agent.log" >"$T/connector.log"
    up=pair_start
  done
}

# --- all of them

[ "${1:-}" != --help ] || usage
lab_need awk xargs "$DIRECT"
RUNS=${RUNS:-3} RELAYS=${RELAYS:-1} JOBS=1 JSON= LOGS=${LOGS:-}
while [ $# -gt 0 ]; do
  case $1 in
  --pairs) PAIRS=${2//,/ } && shift ;;
  --all) PAIRS=$(every_pair) ;;
  --runs) RUNS=$2 && shift ;;
  --jobs) JOBS=$2 && shift ;;
  --json) JSON=$2 && shift ;;
  --logs) LOGS=$2 && shift ;;
  --one) runs_of_pair "$2" && exit || exit 1 ;;
  *) usage ;;
  esac
  shift
done
lab_pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
export RUNS RELAYS LOGS LAB_PKI=$T
echo $PAIRS | xargs -n 1 -P "$JOBS" tests/e2e/nat/matrix.sh --one >"$T/runs" || FAILED=1
[ -z "$VERBOSE" ] || cat "$T/runs"
# In the order asked for, whoever was first.
in_order() {
  local p
  for p in $PAIRS; do
    if ! can ${p/:/ }; then
      echo "skip $p needs miniupnpd" >&2
    elif ! grep "^pair=$p " "$T/runs"; then
      echo "pair=$p result=none settled_ms=-1"
    fi
  done
}
in_order | awk -v json="$JSON" -f tests/e2e/nat/expect.awk -f tests/e2e/nat/matrix.awk ||
  FAILED=1
exit "${FAILED:-0}"
