#!/bin/sh
# tun.sh - what a person sees of the TUN: a killed program leaves nothing, a
# name in use and missing privileges are said clearly.
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
tool=$BUILD/tests/test_tun
failed=0

skip_all() {
  for t in $tests; do echo "skip $t $1"; done
  exit 0
}

check() { # NAME CONDITION...
  name=$1
  shift
  if "$@"; then
    echo "ok $name"
  else
    echo "not ok $name"
    failed=1
  fi
}

tests="tun_has_addresses_and_routes name_in_use_is_said killed_program_leaves_nothing restart_after_kill_works missing_privileges_are_said"
test -x "$tool" || skip_all "no $tool"
command -v ip >/dev/null || skip_all "no ip command"
command -v unshare >/dev/null || skip_all "no unshare command"
if [ -z "$ZTNA_TUN_INSIDE" ]; then
  unshare -n true 2>/dev/null || skip_all "no permission for a network namespace"
  test -c /dev/net/tun || skip_all "no /dev/net/tun"
  ZTNA_TUN_INSIDE=1 exec unshare -n "$0"
fi

work=$(mktemp -d) || exit 1
pid=
trap 'test -z "$pid" || kill -9 "$pid" 2>/dev/null; rm -rf "$work"' EXIT

wait_for() { # TEXT FILE
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    grep -q "$1" "$2" && return 0
    sleep 0.1
  done
  return 1
}

hold() {
  "$tool" hold zt0 >"$work/out" 2>"$work/err" &
  pid=$!
  wait_for up "$work/out"
}

is_configured() {
  ip -4 addr show zt0 | grep -q '100.64.0.9/32' &&
    ip link show zt0 | grep -q 'mtu 1280' &&
    ip -4 route show | grep -q '10.100.0.0/24 dev zt0 proto 217' &&
    ! ip link show zt0 | grep -q MULTICAST &&
    { test ! -d /proc/sys/net/ipv6/conf/zt0 ||
      ! ip -6 addr show zt0 | grep -q 'inet6 fe80'; }
}

is_gone() {
  ! ip link show zt0 2>/dev/null && ! ip route show | grep -q 'proto 217' &&
    ! ip -6 route show | grep -q 'proto 217' &&
    ! ip addr | grep -q -e 100.64.0.9 -e fd5a:64::9
}

says() { # TEXT COMMAND...
  text=$1
  shift
  ! "$@" >/dev/null 2>"$work/said" && grep -q "$text" "$work/said"
}

unprivileged() {
  setpriv --bounding-set -all --inh-caps -all --no-new-privs "$@"
}

hold
check tun_has_addresses_and_routes is_configured
check name_in_use_is_said says 'zt0 is in use by a running program' "$tool" hold zt0
kill -9 "$pid"
wait "$pid" 2>/dev/null
check killed_program_leaves_nothing is_gone
check restart_after_kill_works hold
if command -v setpriv >/dev/null && unprivileged true 2>/dev/null; then
  check missing_privileges_are_said says CAP_NET_ADMIN unprivileged "$tool" hold zt1
else
  echo "skip missing_privileges_are_said no setpriv command"
fi
exit $failed
