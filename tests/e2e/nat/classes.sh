#!/bin/bash
# classes.sh [CLASS...] - every class of the laboratory's routers does to plain
# UDP sockets what its name says. All of them by default, some at a time.
cd "$(dirname "$0")/../../.." || exit 1
SHORT_NEW=1 SHORT_ANSWERED=2 # seconds; the class has longer ones
. tests/e2e/nat/lab.sh
A=192.0.2.2:3478 B=192.0.2.2:3479 C=192.0.2.3:3478
W=192.0.2.2:4433 X=192.0.2.2:443 Y=192.0.2.3:4433
A6=[2001:db8:1::2]:3478 B6=[2001:db8:1::2]:3479 C6=[2001:db8:1::3]:3478

# same WHAT GOT WANTED
same() {
  [ "$2" = "$3" ] && return
  echo "$1: $2, should be: $3"
  return 1
}
classified() {
  local got
  if is_v6_class "$1"; then set -- "$1" $A6 $B6 $C6; else set -- "$1" $A $B $C; fi
  got=$(on agent "$NAT_CHECK" classify "$2" "$3" "$4" | sed 's/.*=//' | tr '\n' ' ')
  same classify "${got% }" "$(class_words "$1")"
}
reaches() { # WANTED ADDR...
  local wanted=$1
  shift
  same "reach $*" "$(on agent "$NAT_CHECK" reach "$@")" "$wanted"
}

# When it should, and not before.
forgets() {
  same lifetime "$(on agent "$NAT_CHECK" lifetime $A 1000 2000)" \
    "lives lives gone gone "
}
maps_a_port() {
  same natpmp "$(on agent "$NAT_CHECK" natpmp $A $B $C 10.1.0.1)" portmap=yes
}
# meets ADDRESS yes|no: the other host by the address that it knows of itself
meets() {
  start peer conn "$NAT_CHECK" serve 0.0.0.0:3478
  reaches "$2" "$1:3478"
}

behaves() {
  lab_up "$1" public || return
  case $1 in
  udp-relay-only | udp-443) start server relay "$NAT_CHECK" serve $W $X $Y $A ;;
  v6-firewall)
    address relay eth0 2001:db8:1::3/64
    start server relay "$NAT_CHECK" serve $A6 $B6 $C6
    ;;
  *) start server relay "$NAT_CHECK" serve $A $B $C ;;
  esac
  case $1 in
  udp-relay-only) reaches "yes no yes no" $W $X $Y $A ;;
  udp-443) reaches "no yes no no" $W $X $Y $A ;;
  short-timeouts) forgets ;;
  upnp) classified "$1" && maps_a_port ;;
  same-lan) classified "$1" && meets 10.1.0.3 yes ;;
  hairpin | no-hairpin) classified "$1" && meets 10.2.0.2 no ;;
  *) classified "$1" ;;
  esac
}

lab_need xargs "$NAT_CHECK"
case $# in
1)
  can "$1" || skip_all "$1 needs miniupnpd"
  check "class_behaves_as_its_name: $1" behaves "$1"
  ;;
0) echo short-timeouts ${CLASSES/short-timeouts/} $SHARED | xargs -n 1 -P 12 tests/e2e/nat/classes.sh || FAILED=1 ;;
*) echo "$@" | xargs -n 1 -P 12 tests/e2e/nat/classes.sh || FAILED=1 ;;
esac
exit "${FAILED:-0}"
