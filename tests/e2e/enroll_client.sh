#!/bin/bash
# enroll_client.sh - machines get their certificates by tokens, run with them,
# and have them renewed while people use them; tokens that are of no use, and
# services that are others than the token's, are refused in words.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/enroll_lib.sh
need ip ping setpriv
# code CODE WORDS COMMAND...: ends so, and says that
code() {
  local want=$1 words=$2 got
  shift 2
  "$@" >"$T/said" 2>&1
  got=$?
  cat "$T/said"
  [ $got = "$want" ] || { echo "exit code $got, not $want"; return 1; }
  grep -qF -- "$words" "$T/said"
}
# --- from tokens to a tunnel

relay_enrols() {
  token relay --role relay --name r1 --ip 192.168.1.2 --ip 192.168.2.2 &&
    enroll relay "$T/relay.token" "$T/r" >"$T/enrolled" &&
    mode "$T/r/relay-r1.key" 600 && grep -q 'ztna enroll --renew' "$T/enrolled"
}
agent_enrols_and_has_a_configuration() {
  token agent --role agent --name a1 --lifetime "$LIFE" &&
    enroll agent "$T/agent.token" "$T/a" --relay 192.168.1.2:4433 >"$T/enrolled" &&
    mode "$T/a/agent-a1.key" 600 && mode "$T/a/agent-a1.pem" 644 && mode "$T/a/ca.pem" 644 &&
    cmp "$T/a/ca.pem" "$T/ca/ca.pem" && [ "$(ls "$T/a" | wc -l)" = 4 ] &&
    grep -q "Next: sudo ztna agent --config $T/a/agent.json" "$T/enrolled" &&
    grep -q "\"enroll\": \"$CA:4435\"" "$T/a/agent.json" &&
    "$ZTNA" check-config "$T/a/agent.json"
}
connector_enrols_by_stdin() {
  token conn --role connector --name c1 --service echo --service dns --lifetime "$LIFE" &&
    on conn "$ZTNA" enroll --token - --dir "$T/c" <"$T/conn.token" >"$T/enrolled" &&
    grep -q '"id": "echo"' "$T/enrolled" && mode "$T/c/connector-c1.key" 600
}
what_was_enrolled_runs() {
  configurations
  start_backend
  start_relay
  start_connector
  wait_for 5 is_ready conn || return
  start agent agent "$ZTNA" agent --config "$T/a/agent.json"
  wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 &&
    on agent ping -q -c 3 -i 0.1 -W 2 10.100.0.2
}

# --- no

