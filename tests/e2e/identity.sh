#!/bin/bash
# identity.sh - the files of an identity while programs run: what runs out is told
# in time, what does not fit changes nothing, what fits is taken over under
# traffic, two CAs follow each other, lists of revoked certificates end what they
# name.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ping openssl
. tests/e2e/identity_lib.sh

world -$((300 * DAY)) $((6 * DAY + 60))

# --- what runs out

warned() {
  logged "$1" "$1: the own certificate ends in 6 days, at 20.*Z: replace identity.cert" &&
    [ "$(n_logged "$1" 'ends in')" = 1 ] &&
    status_has "$1" '"certificates":{"ok":true,' && status_has "$1" '"warning":"the own certificate ends in 6 days' &&
    words "$1" | grep -q '^WARNING: the own certificate ends in 6 days' &&
    [ $(($(value "$1" certificate_expires_seconds) - $(date +%s) - 6 * DAY)) -le 60 ] &&
    [ $(($(value "$1" ca_expires_seconds) - $(date +%s))) -gt $((3600 * DAY)) ] &&
    [ $(($(value "$1" crl_expires_seconds) - $(date +%s))) -gt $((DAY - 60)) ]
}
check a_certificate_that_ends_soon_is_told_by_all roles warned

config_warns() {
  "$ZTNA" check-config "$T/agent-a1.json" >"$T/said" 2>&1 || { cat "$T/said"; return 1; }
  grep -q "agent-a1.json: identity: warning: the own certificate ends in 6 days" "$T/said"
}
config_judges_lists() {
  printf '0\003\002\001\000' >"$T/bad.pem"
  sed 's/crl-agent.pem/bad.pem/' "$T/agent-a1.json" >"$T/bad.json"
  "$ZTNA" check-config "$T/bad.json" >"$T/said" 2>&1
  [ $? = 3 ] && grep -q 'bad.json: identity: crl: ' "$T/said" || { cat "$T/said"; return 1; }
}
check check_config_tells_it_too config_warns
check check_config_judges_lists config_judges_lists

# --- what does not fit

refuses() { # ROLE WORDS FAILURES-BEFORE
  wait_for 3 is "$1" identity_ok 0 && is "$1" identity_reload_failures_total $(($3 + 1)) &&
    status_has "$1" "\"error\":\"$2" && words "$1" | grep -q "^ERROR: identity: $2" &&
    logged "$1" "$1: identity not taken over, the former stays in force: $2" ||
    { echo "$1"; status "$1" | grep -o '"certificates".*'; return 1; }
}
# broken FILE WORDS ROLE...: that file is damaged: they say so, nothing changes
broken() {
  local name=$1 words=$2 r n
  shift 2
  cp "$T/$name" "$T/keep"
  n=$(value "$1" identity_reload_failures_total)
  head -c 200 "$T/keep" >"$T/broken" && mv "$T/broken" "$T/$name"
  for r; do refuses "$r" "$words" "$n" || return; done
  pings || return
  mv "$T/keep" "$T/$name"
  for r; do wait_for 3 is "$r" identity_ok 1 && is "$r" identity_reloads_total 0 || return; done
}
check a_damaged_certificate_changes_nothing broken relay-r1.pem 'cert: holds ' relay
check a_damaged_ca_changes_nothing broken ca.pem 'ca: holds ' connector agent
check a_damaged_list_changes_nothing broken crl-agent.pem 'crl: ' agent

# --- what fits is taken over, under traffic

exchanged() { # ROLE
  fresh "$1" -300 $((365 * DAY)) && taken "$1" 1 && ! status "$1" | grep -q '"warning"'
}
start_load 5
sleep 0.3
check another_certificate_of_the_agent exchanged agent
sleep 0.3
check another_certificate_of_the_connector exchanged connector
sleep 0.3
check another_certificate_of_the_relay exchanged relay
check that_loses_nothing load_ended 0
exit "${FAILED:-0}"
