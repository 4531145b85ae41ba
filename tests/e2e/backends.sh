#!/bin/bash
# backends.sh - where TCP backends are and what they are told: the PROXY header
# as nginx reads it, names with several addresses, names that change.
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
. tests/e2e/servers.sh
need ip curl unshare mount
command -v nginx >/dev/null || skip_all "needs nginx (Debian package nginx-light)"

# Says who connected, as the PROXY header has it, on port 80; on 81 to which of
# its addresses.
who_starts() { # NAME ADDRESS
  nobodys_dir "$1"
  cat >"$T/$1.conf" <<END
daemon off; worker_processes 1; pid $T/$1/pid; error_log stderr;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path $T/$1/b; proxy_temp_path $T/$1/p;
  fastcgi_temp_path $T/$1/f; uwsgi_temp_path $T/$1/u; scgi_temp_path $T/$1/s;
  server { listen $2:80 proxy_protocol;
    return 200 "\$proxy_protocol_addr \$proxy_protocol_port \$proxy_protocol_server_addr \$proxy_protocol_server_port\n"; }
  server { listen $2:81; return 200 "\$server_addr\n"; }
}
END
  start_nobody "$1" nginx -e stderr -p "$T/$1" -c "$T/$1.conf"
  wait_for 5 answers_at "$2"
}
answers_at() { [ "$(on conn curl -s -m 2 "http://$1:81/")" = "$1" ]; }

get() { on agent curl -sS -m 5 "$@"; }
proxied() { # FLAG ADDRESS-OF-SERVICE URL
  local mine
  mine=$(on agent ip -o "$1" addr show dev ztna0 scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
  [ "$(get --local-port "$4" "$3")" = "$mine $4 $2 80" ]
}
reaches() { [ "$(get http://10.100.0.3:81/)" = "$1" ]; }
moved() {
  get http://10.100.0.3:81/ && return 1 # nobody is there; now it asks
  wait_for 2 reaches 127.0.0.3
}
counted() { # METRIC LEAST
  [ "$(on conn curl -s http://127.0.0.1:9090/metrics | awk -v m="$1" '$1 == m { print $2 }')" -ge "$2" ]
}
listed() {
  on agent bash -c 'exec 3<>/dev/tcp/10.100.0.3/81 && sleep 2' &
  PIDS="$PIDS $!"
  wait_for 2 shows '"state": "open"' && shows '"service": "dns"' && shows '"backend": "127.0.0.'
}
shows() { on conn curl -s http://127.0.0.1:9090/status | tr -d '\n' | sed 's/: */: /g' | grep -qF -- "$1"; }

net_up
servers_host
cat >"$T/policy.json" <<END
{"rules": [{"name": "all", "agents": ["spiffe://example.org/agent/*"], "services": ["dns"], "protocols": ["tcp"]}]}
END
pki || { not_ok pki "$(cat "$T/cert.out")"; exit 1; }
relay_json
agent_json a1
cat >"$T/connector.json" <<END
{$(identity connector-c1), "http": {"listen": "127.0.0.1:9090"},
 "connector": {"relays": ["192.168.2.2:4433"], "services": [{"id": "dns", "backends": [
  {"protocol": "tcp", "port": 80, "to": "127.0.0.2:80", "proxy_protocol": true},
  {"protocol": "tcp", "port": 81, "to": "web.test:81"}]}]}}
END
# The first of them is nobody's.
printf '127.0.0.1 localhost\n127.0.0.9 web.test\n127.0.0.2 web.test\n' >"$T/hosts"
echo "hosts: files" >"$T/nsswitch.conf"
check nginx_runs who_starts one 127.0.0.2
start_relay
ulimit -S -n 256
start connector conn unshare -m sh -c "mount --make-rprivate / && mount --bind $T/hosts /etc/hosts &&
  { ! [ -e /etc/nsswitch.conf ] || mount --bind $T/nsswitch.conf /etc/nsswitch.conf; } && exec $ZTNA connector --config $T/connector.json"
wait_for 5 is_ready conn
start_agent
wait_for 5 routes agent 10.100.0.3 || { not_ok programs_up; exit 1; }

check proxy_header_tells_who_it_is proxied -4 10.100.0.3 http://10.100.0.3:80/ 40001
check proxy_header_tells_who_it_is_v6 proxied -6 fd5a:10::3 "http://[fd5a:10::3]:80/" 40002
check all_descriptors_are_its awk '/open files/ { exit $4 != $5 }' "/proc/$(pid_of connector)/limits"
check name_with_a_dead_address reaches 127.0.0.2
check flows_are_in_status listed
stop one
check nginx_runs_elsewhere who_starts two 127.0.0.3
printf '127.0.0.1 localhost\n127.0.0.3 web.test\n' >"$T/hosts"
check name_is_looked_up_again_when_nobody_answers moved
check headers_are_counted counted ztna_connector_tcp_proxy_headers_total 2
check refusals_are_counted counted 'ztna_connector_tcp_refused_total{reason="backend-refused"}' 1
exit "${FAILED:-0}"
