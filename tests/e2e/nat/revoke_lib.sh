# revoke_lib.sh - how long is something still delivered when a permission is taken
# back? For revoke.sh and revoke_long.sh, behind lab.sh: revocation_measured.
REVOKE=${ZTNA%/*}/tests/tool_revoke TCP=${ZTNA%/*}/tests/tool_tcp
. tests/e2e/nat/paths_lib.sh

# policies and lists of revoked certificates, as they are before and after
revocation_files() {
  local rule='"agents": ["spiffe://example.org/agent/a*"], "services": ["*"], "protocols": ["udp", "tcp", "icmp"]'
  echo "{\"rules\": [{\"name\": \"all\", $rule}]}" >"$T/allowed.json"
  echo "{\"rules\": [{\"name\": \"all\", $rule}], \"revoked\": [\"spiffe://example.org/agent/a1\"]}" >"$T/identity-out.json"
  echo "{\"rules\": [{\"name\": \"others\", \"agents\": [\"spiffe://example.org/agent/x*\"], \"services\": [\"*\"]}]}" >"$T/ruled-out.json"
  cp "$T/allowed.json" "$T/policy.json"
}
# a list without a1's certificate, and one with it
crl_files() {
  issue agent x9 && "$ZTNA" cert revoke --dir "$T" "$T/agent-x9.pem" >>"$T/cert.out" 2>&1 &&
    cp "$T/crl.pem" "$T/none.crl" &&
    "$ZTNA" cert revoke --dir "$T" "$T/agent-a1.pem" >>"$T/cert.out" 2>&1 &&
    cp "$T/crl.pem" "$T/a1.crl" && cp "$T/none.crl" "$T/watched.crl"
}
# revocation_lab relayed|direct: everything up
revocation_lab() {
  local class=public
  [ "$1" = direct ] || class=sym-random
  lab_pki && lab_up $class $class || return
  relay_json() { # with a list of revoked certificates beside the policy
    revocation_files && crl_files
    cat >"$T/relay.json" <<END
{"identity": {"cert": "relay-r1.pem", "key": "relay-r1.key", "ca": "ca.pem", "crl": "watched.crl"}, "http": {"listen": "127.0.0.1:9090"}, "state_dir": "state",
 "relay": {"listen": ["0.0.0.0:4433", "[::]:4433"],
  "service_pool": ["10.100.0.0/24", "fd5a:10::/64"], "agent_pool": ["100.64.0.0/16", "fd5a:64::/64"],
  "services": {"echo": {"virtual_ips": ["10.100.0.2", "fd5a:10::2"]}}, "policy": "policy.json"}}
END
  }
  connector_json() {
    cat >"$T/connector.json" <<END
{"identity": {"cert": "connector-c1.pem", "key": "connector-c1.key", "ca": "ca.pem"}, "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["$1"], "services": [{"id": "echo", "backends": [
  {"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"}, {"protocol": "tcp", "port": 78, "to": "127.0.0.1:78"}]}]}}
END
  }
  start flood conn "$TCP" serve 78=flood
  lab_programs
}
# trials KIND N WAY...: of each way in turn
trials() {
  local kind=$1 n=$2
  shift 2
  on agent "$REVOKE" 10.100.0.2:9999 10.100.0.2:78 127.0.0.1:9090 "$kind" "$n" "$@" >>"$T/revoke.out" 2>&1
}
# Direct paths that last a moment are looked for less and less, so both ends are
# new to each other for each trial.
direct_trials() { # N WAY...
  local n=$1 i
  shift
  for ((i = 0; i < n; i++)); do
    trials direct 1 "$1" || return
    set -- "${@:2}" "$1"
    stop agent KILL
    stop connector KILL
    pair_start
  done
}
# summary: of the lines of single trials: of each way and of all
summary() {
  awk '/udp_ms/ { split($2, u, "="); split($3, t, "="); v = u[2] > t[2] ? u[2] : t[2]
      print $1, v + 0; print "all", v + 0 }' "$T/revoke.out" | sort -k1,1 -k2,2n |
    awk 'function say() { if (n) print "sum", was, "trials=" n, "p50=" v[int((n + 1) / 2)], "p99=" v[int((n * 99 + 99) / 100)], "max=" v[n] }
      $1 != was { say(); n = 0 } { was = $1; v[++n] = $2 } END { say() }'
}
# revocation_measured relayed|direct TRIALS
revocation_measured() {
  local kind=$1 sums p99
  local ways=(identity="$T/policy.json,$T/identity-out.json,$T/allowed.json"
    rule="$T/policy.json,$T/ruled-out.json,$T/allowed.json"
    crl="$T/watched.crl,$T/a1.crl,$T/none.crl")
  revocation_lab "$kind" || { not_ok "lab_$kind" "$(tail -3 "$T/cert.out")"; return 1; }
  on agent ping -c 1 -W 2 10.100.0.2 >/dev/null
  if [ "$kind" = direct ]; then direct_trials "$2" "${ways[@]}"; else trials relay "$2" "${ways[@]}"; fi ||
    { not_ok "revoked_${kind}_ends" "$(tail -4 "$T/revoke.out")"; return 1; }
  sums=$(summary)
  sed "s/^sum/# $kind/" <<<"$sums"
  p99=$(sed -n 's/^sum all .*p99=\([0-9]*\).*/\1/p' <<<"$sums")
  check "revoked_on_a_${kind}_path_the_last_byte_comes_within_a_second" test "$p99" -lt 1000
}
