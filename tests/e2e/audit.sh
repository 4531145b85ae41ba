#!/bin/bash
# audit.sh - the audit logs of relay and connector: real flows with their bytes,
# a kill under load, tampering, and a disk that is full.
cd "$(dirname "$0")/../.." || exit 1
# In a mount namespace of its own, with a small disk for the connector's log.
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ]; then
  unshare -m true 2>/dev/null || { echo "skip audit.sh needs a mount namespace"; exit 0; }
  exec unshare -m tests/e2e/audit.sh inside
fi
. tests/e2e/lib.sh
need ip openssl mount
TCP=${TCP:-${ZTNA%/*}/tests/tool_tcp}
RELAY_LOG=$T/relay-audit.jsonl CONN_LOG=$T/disk/audit.jsonl

audited() { # ROLE FILE
  sed -i "s|\"$1\": {|\"$1\": {\"audit\": {\"file\": \"$2\", \"rotate\": \"64KiB\", \"keep\": 1000}, |" "$T/$1.json"
}
setup() {
  cat >"$T/policy.json" <<END
{"rules": [{"name": "all of it", "agents": ["spiffe://example.org/agent/a1"], "services": ["echo"],
  "protocols": ["tcp", "udp"], "ports": ["1-9998", 9999]}]}
END
  pki && relay_json && agent_json a1 && audited relay "$RELAY_LOG"
  cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "udp_idle_after": "1s", "direct": false, "services": [
  {"id": "echo", "backends": [{"protocol": "udp", "port": 9999, "to": "127.0.0.1:9999"},
   {"protocol": "tcp", "port": 71, "to": "127.0.0.1:71"}, {"protocol": "tcp", "port": 70, "to": "127.0.0.1:70"},
   {"protocol": "tcp", "port": 7, "to": "127.0.0.1:7"}]}]}}
END
  audited connector "$CONN_LOG"
}
up() {
  start_relay && start_connector && wait_for 5 is_ready conn && start_agent &&
    wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2
}

verify() { "$ZTNA" audit verify "$@"; }
# record FILE TEXT...: a line of it, or of its former files, holds all of these
record() {
  local f lines
  f=$1
  lines=$(cat "$f"*)
  shift
  for m in "$@"; do lines=$(grep -F -- "$m" <<<"$lines"); done
  [ -n "$lines" ]
}
status_of() { ready "$1" | tr -d ' \n'; }
says() { status_of "$1" | grep -qF -- "$2"; }
metric() { # HOST NAME VALUE
  on "$1" bash -c "exec 3<>/dev/tcp/127.0.0.1/9090; printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3; cat <&3" |
    grep -qx "$2 $3"
}

get_bytes() { on agent "$TCP" get 10.100.0.2:71 bytes=1000000 && wait_for 2 record "$CONN_LOG" \
  '"event":"flow-end"' '"port":71' '"bytes_to_agent":1000000'; }
put_bytes() { on agent "$TCP" put 10.100.0.2:70 bytes=654321 && wait_for 2 record "$CONN_LOG" \
  '"event":"flow-end"' '"port":70' '"service":"echo"' '"agent":"spiffe://example.org/agent/a1"' \
  '"backend":"127.0.0.1:70"' '"path":"relay"' '"rule":"all of it"' '"reason":"none"'; }
udp_bytes() { # 50 datagrams of 8 bytes and 50 back
  on agent "$TOOL" count 10.100.0.2:9999 50 1000 && wait_for 4 record "$CONN_LOG" \
    '"event":"flow-end"' '"protocol":"udp"' '"port":9999' \
    '"packets_from_agent":50,"packets_to_agent":50' '"reason":"idle"'
}
serial_is_that_of_the_certificate() {
  local serial
  serial=$(openssl x509 -in "$T/agent-a1.pem" -noout -serial | cut -d= -f2 | tr A-F a-f)
  record "$CONN_LOG" '"event":"flow-begin"' "\"serial\":\"$serial\"" &&
    record "$RELAY_LOG" '"event":"grant-begin"' "\"serial\":\"$serial\""
}
refusal_by_policy() {
  sed -i 's/"tcp", "udp"/"tcp"/' "$T/policy.json"
  kill -HUP "$(pid_of relay)"
  wait_for 2 grep -q 'policy reloaded' "$T/relay.log"
  on agent "$TOOL" count 10.100.0.2:9999 2 1000
  wait_for 2 record "$CONN_LOG" '"event":"flow-refused"' '"protocol":"udp"' '"port":9999' '"reason":"port-not-allowed"'
}
stranger() { # an agent of another CA
  "$ZTNA" cert init --dir "$T/evil" --trust-domain example.org >/dev/null 2>&1
  "$ZTNA" cert issue --dir "$T/evil" --role agent --name a1 >/dev/null 2>&1
  sed "s|\"agent-a1|\"evil/agent-a1|g; s|\"ca.pem|\"evil/both.pem|; s|9090|9091|; s|ztna0|ztna1|" "$T/agent-a1.json" >"$T/agent-evil.json"
  cat "$T/ca.pem" "$T/evil/ca.pem" >"$T/evil/both.pem"
  start evil agent "$ZTNA" agent --config "$T/agent-evil.json"
  wait_for 3 record "$RELAY_LOG" '"event":"control-refused"' '"reason":"bad-certificate"' '"from":"192.168.1.1:'
  local rc=$?
  stop evil KILL
  return $rc
}

# Many short connections while the connector is killed: whatever is there is a
# chain, the next start goes on with it.
load() { start load agent "$TCP" crr 10.100.0.2:7 seconds=20 n=8; }
begun() { record "$CONN_LOG" '"event":"flow-end"' '"port":7,'; }
kill_under_load() {
  load
  wait_for 3 begun && sleep 0.5
  stop connector KILL
  verify "$CONN_LOG"* | grep -E ': cut: |^ok' || return 1
  stop load KILL
  start_connector
  wait_for 5 is_ready conn && wait_for 2 eval 'verify "$CONN_LOG"* | grep -q "^ok"' || { verify "$CONN_LOG"*; return 1; }
}
a_half_line() { # what a crash of the machine leaves
  stop connector TERM
  truncate -s -40 "$CONN_LOG"
  verify "$CONN_LOG"* | grep -q ': cut: ' || return 1
  start_connector
  wait_for 5 is_ready conn
  wait_for 2 eval 'verify "$CONN_LOG"* | grep "1 crash.* cut a record"'
}

tampered() { # NAME SED-COMMAND WORD
  cp "$RELAY_LOG" "$T/tampered"
  sed -i "$1" "$T/tampered"
  verify "$T/tampered" | tee "$T/said" | grep -q "tampered:$2"
  local rc=$?
  cat "$T/said"
  return $rc
}

fill() { dd if=/dev/zero of="$T/disk/hog" bs=64k >/dev/null 2>&1; true; }
packets_go_on() { on agent "$TCP" get 10.100.0.2:71 bytes=300000; }
full_disk() {
  wait_for 5 packets_go_on || return 1
  fill
  load
  wait_for 8 eval 'says conn "\"ok\":false,"' || return 1
  says conn 'Nospaceleftondevice' && metric conn ztna_audit_ok 0 && packets_go_on
}
room_again() {
  stop load KILL
  rm "$T/disk/hog"
  wait_for 4 eval 'says conn "\"ok\":true,"' && wait_for 2 eval 'verify "$CONN_LOG"* | grep "^ok"'
}

trap 'umount -l "$T/disk" 2>/dev/null; cleanup' EXIT
mount --make-rprivate / && mkdir "$T/disk" && mount -t tmpfs -o size=24m none "$T/disk" || skip_all "cannot mount"
net_up && setup || { not_ok setup "$(cat "$T/cert.out")"; exit 1; }
start_backend
start tool conn "$TCP" serve 7=echo 70=sink 71=source
check all_is_up up
check a_tcp_flow_is_recorded_with_the_bytes_it_got get_bytes
check a_tcp_flow_is_recorded_with_the_bytes_it_gave put_bytes
check a_udp_conversation_is_recorded_with_its_packets udp_bytes
check records_name_the_certificate serial_is_that_of_the_certificate
check the_relay_records_who_is_let_in record "$RELAY_LOG" '"event":"grant-begin"' '"rule":"all of it"' '"connector":"spiffe://example.org/connector/c1"'
check who_has_a_foreign_certificate_is_recorded stranger
check both_logs_are_whole eval 'verify "$RELAY_LOG" && verify "$CONN_LOG"*'
check nobody_else_may_read_them eval '[ "$(stat -c %a "$RELAY_LOG" "$CONN_LOG" | sort -u)" = 600 ]'
check people_can_read_them eval '"$ZTNA" audit show "$CONN_LOG" --agent a1 --service echo | grep "flow-end a1 -> echo tcp/71 .*out=1000000 .* path=relay"'
check an_altered_line_is_named tampered '3s/a1/a2/' '3: altered'
check a_line_left_out_is_named tampered '3d' '3: missing'
check lines_exchanged_are_named tampered '2{h;d};3{G}' '2: reordered'
check a_kill_under_load_leaves_a_chain kill_under_load
check half_a_line_is_closed_by_a_note a_half_line
check a_full_disk_stops_no_packets_and_is_shown full_disk
check it_goes_on_when_there_is_room room_again
check a_refusal_by_policy_is_recorded refusal_by_policy
exit "${FAILED:-0}"