a_used_token_is_refused() {
  code 5 used enroll agent "$T/agent.token" "$T/again" && [ -z "$(ls "$T/again")" ]
}
an_expired_token_is_refused() {
  sleep 1.1 # it is good for a second
  code 5 expired enroll agent "$T/late.token" "$T/late" && [ -z "$(ls "$T/late")" ]
}
an_invented_token_is_refused() {
  sed "s/^zt1_..../zt1_AAAA/" "$T/agent.token" >"$T/odd.token"
  code 5 unknown on agent "$ZTNA" enroll --token "$(cat "$T/odd.token")" --dir "$T/odd" &&
    [ -z "$(ls "$T/odd")" ]
}
half_a_token_is_wrong_usage() {
  cut -c1-40 "$T/agent.token" >"$T/half.token"
  code 2 'no whole token' enroll agent "$T/half.token" "$T/half" &&
    code 2 'token is missing' on agent "$ZTNA" enroll --dir "$T/half" &&
    code 2 'no whole token' on agent env ZTNA_TOKEN=zt1_half "$ZTNA" enroll --dir "$T/half" &&
    [ ! -e "$T/half" ]
}
# The same token, led to somebody in between.
another_ca_sees_no_token() {
  token mid --role agent --name mid &&
    sed -i 's/@.*/@192.168.9.9:4436/' "$T/mid.token" &&
    code 5 'does not show the CA that the token names' enroll agent "$T/mid.token" "$T/mid" &&
    ! grep -q 'POST' "$T/other.log" &&
    sed -i 's/4436/4435/' "$T/mid.token" && enroll agent "$T/mid.token" "$T/mid"
}
nobody_there_is_told_in_seconds() {
  local began
  began=$(now_ms)
  sed 's/@.*/@192.168.9.9:4437/' "$T/agent.token" >"$T/gone.token"
  code 4 'does a firewall block UDP?' enroll agent "$T/gone.token" "$T/gone" &&
    [ $(($(now_ms) - began)) -lt 5000 ] && [ -z "$(ls "$T/gone")" ]
}
another_cas_file_stays() {
  mkdir "$T/has" && cp "$T/other/ca.pem" "$T/has/" && token has --role agent --name has &&
    code 1 "another CA's than the token's" enroll agent "$T/has.token" "$T/has" &&
    cmp "$T/other/ca.pem" "$T/has/ca.pem"
}
# ... and the token holds, with the key that was made for it.
another_identitys_certificate_stays() {
  rm "$T/has/ca.pem" && cp "$T/a/agent-a1.pem" "$T/a1.was" && cp "$T/a1.was" "$T/has/agent-has.pem" &&
    code 1 'is not overwritten' enroll agent "$T/has.token" "$T/has" &&
    cmp "$T/a1.was" "$T/has/agent-has.pem" && [ ! -e "$T/has/agent-has.key" ] &&
    rm "$T/has/agent-has.pem" && enroll agent "$T/has.token" "$T/has" &&
    [ "$(ls "$T/has" | tr '\n' ' ')" = "agent-has.key agent-has.pem ca.pem " ]
}
# One whole line of it, wherever the service writes.
the_service_never_saw_the_key() {
  local line
  line=$(sed -n 2p "$T/a/agent-a1.key")
  [ ${#line} -ge 60 ] && ! grep -rqF "$line" "$T/ca" "$T/ca-state" "$T/ca.log" &&
    [ "$(grep -rlF "$line" "$T" | wc -l)" = 1 ]
}

# --- renewal

both_are_renewed() {
  wait_for $((LIFE_S + 2)) renewed agent "$T/a/agent-a1.pem" "$AGENT_WAS" &&
    wait_for 3 renewed conn "$T/c/connector-c1.pem" "$CONN_WAS" &&
    mode "$T/a/agent-a1.pem" 644 && [ ! -e "$T/a/agent-a1.pem.new" ] &&
    cmp "$T/a/agent-a1.key" "$T/key.before"
}
# Renewal reads it again: a whole line of it, in memory that was written.
no_key_in_memory() { # PROGRAM KEY
  local line range from to
  line=$(sed -n 2p "$2")
  while read -r range _; do
    from=$((0x${range%-*} / 4096)) to=$((0x${range#*-} / 4096))
    [ $((to - from)) -le 16384 ] || to=$((from + 16384))
    dd if="/proc/$(pid_of "$1")/mem" bs=4096 skip=$from count=$((to - from)) 2>/dev/null
  done < <(grep ' rw-p ' "/proc/$(pid_of "$1")/maps") >"$T/memory"
  [ "$(stat -c %s "$T/memory")" -gt 1000000 ] && [ ${#line} -ge 60 ] &&
    ! grep -qaF "$line" "$T/memory"
}
# ... but for the moments of an attempt
the_key_is_in_no_memory() {
  wait_for 3 no_key_in_memory agent "$T/a/agent-a1.key" &&
    wait_for 3 no_key_in_memory connector "$T/c/connector-c1.key"
}
# Until the first certificates, of agent and connector, are of no use any more.
# Four are what a busy machine may cost; see renewal.sh for longer lives.
pings_went_on() {
  wait_for $LIFE_S first_ones_ended && pings_lost 4 60
}
first_ones_ended() { [ "$(date +%s)" -gt $((ENROLLED_AT + LIFE_S + 1)) ]; }
# Relays have it done by a timer of their machine.
a_relay_is_renewed_by_hand() {
  local was
  was=$(serial "$T/r/relay-r1.pem")
  sed "s#\"r/ca.pem\"#&, \"enroll\": \"$CA:4435\"#" "$T/relay.json" >"$T/renew.json" &&
    on relay "$ZTNA" enroll --renew "$T/renew.json" >"$T/said" && cat "$T/said" &&
    grep -q '^Renewed spiffe://example.org/relay/r1 until ' "$T/said" &&
    [ "$(serial "$T/r/relay-r1.pem")" != "$was" ] && mode "$T/r/relay-r1.key" 600 &&
    code 3 'identity.enroll is missing' on relay "$ZTNA" enroll --renew "$T/relay.json" &&
    code 2 'takes no --token' on relay "$ZTNA" enroll --renew "$T/renew.json" --token x
}
# Not root, and the directory is root's: it says so, and what would help.
who_may_not_write_says_so() {
  wait_for $((LIFE_S + 2)) grep -q 'renewal: failed' "$T/mute.log" &&
    grep 'renewal: failed' "$T/mute.log" | grep -q 'connector-c2.pem cannot be replaced: Permission denied; let the user that this runs as write' &&
    ! grep -q 'connector/c2 .*renews=' "$T/ca.log" &&
    on conn "$ZTNA" status --http 127.0.0.1:9091 | grep -q '^WARNING: the certificate is not renewed: .* cannot be replaced: Permission denied'
}
# as_nobody NAME CONNECTOR PORT: enrols, and runs as an ordinary user of group 12
as_nobody() {
  local name=$1 who=$2
  token "$name" --role connector --name "$who" --service other --lifetime "$LIFE" &&
    enroll conn "$T/$name.token" "$T/$name.d" >/dev/null && chmod 711 "$T" && chmod 755 "$T/$name.d" &&
    chown 65534:12 "$T/$name.d"/*.key "$T/$name.d/connector-$who.pem" &&
    chmod 640 "$T/$name.d/connector-$who.pem" || return
  cat >"$T/$name.json" <<END
{"identity": {"cert": "$name.d/connector-$who.pem", "key": "$name.d/connector-$who.key", "ca": "$name.d/ca.pem", "enroll": "$CA:4435"},
 "http": {"listen": "127.0.0.1:$3"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [{"id": "other", "backend": "127.0.0.1:9999", "protocol": "udp"}]}}
END
  chmod 644 "$T/$name.json"
  start "$name" conn setpriv --reuid=65534 --regid=65534 --groups=12 "$ZTNA" connector --config "$T/$name.json"
}
an_ordinary_user_keeps_mode_and_group() {
  wait_for $((LIFE_S + 2)) grep -q 'renewal: new certificate' "$T/own.log" &&
    [ "$(stat -c '%u %g %a' "$T/own.d/connector-c3.pem")" = '65534 12 640' ] ||
    { ls -ln "$T/own.d"; false; }
}
metrics_tell() {
  on agent bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3' >"$T/metrics" &&
    grep -q '^ztna_renewal_ok 1' "$T/metrics" && grep -q '^ztna_renewal_attempts_total [1-9]' "$T/metrics" &&
    grep -q '^ztna_renewal_failures_total 0' "$T/metrics"
}

LIFE_S=10 LIFE=10s
hosts_up
service ca 4435
service other 4436
wait_for 5 grep -q listening "$T/ca.log"
wait_for 5 grep -q listening "$T/other.log"
token late --role agent --name late --expires 1s

check relay_enrols relay_enrols
check agent_enrols_and_has_a_configuration agent_enrols_and_has_a_configuration
check connector_enrols_by_stdin connector_enrols_by_stdin
ENROLLED_AT=$(date +%s)
AGENT_WAS=$(serial "$T/a/agent-a1.pem")
CONN_WAS=$(serial "$T/c/connector-c1.pem")
cp "$T/a/agent-a1.key" "$T/key.before"
check what_was_enrolled_runs what_was_enrolled_runs
watch_pings
as_nobody mute c2 9091
as_nobody own c3 9092
chown 65534 "$T/own.d"
rm "$T/key.before" && check the_service_never_saw_the_key the_service_never_saw_the_key
cp "$T/a/agent-a1.key" "$T/key.before"
check a_used_token_is_refused a_used_token_is_refused
check an_expired_token_is_refused an_expired_token_is_refused
check an_invented_token_is_refused an_invented_token_is_refused
check half_a_token_is_wrong_usage half_a_token_is_wrong_usage
check another_ca_sees_no_token another_ca_sees_no_token
check nobody_there_is_told_in_seconds nobody_there_is_told_in_seconds
check another_cas_file_stays another_cas_file_stays
check another_identitys_certificate_stays another_identitys_certificate_stays
check both_are_renewed both_are_renewed
check metrics_tell metrics_tell
check a_relay_is_renewed_by_hand a_relay_is_renewed_by_hand
check who_may_not_write_says_so who_may_not_write_says_so
check an_ordinary_user_keeps_mode_and_group an_ordinary_user_keeps_mode_and_group
check pings_went_on pings_went_on
check the_key_is_in_no_memory the_key_is_in_no_memory
exit "${FAILED:-0}"
