#!/bin/sh
# test-deps.sh SET... - the servers and clients that tests talk to, from Debian.
#
#   check   what `make check` wants     long   and `make check-long`
#   bench   whom `make bench` compares with
#
# Quick when all is there. Only root on a machine with apt installs; elsewhere
# it says what is missing, and the tests that need it are skipped. No package
# may start anything here: invoke-rc.d is refused meanwhile, and PostgreSQL makes
# no cluster. Never fails: what could not be had is missing, and said.
set -u
cd "$(dirname "$0")/.." || exit 0
PATH=$PATH:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
log=build/deps/log/test-deps
policy=/usr/sbin/policy-rc.d
pg_conf=/etc/postgresql-common/createcluster.conf

say() { echo "test-deps: $*"; }
has() { command -v "$1" >/dev/null 2>&1; }
has_postgres() {
  has initdb && has postgres || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

# Prints the packages that are missing, each found by what it provides.
missing() {
  case $1 in
  check)
    has nginx || echo nginx-light
    has dropbear && has dbclient && has dropbearkey || echo dropbear-bin
    has_postgres || echo postgresql
    has psql || echo postgresql-client
    has dnsmasq || echo dnsmasq-base
    has dig || echo bind9-dnsutils
    has curl || echo curl
    has openssl || echo openssl
    has traceroute || echo traceroute
    has iperf3 || echo iperf3
    has conntrack || echo conntrack
    has tcpdump || echo tcpdump
    has turnutils_natdiscovery || echo coturn
    has miniupnpd || echo miniupnpd-nftables
    ;;
  long)
    missing check
    has wrk || echo wrk
    ;;
  bench)
    has haproxy || echo haproxy
    has wireguard-go || echo wireguard-go
    has wg || echo wireguard-tools
    has nebula && has nebula-cert || echo nebula
    ;;
  *) echo "test-deps: no set '$1'" >&2 ;;
  esac
}

one_line() { tr '\n' ' ' | sed 's/ $//'; }

apt_install() {
  # shellcheck disable=SC2086
  timeout 300 apt-get -qq -y -o Acquire::Retries=1 -o Acquire::http::Timeout=15 \
    -o DPkg::Lock::Timeout=120 install --no-install-recommends $1 >>"$log" 2>&1
}

# Refused by a policy of ours, unless the machine has one that refuses already.
made_policy=
refuse_starts() {
  if [ -e $policy ]; then
    $policy nginx start >/dev/null 2>&1
    [ $? = 101 ] && return
    say "$policy lets packages start services: nothing is installed"
    return 1
  fi
  printf '#!/bin/sh\n# by ztna packaging/test-deps.sh, while it installs\nexit 101\n' \
    >$policy && chmod 755 $policy && made_policy=1
}
# Until our packages are in, as the administrator would write it.
no_cluster() {
  case $1 in *postgresql*) ;; *) return ;; esac
  [ -f $pg_conf ] || apt_install postgresql-common || return
  cp -p $pg_conf $pg_conf.ztna &&
    sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' $pg_conf
}
restore() {
  [ -z "$made_policy" ] || rm -f $policy
  [ ! -f $pg_conf.ztna ] || mv $pg_conf.ztna $pg_conf
}

install_all() {
  mkdir -p "${log%/*}"
  trap restore EXIT
  trap 'exit 1' INT TERM HUP
  if grep -qs 'by ztna packaging/test-deps.sh' $policy; then
    rm -f $policy # of a run that was killed
  fi
  refuse_starts || return
  timeout 120 apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=15 \
    update >"$log" 2>&1 || say "apt-get update failed, going on"
  no_cluster "$1"
  apt_install "$1" && return
  for p in $1; do # one by one: a package that is nowhere costs only itself
    apt_install "$p" || say "no $p, see $log: tests that need it are skipped"
  done
}

want=$(for set in "$@"; do missing "$set"; done | sort -u | one_line)
[ -n "$want" ] || exit 0
if ! has apt-get; then
  say "tests that need these are skipped (as Debian calls them): $want"
elif [ "$(id -u)" != 0 ]; then
  say "some tests are skipped until root runs: packaging/test-deps.sh $*"
  say "that installs $want"
else
  say "apt-get install $want"
  install_all "$want"
fi
exit 0
