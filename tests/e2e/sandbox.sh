#!/bin/bash
# sandbox.sh - relay, connector and agent are started by root and give up nearly
# all of it; what they are for goes on: tunnel, TCP, names, checks, direct paths,
# other policies and services.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
need ip ping dnsmasq unshare mount
getent passwd nobody >/dev/null || skip_all "needs a user nobody"
TCP=${TOOL%/*}/tool_tcp
LINK=${TOOL%/*}/tool_link
USER_ID=$(id -u nobody)

# --- what the kernel says of a program, all its threads

# each_task NAME FIELD VALUE
each_task() {
  local f v
  for f in /proc/"$(pid_of "$1")"/task/*/status; do
    v=$(awk -v f="$2:" '$1 == f { print $2 }' "$f")
    [ "$v" = "$3" ] || { echo "$f $2 $v"; return 1; }
  done
}
no_capability() {
  each_task "$1" CapEff "$2" && each_task "$1" CapPrm "$2" &&
    each_task "$1" CapInh 0000000000000000 && each_task "$1" CapAmb 0000000000000000 &&
    each_task "$1" CapBnd 0000000000000000
}
no_user() { each_task "$1" Uid "$USER_ID" && each_task "$1" Gid "$(id -g nobody)"; }
no_dump() { grep -q '^Max core file size *0 *0 ' "/proc/$(pid_of "$1")/limits"; }
# Of a key's file one whole line, in memory that was written.
no_key() {
  local line pid range from to
  line=$(sed -n 2p "$2")
  pid=$(pid_of "$1")
  [ ${#line} -ge 60 ] || return 1
  while read -r range _; do
    from=$((0x${range%-*} / 4096)) to=$((0x${range#*-} / 4096))
    [ $((to - from)) -le 16384 ] || to=$((from + 16384))
    dd if="/proc/$pid/mem" bs=4096 skip=$from count=$((to - from)) 2>/dev/null
  done < <(grep ' rw-p ' "/proc/$pid/maps") >"$T/memory"
  [ "$(stat -c %s "$T/memory")" -gt 1000000 ] || { echo "no memory read"; return 1; }
  ! grep -qaF "$line" "$T/memory"
}
# A layer and what status says of it.
says() { # HOST LAYER TRUE-OR-FALSE TEXT
  ready "$1" | tr -d '\n' | sed 's/ *: */:/g; s/, */,/g; s/{ */{/g' |
    grep -qF "\"$2\":{\"in_force\":$3,\"detail\":\"$4"
}

# --- three programs, as nobody

names_of_our_own() {
  printf '%s\n' no-daemon no-resolv no-hosts user=root bind-interfaces port=53 \
    listen-address=127.0.0.1 pid-file= address=/backend.test/127.0.0.1 >"$T/dns.conf"
  echo "nameserver 127.0.0.1" >"$T/resolv.conf"
  echo "hosts: files dns" >"$T/nsswitch.conf"
  start dns conn dnsmasq --conf-file="$T/dns.conf"
}
service() { # ID UDP-PORT TCP-PORT
  echo "{\"id\": \"$1\", \"check\": {\"type\": \"tcp\", \"every\": \"200ms\"}, \"backends\": [
   {\"protocol\": \"udp\", \"port\": $2, \"to\": \"backend.test:9999\"},
   {\"protocol\": \"tcp\", \"port\": $3, \"to\": \"backend.test:7\"}, {\"protocol\": \"icmp\", \"to\": \"127.0.0.1\"}]}"
}
connector() { # SERVICE...
  local list=
  for s in "$@"; do list="$list${list:+, }$s"; done
  cat >"$T/connector.new" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "audit": {"file": "log/audit"}, "services": [$list]}}
END
  chmod 644 "$T/connector.new" && mv "$T/connector.new" "$T/connector.json"
}
policy() { # SERVICES
  cat >"$T/policy.new" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/*"], "services": [$1], "protocols": ["udp", "icmp", "tcp"]}]}
END
  chmod 644 "$T/policy.new" && mv "$T/policy.new" "$T/policy.json"
}
in_names() { # COMMAND...: where names are ours
  echo "mount --make-rprivate / && mount --bind $T/resolv.conf /etc/resolv.conf && mount --bind $T/nsswitch.conf /etc/nsswitch.conf && exec $*"
}
answers() { on agent "$TOOL" count "$1" 3 1000; }
connects() { on agent timeout 3 "$TCP" crr "$1" seconds=1 n=1; }
echoes() { on agent ping -c 3 -i 0.2 -W 2 10.100.0.2; }
uses() { on agent "$LINK" 127.0.0.1:9090 | grep -q "used=$1"; }

net_up
link agent conn 3
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
policy '"echo"'
names_of_our_own
connector "$(service echo 9999 7)"
mkdir "$T/log" "$T/state"
chown -R nobody: "$T"
chmod 755 "$T"
export ZTNA_SANDBOX_USER=nobody
start_backend
start tcp conn "$TCP" serve 7=echo
start_relay
start connector conn unshare -m sh -c "$(in_names "$ZTNA" connector --config "$T/connector.json")"
wait_for 5 is_ready conn
start_agent
wait_for 5 is_ready agent && wait_for 5 routes agent 10.100.0.2 ||
  not_ok up "the agent has no routes"
unset ZTNA_SANDBOX_USER

check udp_reaches_a_backend_by_name answers 10.100.0.2:9999
check tcp_reaches_a_backend_by_name connects 10.100.0.2:7
check ping_reaches_a_service echoes
check the_health_check_passes eval 'on conn "$ZTNA" status --json | grep -q "\"health\":\"up\"\|\"state\":\"up\""'
check a_direct_path_comes_up wait_for 5 uses direct

for p in relay connector agent; do
  kept=0000000000000000
  [ $p != agent ] || kept=0000000000001000 # CAP_NET_ADMIN
  check "${p}_has_no_capability_that_it_does_not_need" no_capability $p $kept
  check "${p}_is_an_ordinary_user" no_user $p
  check "${p}_gains_no_privileges" each_task $p NoNewPrivs 1
  check "${p}_has_a_filter_of_system_calls" each_task $p Seccomp 2
  check "${p}_leaves_no_core" no_dump $p
done
check the_relay_keeps_no_key_file_in_memory no_key relay "$T/relay-r1.key"
check the_connector_keeps_none no_key connector "$T/connector-c1.key"
check the_agent_keeps_none no_key agent "$T/agent-a1.key"
for h in relay conn agent; do
  check "status_says_so_on_$h" eval "says $h user true nobody && says $h seccomp true && says $h no_new_privileges true && says $h core_dumps true && says $h capabilities true"
done
check status_tells_of_landlock eval 'says relay landlock true version || says relay landlock false "this kernel"'

# --- it goes on reading what it needs

other_policy() {
  policy '"other"'
  kill -HUP "$(pid_of relay)"
  wait_for 2 eval '! answers 10.100.0.2:9999'
}
former_policy() {
  policy '"*"'
  kill -HUP "$(pid_of relay)"
  wait_for 5 answers 10.100.0.2:9999
}
other_services() {
  on agent ip route show dev ztna0 | sort >"$T/routes"
  connector "$(service echo 9999 7)" "$(service other 9998 8)"
  wait_for 5 eval 'new=$(on agent ip route show dev ztna0 | sort | comm -13 "$T/routes" - | awk "{ print \$1 }" | grep "^10\.")' &&
    wait_for 3 answers "$new:9998" && connects "$new:8"
}
check a_relay_reads_another_policy other_policy
check and_another_one former_policy
check a_connector_reads_other_services other_services
check it_writes_its_audit_log eval '[ -s "$T/log/audit" ] && [ "$(stat -c %U%a "$T/log/audit")" = nobody600 ]'
check nothing_was_killed eval 'kill -0 $(pid_of relay) $(pid_of connector) $(pid_of agent)'

# --- root, when the user could not go on

stop agent
chown root: "$T"/*.key
ZTNA_SANDBOX_USER=nobody start_agent
wait_for 5 is_ready agent
check root_stays_when_its_files_are_not_the_user_s says agent user false "root:nobody may not read $T/agent-a1.key"
check and_the_log_says_why grep -q 'sandbox: user is not in force: root: nobody may not read' "$T/agent.log"
check but_has_no_capability_either no_capability agent 0000000000001000
check what_root_started_works wait_for 5 answers 10.100.0.2:9999
stop agent
ZTNA_SANDBOX_SECCOMP=false ZTNA_SANDBOX_LANDLOCK=false ZTNA_SANDBOX_CAPABILITIES=false start_agent
wait_for 5 is_ready agent
check what_is_switched_off_says_so eval 'says agent seccomp false "switched off" && says agent landlock false "switched off" && says agent capabilities false "switched off" && each_task agent Seccomp 0'
exit "${FAILED:-0}"
