#!/bin/bash
# tcp.sh - six real services behind one connector, each reached by its ordinary
# client; and whatever a backend does is seen as if it were local.
#
#   tcp.sh [tunnel|forward|raw]   see tcp_lib.sh
cd "$(dirname "$0")/../.." || exit 1
. tests/e2e/lib.sh
VIA=${1:-${VIA:-tunnel}}
. tests/e2e/tcp_lib.sh
need ip nft ping curl openssl dig psql
for c in nginx:nginx-light dropbear:dropbear-bin dnsmasq:dnsmasq-base traceroute:traceroute iperf3:iperf3; do
  PATH=$PATH:/usr/sbin command -v "${c%:*}" >/dev/null || skip_all "needs ${c%:*} (Debian package ${c#*:})"
done
[ -n "$(postgres_bin initdb)" ] || skip_all "needs initdb (Debian package postgresql)"

web=${AT[web]} web6=$(at6 web)

# --- ordinary clients

page() { on agent curl -sS -m 10 "http://$1/" | cmp - "$T/www/index.html"; }
large() { on agent curl -sS -m 30 "http://$1/large.bin" | cmp - "$T/www/large.bin"; }
tls_page() { # CURL FLAGS...
  on agent curl -sS -m 10 --connect-to "site.test:443:${AT[tls]}:443" "$@" \
    https://site.test/ | cmp - "$T/www/index.html"
}
tls_is_checked() { # another CA is refused: it is this site that answered
  ! tls_page --cacert "$T/ca.pem" 2>/dev/null && tls_page --cacert "$T/tls-ca.pem"
}
ssh_runs() {
  local said
  said=$(on agent bash -c "$(declare -f ssh_client); T=$T; ssh_client $1 22 'echo out; read line; echo \$line; exit 7' <<<'typed in'")
  local rc=$?
  [ $rc = 7 ] && [ "$said" = "out
typed in" ] || { echo "code $rc: $said"; cat "$T/dbclient.log"; false; }
}
ssh_carries_a_file() {
  on agent bash -c "$(declare -f ssh_client); T=$T; ssh_client ${AT[ssh]} 22 'sha256sum' <$T/www/large.bin" |
    cut -d' ' -f1 | grep -qx "$(sha256sum <"$T/www/large.bin" | cut -d' ' -f1)"
}
sql() { on agent psql -h "$1" -U nobody -d postgres -At -c "$2"; }
sql_answers() {
  [ "$(sql "$1" 'select count(*), sum(n) from generate_series(1, 100000) n')" = "100000|5000050000" ] &&
    [ "$(sql "$1" "select repeat('x', 100) || n from generate_series(1, 20000) n" | wc -c)" -gt 2000000 ]
}
dns_answers() { # FLAGS...
  on agent dig +time=2 +tries=1 +short "@${AT[dns]}" "$@" web.test A | grep -qx 192.0.2.7
}
dns_large() {
  [ "$(on agent dig +time=2 +tries=1 +tcp "@${AT[dns]}" big.test TXT | grep -c '^big.test.*TXT')" = 10 ]
}
echo_crowd() { # ADDRESS
  on agent "$TCP" many "$1" n=30 seconds=2 >"$T/many" 2>&1
  local rc=$?
  sed 's/^/# /' "$T/many"
  return $rc
}
iperf_runs() { # FLAGS...
  on agent timeout 15 iperf3 -c "${AT[odd]}" -t 1 "$@" >"$T/iperf" 2>&1 &&
    grep -q receiver "$T/iperf" || { cat "$T/iperf"; false; }
}

# --- as if it were local

# as_local ADDR:PORT-THERE ADDR:PORT-HERE KEY=VALUE...: what is seen, in order
as_local() {
  local there=$1 here=$2
  shift 2
  on agent timeout 20 "$TCP" probe "$there" "$@" >"$T/there" 2>&1
  on conn timeout 20 "$TCP" probe "$here" "$@" >"$T/here" 2>&1
  diff "$T/here" "$T/there"
}
soon() { # what takes no time locally takes little through the tunnel
  on agent "$TCP" probe "$1" time=1 >"$T/soon"
  sed 's/^/# /' "$T/soon"
  less "$(number connect_ms "$T/soon")" 1000
}

ends_at_once() {
  on agent timeout 2 "$TCP" probe "$1" >"$T/soon"
  local rc=$?
  cat "$T/soon"
  [ $rc = 0 ] && grep -q '^read=0 ' "$T/soon" && grep -qx 'end=reset' "$T/soon"
}

# --- traceroute, ping

ends_at() { # ADDRESS FLAGS...: the last hop is the service, and not far
  local at=$1
  shift
  on agent timeout 20 traceroute -n -q 1 -w 1 -m 6 "$@" "$at" >"$T/hops" 2>&1
  sed 's/^/# /' "$T/hops"
  tail -n 1 "$T/hops" | grep -qE "^ *[1-3]  $at "
}
pings() { on agent ping -c 1 -W 1 "$web"; }
ping_unreachable() { on agent ping -c 1 -W 1 "$web" | grep -q 'Unreachable'; }
connect_refused_soon() {
  on agent "$TCP" probe "$web:80" time=1 >"$T/down"
  grep -Eqx 'connect=(refused|host-unreachable)' "$T/down" &&
    less "$(number connect_ms "$T/down")" 1000 || { cat "$T/down"; false; }
}
nginx_again() { start_nginx 80 nginx2; }

WEB_CHECK='{"type": "tcp", "every": "300ms", "fail_after": 2, "pass_after": 1}'
net_up
servers_host conn
check nginx_runs start_nginx 80
check a_tls_site_runs start_tls 443
check dropbear_runs start_ssh 22
check postgres_runs start_postgres 5432
tcp_up
DNS_AT=127.0.0.1
[ "$VIA" != raw ] || DNS_AT=$DNS_AT,${AT[dns]}
start_dns
wait_for 5 on conn dig +short +time=1 +tries=1 @127.0.0.1 web.test
start iperf conn iperf3 -s

check web_by_curl page "$web"
check web_by_curl_v6 page "[$web6]"
check web_large_file large "$web"
check tls_by_curl tls_is_checked
check ssh_runs_a_command ssh_runs "${AT[ssh]}"
check ssh_runs_a_command_v6 ssh_runs "$(at6 ssh)"
check ssh_carries_a_file ssh_carries_a_file
check postgres_by_psql sql_answers "${AT[db]}"
check dns_over_udp dns_answers
check dns_over_tcp dns_answers +tcp
check dns_large_over_tcp dns_large
check echo_by_30_users echo_crowd "${AT[echo]}:7"
check echo_by_30_users_v6 echo_crowd "[$(at6 echo)]:7"
check iperf3_up iperf_runs
check iperf3_down iperf_runs -R

check half_close_gets_its_whole_answer as_local "${AT[odd]}:72" 127.0.0.1:72 send=300000 shut=1
check one_byte_a_second_arrives_so as_local "${AT[odd]}:73" 127.0.0.1:73 gaps=1
check accept_and_close_as_local as_local "${AT[odd]}:74" 127.0.0.1:74 after=1
check reset_in_mid_stream_as_local as_local "${AT[odd]}:75" 127.0.0.1:75 after=1
check reset_while_sending_as_local as_local "${AT[odd]}:76" 127.0.0.1:76 send=50000000
case $VIA in
tunnel)
  check refused_as_local as_local "${AT[odd]}:81" 127.0.0.1:81
  check refused_soon soon "${AT[odd]}:81"
  check unreachable_as_local as_local "${AT[odd]}:82" $NOWHERE:82
  check unreachable_soon soon "${AT[odd]}:82"
  ;;
