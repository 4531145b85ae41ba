#!/bin/bash
# coturn.sh [CLASS...] - coturn's client and server (make check-long) find of each
# class of the laboratory what its name says: mapping and filtering, RFC 5780.
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
lab_need xargs turnserver turnutils_natdiscovery

# In coturn's words, which has none for no NAT.
coturn_word() {
  case $1 in
  none | endpoint-independent) echo "Endpoint Independent" ;;
  address-dependent) echo "Address Dependent" ;;
  *) echo "Address and Port Dependent" ;;
  esac
}
start_turn() {
  start turn relay turnserver -n -S -L 192.0.2.2 -L 192.0.2.3 -p 3478 \
    --alt-listening-port=3479 --no-cli --no-tls --no-dtls --no-tcp --log-file stdout \
    --pidfile "$T/turn.pid" --userdb "$T/turn.db"
  wait_for 5 turn_answers
}
turn_answers() { on relay timeout 1 turnutils_natdiscovery -m 192.0.2.2 2>&1 | grep -q reflexive; }
says() { # WORDS
  grep -q "NAT with $1!" "$T/found" && return
  echo "should be: $1"
  cat "$T/found"
  return 1
}
agrees() {
  local words
  lab_up "$1" public && start_turn || return
  on agent timeout 20 turnutils_natdiscovery -m -f -p 3478 192.0.2.2 >"$T/found" 2>&1
  words=$(class_words "$1")
  says "$(coturn_word ${words%% *}) Mapping" || return
  words=${words#* }
  says "$(coturn_word ${words%% *}) Filtering"
}

# Those that have IPv4 and let STUN pass.
all() {
  local c
  for c in $CLASSES $SHARED; do
    case $c in udp-* | v6-* | short-timeouts) ;; *) echo "$c" ;; esac
  done
}
case $# in
1)
  can "$1" || skip_all "$1 needs miniupnpd"
  check "coturn_agrees: $1" agrees "$1"
  ;;
*) ([ $# = 0 ] && all || echo "$@") | xargs -n 1 -P 8 tests/e2e/nat/coturn.sh || FAILED=1 ;;
esac
exit "${FAILED:-0}"
