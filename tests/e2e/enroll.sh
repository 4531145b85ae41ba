#!/bin/bash
# enroll.sh - the enrolment service and its tokens: used once whatever happens,
# nothing for who was revoked, and what it gives up while it runs.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip openssl
HOSTILE=${ZTNA%/*}/tests/tool_hostile
CONF=$T/enroll.json

configuration() {
  cat >"$CONF" <<END
{"enroll": {"ca_dir": "ca", "listen": ["127.0.0.1:4435"], "server": "127.0.0.1:4435", "lifetime": "1h", "audit": {"file": "issued.log"}, "policy": "policy.json"},
 "identity": {"crl": "ca/crl.pem"}, "http": {"listen": "127.0.0.1:9090"}, "log": {"level": "info"}, "state_dir": "tokens"}
END
}
# Each start has its own log: the limits begin anew as well.
service_up() {
  rm -f "$T/service.log"
  start service ca "$ZTNA" enroll-server --config "$CONF"
  wait_for 5 is_ready ca
}
token() { # FILE FLAGS...
  local file=$1
  shift
  "$ZTNA" token create --config "$CONF" "$@" >"$file" 2>"$T/token.err" || { cat "$T/token.err"; false; }
}
enroll() { on ca "$ZTNA" enroll --token "@$1" --dir "$2"; }
# code CODE WORDS COMMAND...
code() {
  local want=$1 words=$2 got
  shift 2
  "$@" >"$T/said" 2>&1
  got=$?
  cat "$T/said"
  [ $got = "$want" ] || { echo "exit code $got, not $want"; return 1; }
  grep -qF -- "$words" "$T/said"
}
state_of() { "$ZTNA" token list --config "$CONF" | awk -v id="$1" '$1 == id { print $3 }'; }
id_of() { "$ZTNA" token list --config "$CONF" | awk -v name="$1" '$5 == name { print $1 }'; }

# --- what is configured

the_configuration_is_checked() {
  code 0 'ok: enroll' "$ZTNA" check-config "$CONF" || return
  chmod 644 "$T/ca/ca.key"
  code 3 'chmod 600' "$ZTNA" check-config "$CONF" &&
    code 3 'chmod 600' "$ZTNA" enroll-server --config "$CONF" || return
  chmod 600 "$T/ca/ca.key"
  mv "$T/ca/ca.key" "$T/ca.key" && cp "$T/other/ca.key" "$T/ca/ca.key"
  code 3 'not the private key of ca.pem' "$ZTNA" check-config "$CONF" &&
    code 3 'not the private key of ca.pem' "$ZTNA" enroll-server --config "$CONF" || return
  mv "$T/ca.key" "$T/ca/ca.key"
}
only_the_service_has_its_role() {
  code 2 'a role: relay, connector' "$ZTNA" cert issue --dir "$T/ca" --role enroll --name me &&
    code 2 'a role: agent, connector or relay' "$ZTNA" token create --config "$CONF" --role enroll --name me
}
a_broken_file_of_tokens_is_told_at_the_start() {
  mkdir -p "$T/tokens" && cp "$T/tokens/tokens.json" "$T/whole.json" &&
    echo '{"tokens": [{"id": "x"}]}' >"$T/tokens/tokens.json" &&
    code 3 'tokens[0].id: want 16' "$ZTNA" enroll-server --config "$CONF" &&
    code 3 'tokens[0].id: want 16' "$ZTNA" token list --config "$CONF" &&
    cp "$T/whole.json" "$T/tokens/tokens.json"
}

# --- tokens

# Of it only hashes stay; the file is for its owner alone.
a_token_is_shown_once() {
  token "$T/one" --role agent --name one --service web || return
  local digits
  digits=$(sed 's/zt1_\([^@]*\)@.*/\1/; y|-_|+/|; s/$/=/' "$T/one" | base64 -d | od -An -tx1 | tr -d ' \n')
  [ ${#digits} = 112 ] && [ "$(id_of one)" = "${digits:0:16}" ] &&
    [ "$(stat -c %a "$T/tokens/tokens.json")" = 600 ] &&
    ! grep -q "${digits:16:32}" "$T/tokens/tokens.json" &&
    ! grep -qF "$(cut -c1-40 "$T/one")" "$T/token.err"
}
# Two machines, the same token, at the same moment.
of_two_at_once_one_has_it() {
  local a b
  token "$T/two" --role agent --name two || return
  enroll "$T/two" "$T/two-a" >"$T/a.out" 2>&1 &
  a=$!
  enroll "$T/two" "$T/two-b" >"$T/b.out" 2>&1 &
  b=$!
  wait $a
  a=$?
  wait $b
  b=$?
  echo "codes $a $b"
  [ $((a + b)) = 5 ] && [ "$(ls "$T/two-a" "$T/two-b" | grep -c 'agent-two.pem')" = 1 ] &&
    [ "$(state_of "$(id_of two)")" = used ]
}
# The answer was lost and the service died: the key that is there asks again.
a_lost_answer_is_given_again_after_a_restart() {
  token "$T/lost" --role agent --name lost && enroll "$T/lost" "$T/lost-a" >"$T/a.out" || return
  stop service KILL
  service_up || return
  mkdir "$T/lost-b" && cp "$T/lost-a/agent-lost.key" "$T/lost-b/enroll-$(id_of lost).key" &&
    enroll "$T/lost" "$T/lost-b" >"$T/a.out" &&
    [ "$(openssl x509 -in "$T/lost-a/agent-lost.pem" -noout -pubkey)" = "$(openssl x509 -in "$T/lost-b/agent-lost.pem" -noout -pubkey)" ] &&
    code 5 used enroll "$T/lost" "$T/lost-c"
}
a_token_that_was_taken_back_is_unknown() {
  token "$T/back" --role agent --name back && "$ZTNA" token revoke --config "$CONF" "$(id_of back)" &&
    code 5 unknown enroll "$T/back" "$T/back-a" &&
    code 1 'no token' "$ZTNA" token revoke --config "$CONF" 0011223344556677
}
# Whoever reads tokens.json has nothing to show.
a_stolen_file_of_tokens_is_of_no_use() {
  token "$T/theft" --role agent --name theft || return
  local id hash body
  id=$(id_of theft)
  hash=$(grep -A1 "$id" "$T/tokens/tokens.json" | sed -n 's/.*"hash": "\([^"]*\)".*/\1/p')
  body="{\"token\": \"$id${hash:0:32}\", \"csr\": $(csr "$T/a1/agent-a1.key")}"
  code 0 '"detail":"unknown"' on ca "$HOSTILE" call 127.0.0.1:4435 "$T/a1/agent-a1.pem" "$T/a1/agent-a1.key" POST /v1/enroll "$body" &&
    [ "$(state_of "$id")" = waiting ]
}

# --- renewal, by hand

csr() { # KEY [SUBJECT]: a request with wishes, as a JSON text
  openssl req -new -key "$1" -subj "${2:-/CN=x}" -addext 'subjectAltName=URI:spiffe://example.org/relay/r1,DNS:relay.test' |
    awk 'BEGIN { printf "\"" } { printf "%s\\n", $0 } END { printf "\"" }'
}
renew() { # STEM
  on ca "$HOSTILE" call 127.0.0.1:4435 "$1.pem" "$1.key" POST /v1/renew "{\"csr\": $(csr "$1.key" /CN=admin)}"
}
a_renewed_certificate_is_for_the_same_one() {
  token "$T/a1.token" --role agent --name a1 --service web && enroll "$T/a1.token" "$T/a1" >"$T/a.out" || return
  renew "$T/a1/agent-a1" >"$T/renewed" 2>&1 || { cat "$T/renewed"; return 1; }
  grep -o '"certificate":"[^"]*"' "$T/renewed" | cut -d'"' -f4 | sed 's/\\n/\n/g' >"$T/renewed.pem"
  openssl x509 -in "$T/renewed.pem" -noout -ext subjectAltName >"$T/names" && cat "$T/names" &&
    [ "$(tail -1 "$T/names" | tr -d ' ')" = "URI:spiffe://example.org/agent/a1,DNS:agent.web.ztna" ] &&
    openssl verify -CAfile "$T/ca/ca.pem" "$T/renewed.pem" &&
    grep -q 'issued identity=spiffe://example.org/agent/a1 .* renews=' "$T/service.log"
}
# By the policy, then not: a relay's file says the same to both.
whom_the_policy_revokes_renews_nothing() {
  echo '{"rules": [], "revoked": ["spiffe://example.org/agent/a1"]}' >"$T/policy.json.new"
  mv "$T/policy.json.new" "$T/policy.json"
  wait_for 3 grep -q 'policy reloaded' "$T/service.log" || return
  renew "$T/a1/agent-a1" >"$T/said" 2>&1
  cat "$T/said"
  grep -q revoked "$T/said" && ! grep -q CERTIFICATE "$T/said" || return
  echo '{"rules": [], "revoked": "x"}' >"$T/policy.json"
  wait_for 3 grep -q 'the former policy stays in force' "$T/service.log" || return
  renew "$T/a1/agent-a1" >"$T/said" 2>&1
  grep -q revoked "$T/said" && ! grep -q CERTIFICATE "$T/said" && echo '{"rules": []}' >"$T/policy.json"
}
a_revoked_certificate_is_not_renewed() {
  "$ZTNA" cert revoke --dir "$T/ca" "$T/a1/agent-a1.pem" || return
  wait_for 3 grep -q 'list of revoked certificates changed.* revoked=1' "$T/service.log" || return
  renew "$T/a1/agent-a1" >"$T/said" 2>&1
  cat "$T/said"
  grep -q revoked "$T/said" && ! grep -q CERTIFICATE "$T/said" &&
    [ "$(grep -c 'issued identity=spiffe://example.org/agent/a1 .* renews=' "$T/service.log")" = 1 ]
}
# A certificate by hand, of a role that the service does not renew.
an_admin_is_refused() {
  "$ZTNA" cert issue --dir "$T/ca" --role admin --name root >/dev/null &&
    renew "$T/ca/admin-root" >"$T/said" 2>&1
  cat "$T/said"
  grep -q identity-mismatch "$T/said" && grep -q 'connection refused .*admin/root reason=identity-mismatch' "$T/service.log"
}

# --- while it runs

it_gives_up_what_it_does_not_need() {
  local pid
  pid=$(pid_of service)
  ready ca >"$T/status" && cat "$T/status" &&
    grep -q '^CapEff:	0000000000000000' "/proc/$pid/status" &&
    grep -q '^Seccomp:	2' "/proc/$pid/status" && grep -q '^NoNewPrivs:	1' "/proc/$pid/status" &&
    ! ls -l "/proc/$pid/fd" | grep -q 'ca.key'
}
it_counts() {
  on ca bash -c 'exec 3<>/dev/tcp/127.0.0.1/9090; printf "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3' >"$T/metrics" &&
    grep -q '^ztna_enroll_renewed_total 1$' "$T/metrics" &&
    grep -q '^ztna_enroll_requests_refused_total{reason="bad-token"} [1-9]' "$T/metrics" &&
    grep -q '^ztna_enroll_connections_refused_total{reason="revoked"} [1-9]' "$T/metrics"
}
no_secret_is_logged() {
  local file
  for file in one two lost back theft a1.token; do
    ! grep -qF "$(cut -c1-40 "$T/$file")" "$T/service.log" || return
  done
}
guessing_is_slowed_down() {
  local i n=0
  sed 's/zt1_..../zt1_AAAA/' "$T/one" >"$T/guess"
  for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    enroll "$T/guess" "$T/guess-a" >"$T/said" 2>&1
    [ $? = 4 ] && grep -q 'asks to wait' "$T/said" && n=$((n + 1))
    rm -rf "$T/guess-a"
  done
  echo "told to wait: $n"
  [ $n -ge 1 ]
}
it_stops_when_told() {
  kill "$(pid_of service)" && wait "$(pid_of service)"
}
# Root makes tokens, the service has become another: each can change the file.
# A directory that the other may not write keeps it root, and is named.
an_ordinary_user_marks_tokens_that_root_makes() {
  local conf=$T/user/user.json uid
  mkdir -p "$T/user/tokens" && chmod 711 "$T" && chmod 755 "$T/user" || return
  cat >"$conf" <<END
{"enroll": {"ca_dir": "../ca", "listen": ["127.0.0.1:4436"], "server": "127.0.0.1:4436"}, "sandbox": {"user": "nobody"}, "state_dir": "tokens"}
END
  start stays ca "$ZTNA" enroll-server --config "$conf"
  wait_for 5 grep -q "root: nobody may not write .*/tokens, which it would later" "$T/stays.log" || return
  stop stays
  chown nobody "$T/user/tokens" && rm "$T/user/tokens"/* || return
  "$ZTNA" token create --config "$conf" --role agent --name u1 >"$T/u1" 2>/dev/null || return
  start user ca "$ZTNA" enroll-server --config "$conf"
  wait_for 5 grep -q 'sandbox: user: nobody' "$T/user.log" || return
  "$ZTNA" token create --config "$conf" --role agent --name u2 >"$T/u2" 2>/dev/null &&
    enroll "$T/u1" "$T/u1-d" && enroll "$T/u2" "$T/u2-d" || return
  "$ZTNA" token create --config "$conf" --role agent --name u3 >"$T/u3" 2>/dev/null &&
    enroll "$T/u3" "$T/u3-d" || return
  uid=$(id -u nobody)
  ls -ln "$T/user/tokens"
  [ "$(stat -c %u:%a "$T/user/tokens/tokens.json")" = "$uid:600" ]
}
# Also what was made before it was killed.
what_was_issued_is_in_the_record() {
  code 0 'ok: records' "$ZTNA" audit verify "$T/issued.log" || return
  local name
  for name in two lost a1; do
    grep -q '"event":"issued","agent":"spiffe://example.org/agent/'$name'","serial":"[0-9a-f]*","token":"'"$(id_of $name)"'"' "$T/issued.log" || return
  done
  grep -q '"agent":"spiffe://example.org/agent/a1","serial":"[0-9a-f]*","renews":"'"$(serial "$T/a1/agent-a1.pem")"'"' "$T/issued.log" &&
    [ "$(grep -c '"event":"issued"' "$T/issued.log")" = "$(($(grep -c 'enroll: issued' "$T/service.log") + 2))" ]
}
serial() { "$ZTNA" cert show "$1" --json | sed -n 's/.*"serial": "\([^"]*\)".*/\1/p'; }

host ca
for d in ca other; do "$ZTNA" cert init --dir "$T/$d" --trust-domain example.org >"$T/cert.out" || exit 1; done
"$ZTNA" cert crl --dir "$T/ca" >>"$T/cert.out" || exit 1
configuration
echo '{"rules": []}' >"$T/policy.json"

check the_configuration_is_checked the_configuration_is_checked
check only_the_service_has_its_role only_the_service_has_its_role
check a_token_is_shown_once a_token_is_shown_once
check a_broken_file_of_tokens_is_told_at_the_start a_broken_file_of_tokens_is_told_at_the_start
service_up
check of_two_at_once_one_has_it of_two_at_once_one_has_it
check a_lost_answer_is_given_again_after_a_restart a_lost_answer_is_given_again_after_a_restart
check a_token_that_was_taken_back_is_unknown a_token_that_was_taken_back_is_unknown
check a_renewed_certificate_is_for_the_same_one a_renewed_certificate_is_for_the_same_one
check a_stolen_file_of_tokens_is_of_no_use a_stolen_file_of_tokens_is_of_no_use
check whom_the_policy_revokes_renews_nothing whom_the_policy_revokes_renews_nothing
check a_revoked_certificate_is_not_renewed a_revoked_certificate_is_not_renewed
check an_admin_is_refused an_admin_is_refused
check it_gives_up_what_it_does_not_need it_gives_up_what_it_does_not_need
check it_counts it_counts
check guessing_is_slowed_down guessing_is_slowed_down
check no_secret_is_logged no_secret_is_logged
check it_stops_when_told it_stops_when_told
check an_ordinary_user_marks_tokens_that_root_makes an_ordinary_user_marks_tokens_that_root_makes
check what_was_issued_is_in_the_record what_was_issued_is_in_the_record
exit "${FAILED:-0}"