raw) # the kernel believes only the third answer
  check refused_as_local as_local "${AT[odd]}:81" 127.0.0.1:81
  check unreachable_as_local as_local $NOWHERE:82 $NOWHERE:82
  ;;
forward) # a local socket accepts first
  check refused_ends_at_once ends_at_once "${AT[odd]}:81"
  check unreachable_ends_at_once ends_at_once "${AT[odd]}:82"
  ;;
esac

check down_100_mb moves get 100000000
check up_100_mb moves put 100000000
lose 1
check down_100_mb_with_1_percent_loss moves get 100000000
check up_100_mb_with_1_percent_loss moves put 100000000
check packets_were_lost test "$(lost)" -gt 200
no_loss

if [ "$VIA" != forward ]; then
  check traceroute_ends_at_the_service ends_at "$web"
  check traceroute_by_icmp_ends_at_the_service ends_at "$web" -I
  check traceroute_by_tcp_ends_at_the_service ends_at "$web" -T -p 80
  check traceroute_v6_ends_at_the_service ends_at "$web6" -6
fi

if [ "$VIA" = tunnel ]; then
  check ping_when_the_backend_is_up pings
  stop nginx
  check ping_is_unreachable_when_the_backend_is_down wait_for 5 ping_unreachable
  check connect_is_refused_when_the_backend_is_down connect_refused_soon
  nginx_again
  check ping_when_the_backend_is_up_again wait_for 5 pings
  check web_when_the_backend_is_up_again page "$web"
fi
exit "${FAILED:-0}"
