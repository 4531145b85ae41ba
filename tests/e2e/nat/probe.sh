#!/bin/bash
# probe.sh [CLASS...] (make check-long) - behind routers of every class `ztna probe`
# says what the class is, asking a relay, and asking coturn's server without a certificate. All
# of them by default, some at a time.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh

# What peers may expect of a class.
kind_of() {
  case $1 in
  public | full-cone* | hairpin | no-hairpin | upnp) echo open ;;
  addr-restricted*) echo restricted ;;
  sym-seq) echo symmetric-sequential ;;
  sym-random) echo symmetric-random ;;
  udp-*) echo udp-blocked ;;
  *) echo port-restricted ;;
  esac
}
# kind, mapping, filtering, allocation, and what --hairpin finds behind IPv4 NATs
expected() {
  local words
  case $1 in
  udp-*) kind_of "$1" && return ;;
  short-timeouts) words=$(class_words port-restricted) ;;
  *) words=$(class_words "$1") ;;
  esac
  words=${words//address-port-dependent/address-and-port-dependent}
  set -- "$1" $words
  case $1 in
  public) echo open none none preserving unknown ;;
  firewall) echo "$(kind_of "$1") $2 $3 $4 unknown" ;;
  v6-firewall) echo "$(kind_of "$1") $2 $3 $4" ;;
  *) echo "$(kind_of "$1") $2 $3 $4 $7" ;;
  esac
}

# --- what was said

fact() { sed -n "s/^$1: *\([^ ]*\).*/\1/p" "$T/probe.out"; }
# facts CLASS NAME...
facts() {
  local family=ipv4 n
  is_v6_class "$1" && family=ipv6
  shift
  for n in "$@"; do fact $family.$n; done | tr '\n' ' ' | sed 's/ $//'
}
same() { # WHAT GOT WANTED
  [ "$2" = "$3" ] && return
  echo "$1: $2, should be: $3"
  cat "$T/probe.out"
  return 1
}
probe() { on agent "$ZTNA" probe "$@" >"$T/probe.out" 2>"$T/probe.err"; }

by_relay() {
  local names="class mapping filtering allocation hairpin" code=0 want=0
  is_confined "$1" && names=class want=1
  probe --config "$T/agent-a1.json" --hairpin || code=$?
  same "$1" "$(facts "$1" $names) exit $code" "$(expected "$1") exit $want"
}
is_confined() { case $1 in udp-*) ;; *) false ;; esac }

start_turn() {
  start turn relay turnserver -n -S -L 192.0.2.2 -L 192.0.2.3 -p 3478 \
    --alt-listening-port=3479 --no-cli --no-tls --no-dtls --no-tcp --log-file stdout \
    --pidfile "$T/turn.pid" --userdb "$T/turn.db"
}
by_plain_server() {
  start_turn
  wait_for 5 probe --stun 192.0.2.2:3478
  probe --stun 192.0.2.2:3478
  same "$1" "$(facts "$1" class mapping filtering allocation)" \
    "$(expected "$1" | cut -d' ' -f1-4)"
}

# What a rehearsal with a peer in the open comes to.
rehearses() { # CLASS
  local want=direct code=0
  is_confined "$1" && want=relayed
  start_backend
  start_connector
  wait_for 5 is_ready conn || return
  probe --config "$T/agent-a1.json" --peer echo || code=$?
  same "$1" "$(fact peer.result) exit $code" "$want exit $([ $want = direct ]; echo $?)" &&
    grep -Eq '^peer.relayed_echo_ms: +[0-9.]+$' "$T/probe.out" &&
    { [ $want = relayed ] || grep -Eq '^peer.direct_echo_ms: +[0-9.]+$' "$T/probe.out"; } &&
    same "no such service" "$(probe --config "$T/agent-a1.json" --peer nothere; echo $?)" 1 &&
    grep -q '^peer.result: *not reached (no service of this name' "$T/probe.out"
}

# The nearest router names an outer address that is not the one servers see.
shows_the_carrier() {
  probe --config "$T/agent-a1.json"
  same "without a word of the router" "$(fact ipv4.carrier_grade_nat)" unknown || return
  upnp_rules | on nat-agent nft -f -
  { upnp_conf 10.0.0.0/8 && echo ext_ip=11.9.9.9; } >"$T/upnp.conf"
  start upnp nat-agent miniupnpd -d -f "$T/upnp.conf" -P "$T/upnp.pid"
  wait_for 5 eval 'probe --config "$T/agent-a1.json"; [ "$(fact ipv4.port_mapping)" != unknown ]'
  same "$1" "$(fact ipv4.carrier_grade_nat) $(fact ipv4.class)" "yes port-restricted"
}

one() {
  lab_up "$1" public && lab_pki && lab_json && start_relay &&
    wait_for 5 is_ready relay || { not_ok "lab_is_up: $1"; return; }
  check "a_relay_shows_the_class: $1" by_relay "$1"
  case $1 in
  port-restricted | udp-relay-only)
    check "a_rehearsal_shows_what_comes_of_it: $1" rehearses "$1" ;;
  cgn)
    if command -v miniupnpd >/dev/null; then
      check "a_carriers_nat_shows_by_the_routers_address" shows_the_carrier "$1"
    else
      echo "skip a_carriers_nat_shows_by_the_routers_address needs miniupnpd"
    fi
    ;;
  esac
  if is_confined "$1" || is_v6_class "$1"; then return; fi
  if command -v turnserver >/dev/null; then
    check "a_plain_server_shows_the_class: $1" by_plain_server "$1"
  else
    echo "skip a_plain_server_shows_the_class: $1 needs turnserver"
  fi
}

lab_need xargs
case $# in
1) one "$1" ;;
*) ([ $# = 0 ] && echo "$CLASSES $SHARED" || echo "$@") |
  xargs -n 1 -P 6 tests/e2e/nat/probe.sh || FAILED=1 ;;
esac
exit "${FAILED:-0}"
