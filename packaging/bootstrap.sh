#!/bin/sh
# bootstrap.sh - put the libraries ztna is linked with into build/deps.
#
# `make` calls this when build/deps/.stamp is missing or older than this file.
# It is quick when all is there, and each library is built again only when its
# recipe below changed.  What is taken from where, and why: DEPENDENCIES.md.
#
#   ZTNA_TARBALLS=DIR   take archives found there before asking apt
#   CC, MAKE            as in the Makefile
#
# Nothing of the system's apt configuration is touched: newer suites are read
# through a private one, made from the machine's own Debian entry and checked
# against the same keys.
set -eu

if [ -n "${ZTNA_TARBALLS:-}" ]; then
  ZTNA_TARBALLS=$(cd "$ZTNA_TARBALLS" && pwd)
fi
cd "$(dirname "$0")/.."
root=$PWD
deps=$root/build/deps
src=$deps/src   # downloaded archives
work=$deps/work # unpacked and built there, removed afterwards
log=$deps/log
CC=${CC:-gcc}
MAKE=${MAKE:-make}
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
export CC LC_ALL=C DEBIAN_FRONTEND=noninteractive
unset MAKEFLAGS MFLAGS MAKELEVEL CFLAGS LDFLAGS CDPATH || true

wolfssl_floor=5.9.2
ngtcp2_floor=1.24.0
nghttp3_floor=1.12 # 1.17 where it can be had: it is asked for newest first
microhttpd_floor=0.9.75
lwip_floor=2.2.1 # src/stack leans on its insides: the oldest, as tried

say() { echo "bootstrap: $*"; }
die() {
  echo "bootstrap: $*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }
has_header() { echo "#include <$1>" | $CC -E -x c - >/dev/null 2>&1; }
has_archive() { test -f "$($CC -print-file-name="$1")"; }

# at_least FLOOR VERSION
at_least() {
  test "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1"
}

# --- the system's own packages ------------------------------------------------

# Prints the packages that are missing, each found by what it provides, so the
# same test works where there is no dpkg.
missing_for_build() {
  has make || echo make
  has autoreconf || echo autoconf
  has automake || echo automake
  has libtoolize || echo libtool
  has pkg-config || echo pkg-config
  has xz || echo xz-utils
  has nm || echo binutils
  has_header stdlib.h || echo libc6-dev
  has_header uv.h && has_archive libuv_a.a || echo libuv1-dev
  has_header jansson.h && has_archive libjansson.a || echo libjansson-dev
  has_header natpmp.h && has_archive libnatpmp.a || echo libnatpmp-dev
  has_header miniupnpc/miniupnpc.h && has_archive libminiupnpc.a ||
    echo libminiupnpc-dev
  test "$(uname)" != Linux ||
    { has_header seccomp.h && has_archive libseccomp.a; } || echo libseccomp-dev
}

# Used by tests only: without them those tests are skipped.
missing_for_tests() {
  echo '#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>' | $CC -E -x c - >/dev/null 2>&1 || echo libcmocka-dev
  PATH=$PATH:/usr/sbin:/sbin
  has ip || echo iproute2
  has nft || echo nftables
  has ping || echo iputils-ping
  has openssl || echo openssl
  has dig || echo bind9-dnsutils
  has dnsmasq || echo dnsmasq-base
  has tcpdump || echo tcpdump
}

one_line() { tr '\n' ' ' | sed 's/ $//'; }

install_packages() {
  has "$CC" || die "no C compiler '$CC': as root run: apt-get install gcc"
  need=$(missing_for_build | one_line)
  want=$(missing_for_tests | one_line)
  test -n "$need$want" || return 0
  if ! has apt-get; then
    test -z "$need" || die "missing, as Debian calls it: $need"
    say "without $want some tests are skipped"
    return 0
  fi
  if [ "$(id -u)" != 0 ]; then
    cmd="apt-get install --no-install-recommends $need${need:+ }$want"
    test -z "$need" || die "as root run: apt-get update && $cmd"
    say "some tests are skipped until root runs: $cmd"
    return 0
  fi
  say "apt-get install $need${need:+ }$want"
  apt-get -qq update >>"$log/apt" 2>&1 || say "apt-get update failed, going on"
  # shellcheck disable=SC2086
  apt_install $need $want && return 0
  # shellcheck disable=SC2086
  apt_install $need || {
    tail -n 20 "$log/apt" >&2
    die "could not install: $need"
  }
  for p in $want; do
    apt_install "$p" || say "no $p: tests that need it are skipped"
  done
}

apt_install() {
  test $# -gt 0 || return 0
  apt-get -qq -y install --no-install-recommends "$@" >>"$log/apt" 2>&1 \
    </dev/null
}

# --- archives of other suites -------------------------------------------------

# apt with a configuration of our own
xapt() {
  tool=$1
  shift
  "$tool" -qq -o Dir::Etc::sourcelist=/dev/null \
    -o Dir::Etc::sourceparts="$deps/apt/sources" \
    -o Dir::State::lists="$deps/apt/lists" -o Dir::Cache="$deps/apt/cache" \
    -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o APT::Sandbox::User=root "$@"
}

# Prints the URI of the Debian archive this machine installs from.
debian_uri() {
  apt-get indextargets --format '$(CREATED_BY)|$(ORIGIN)|$(LABEL)|$(REPO_URI)' \
    2>/dev/null | sed -n '/^Packages|Debian|Debian|/{s/.*|//p;q;}'
}

# signed_by URI: the key file the machine's own entry for URI names, if any
signed_by() {
  cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v uri="${1%/}" '
    function flush() { if (mine && key ~ /^\//) { print key; exit } }
    /^[ \t]*$/ { flush(); mine = 0; key = "" }
    { for (i = 2; i <= NF; i++) { u = $i; sub(/\/$/, "", u)
        if (tolower($1) == "uris:" && u == uri) mine = 1 } }
    tolower($1) == "signed-by:" { key = $2 }
    END { flush() }' | head -n 1 | grep . && return
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    grep -F "${1%/}" | sed -n '/^deb/s/.*signed-by=\([^] ]*\).*/\1/p' |
    head -n 1
}

apt_ready=
open_apt() {
  test -z "$apt_ready" || return 0
  has apt-get || die "no apt-get here: put the archives of" \
    "wolfssl >= $wolfssl_floor, ngtcp2 >= $ngtcp2_floor, nghttp3 >=" \
    "$nghttp3_floor, libmicrohttpd >= $microhttpd_floor, lwip >=" \
    "$lwip_floor into a directory and run: ZTNA_TARBALLS=DIR make"
  uri=$(debian_uri)
  if [ -z "$uri" ] && [ "$(id -u)" = 0 ]; then
    apt-get -qq update >>"$log/apt" 2>&1 || :
    uri=$(debian_uri)
  fi
  test -n "$uri" || die "apt knows no Debian archive: as root run apt-get" \
    "update, or give the archives with ZTNA_TARBALLS=DIR"
  key=$(signed_by "$uri")
  own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  mkdir -p "$deps/apt/sources" "$deps/apt/lists/partial" \
    "$deps/apt/cache/archives/partial"
  {
    echo "Types: deb deb-src"
    echo "URIs: $uri"
    echo "Suites:" $(printf '%s\n' "$own" bookworm trixie forky sid | sort -u)
    echo "Components: main"
    test -z "$key" || echo "Signed-By: $key"
  } >"$deps/apt/sources/debian.sources"
  say "reading the archive's lists"
  xapt apt-get update >"$log/apt-update" 2>&1 || {
    say "some lists could not be read, going on with the others:"
    grep '^[EW]:' "$log/apt-update" || :
  }
  apt_ready=yes
}

# archive_version NAME FILE: the upstream version a file name tells
archive_version() {
  basename "$2" | sed -n "s/^\(lib\)\{0,1\}$1\(-dev\)\{0,1\}[-_]v\{0,1\}\([0-9][0-9.]*\).*/\3/p" |
    sed 's/\.$//'
}

# local_archive NAME FLOOR GLOB...: newest match at or above the floor
local_archive() {
  name=$1 floor=$2
  shift 2
  for dir in "${ZTNA_TARBALLS:-}" "$src"; do
    test -n "$dir" || continue
    for glob in "$@"; do
      for f in "$dir"/$glob; do
        test -f "$f" || continue
        v=$(archive_version "$name" "$f")
        test -z "$v" || ! at_least "$floor" "$v" || echo "$v $f"
      done
    done | sort -V | tail -n 1 | cut -d' ' -f2- | grep . && return
  done
  return 1
}

# candidates FLOOR ORDER < versions: those that satisfy the floor
candidates() {
  sort -uV "$2" | while read -r v; do
    at_least "$1" "${v#*:}" && echo "$v" || :
  done
}

# get KIND PACKAGE FLOOR ORDER: leave an archive of PACKAGE, at or above
# FLOOR, in $src and print its path.  KIND is `source` or `binary`.  ORDER is
# -r for the newest first, or -s for the oldest (the one that was tried).
# A version which the mirror lists but does not have is passed over.
get() {
  kind=$1 package=$2 floor=$3 order=$4
  if [ "$kind" = source ]; then
    set -- "$package[-_]*.tar.*"
  else
    set -- "${package}_*.deb"
  fi
  local_archive "$package" "$floor" "$@" && return
  open_apt >&2
  if [ "$kind" = source ]; then
    found=$(xapt apt-cache showsrc "$package" 2>/dev/null |
      sed -n 's/^Version: //p' | sort -uV)
  else
    found=$(xapt apt-cache madison "$package" 2>/dev/null |
      grep -v Sources | cut -d'|' -f2 | tr -d ' ' | sort -uV)
  fi
  for v in $(printf '%s\n' "$found" | candidates "$floor" "$order"); do
    say "fetching $package $v" >&2
    if [ "$kind" = source ]; then
      (cd "$src" && xapt apt-get source --download-only --tar-only \
        "$package=$v") >>"$log/apt" 2>&1 || continue
    else
      (cd "$src" && xapt apt-get download "$package=$v") >>"$log/apt" 2>&1 ||
        continue
    fi
    local_archive "$package" "$floor" "$@" && return
  done
  die "$package: need $floor or newer; the archive offers:" \
    "$(printf '%s\n' "${found:-nothing}" | one_line)" \
    "(ZTNA_TARBALLS=DIR takes your own; what apt said: $log/apt)"
}

# --- building -----------------------------------------------------------------

# unpack NAME ARCHIVE: into $work/NAME
unpack() {
  rm -rf "${work:?}/$1"
  mkdir -p "$work/$1"
  tar -xf "$2" -C "$work/$1" --strip-components=1
}

# logged NAME COMMAND...: quiet unless it fails
logged() {
  what=$1
  shift
  "$@" >>"$log/$what" 2>&1 </dev/null || {
    tail -n 30 "$log/$what" >&2
    die "$what: '$1' failed, see $log/$what"
  }
}

# is_done NAME RECIPE, mark_done NAME RECIPE ARCHIVE
is_done() {
  test "$(head -n 1 "$deps/.$1" 2>/dev/null)" = "$2" &&
    { test -f "$deps/lib/lib${1#lib}.a" || test -d "$deps/$1"; }
}
mark_done() { # the second line is what VERSIONS shows
  v=$(archive_version "$1" "$3")
  printf '%s\n%s\n' "$2" "$1 ${v:-$(basename "$3")} ($(basename "$3"))" \
    >"$deps/.$1"
  say "$1 ready"
}

# The recipe's number changes with its text, so an edit here is a rebuild.
recipe() { echo "$*" | cksum | tr ' ' -; }

case $($CC -dumpmachine) in
x86_64*) wolfssl_asm="--enable-intelasm --enable-aesni --enable-sp-asm" ;;
aarch64* | arm64*) wolfssl_asm="--enable-armasm --enable-sp-asm" ;;
*) wolfssl_asm= ;;
esac
# No early data.  Session tickets are compiled in only because ngtcp2's helper
# does not link without; listeners switch them off.  AES-ECB is QUIC's header
# protection.
wolfssl_flags="--enable-static --disable-shared --enable-quic --enable-alpn
  --enable-sni --enable-ocsp --enable-ocspstapling --enable-crl $wolfssl_asm
  --enable-sp --enable-mlkem --enable-opensslextra --enable-certgen
  --enable-certreq --enable-certext --enable-keygen --enable-ed25519
  --enable-curve25519 --enable-chacha --enable-poly1305 --enable-harden
  --enable-aesctr --enable-aesecb --disable-ech --disable-examples
  --disable-crypttests --disable-benchmark --disable-earlydata
  --enable-session-ticket"
# WC_RNG_SEED_CB: the simulator seeds wolfSSL's generator, to replay a run.
wolfssl_cflags="-O2 -g -fPIC -DHAVE_AES_ECB -DWOLFSSL_AES_DIRECT
  -DWOLFSSL_ALT_NAMES -DWC_RNG_SEED_CB"
wolfssl_recipe=$(recipe $CC $wolfssl_floor $wolfssl_flags $wolfssl_cflags)

build_wolfssl() (
  is_done wolfssl "$wolfssl_recipe" && exit
  archive=$(get source wolfssl $wolfssl_floor -r)
  say "building wolfssl"
  unpack wolfssl "$archive"
  cd "$work/wolfssl"
  test -x configure || logged wolfssl ./autogen.sh
  # shellcheck disable=SC2086
  logged wolfssl ./configure --prefix="$deps" $wolfssl_flags \
    CFLAGS="$(echo $wolfssl_cflags)"
  logged wolfssl "$MAKE" -j"$jobs"
  logged wolfssl "$MAKE" install
  check_wolfssl
  mark_done wolfssl "$wolfssl_recipe" "$archive"
)

# A key-logging build writes every TLS secret to a file.  A build without
# assembly is right but 20 times slower, which nobody notices until much later.
check_wolfssl() {
  if grep -nE 'define[ 	]+(SHOW_SECRETS|WOLFSSL_SSLKEYLOGFILE|HAVE_SECRET_CALLBACK)' \
    "$deps/include/wolfssl/options.h"; then
    die "wolfssl: this build logs keys"
  fi
  nm "$deps/lib/libwolfssl.a" 2>/dev/null | grep -q ' T wc_SetSeed_Cb' ||
    die "wolfssl: no wc_SetSeed_Cb"
  grep -qw aes /proc/cpuinfo 2>/dev/null || return 0
  cat >"$work/aes.c" <<'END'
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <stdio.h>
#include <time.h>
static Aes aes;
static unsigned char buf[1200], iv[12], tag[16];
int main(void)
{
  double best = 1e9;
  wc_AesInit(&aes, NULL, INVALID_DEVID);
  wc_AesGcmSetKey(&aes, tag, 16);
  for (int run = 0; run < 200; run++) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 100; i++)
      wc_AesGcmEncrypt(&aes, buf, buf, sizeof buf, iv, 12, tag, 16, NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    double ns = ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / 100;
    if (ns < best)
      best = ns;
  }
  printf("%.0f\n", best);
  return 0;
}
END
  logged wolfssl "$CC" -O2 -o "$work/aes" -I"$deps/include" "$work/aes.c" \
    "$deps/lib/libwolfssl.a" -lm -lpthread
  ns=$("$work/aes")
  test "$ns" -le 600 ||
    die "wolfssl: AES-GCM takes $ns ns for 1200 bytes: built without assembly?"
  say "wolfssl: AES-GCM takes $ns ns for 1200 bytes"
}

ngtcp2_flags="--enable-lib-only --enable-static --disable-shared --with-wolfssl"
ngtcp2_recipe=$(recipe "$wolfssl_recipe" $ngtcp2_floor $ngtcp2_flags pools2 loss15 startup)

build_ngtcp2() (
  is_done ngtcp2 "$ngtcp2_recipe" && exit
  archive=$(get source ngtcp2 $ngtcp2_floor -r)
  say "building ngtcp2"
  unpack ngtcp2 "$archive"
  cd "$work/ngtcp2"
  # Three pools begin with 16 objects; 2 saves 4.4 KB per idle connection.
  n=$(grep -cE '_objalloc, 16, mem\)' lib/ngtcp2_conn.c || :)
  test "$n" = 3 ||
    die "ngtcp2: expected 3 pools of 16 in ngtcp2_conn.c, found $n"
  sed -i.orig 's/_objalloc, 16, mem)/_objalloc, 2, mem)/' lib/ngtcp2_conn.c
  # BBR takes 2 % of loss for a full queue: that leaves 25 of 200 Mbit/s on a
  # line that loses 5 %; 15 leaves 100, and beside CUBIC it changes little. And
  # it never leaves its start while a flow's window is smaller than what queues
  # take: not even when that loses a seventh (tests/sim/test_sim_rate.c).
  limited='bbr->rst->rs.is_app_limited'
  n=$(grep -cxE '#define NGTCP2_BBR_LOSS_THRESH_NUMER 2|  if \(bbr->full_bw_now .* '$limited'\) \{' \
    lib/ngtcp2_bbr.c || :)
  test "$n" = 2 || die "ngtcp2: ngtcp2_bbr.c is not as expected"
  sed -i.orig -e 's/\(NGTCP2_BBR_LOSS_THRESH_NUMER\) 2$/\1 15/' \
    -e "/full_bw_now/s/$limited) {/($limited \\&\\& !bbr->in_loss_recovery)) {/" \
    lib/ngtcp2_bbr.c
  # shellcheck disable=SC2086
  logged ngtcp2 ./configure --prefix="$deps" $ngtcp2_flags \
    CFLAGS="-O2 -g -fPIC" WOLFSSL_CFLAGS="-I$deps/include" \
    WOLFSSL_LIBS="-L$deps/lib -lwolfssl -lm -lpthread"
  logged ngtcp2 "$MAKE" -j"$jobs"
  logged ngtcp2 "$MAKE" install
  test -f "$deps/lib/libngtcp2_crypto_wolfssl.a" ||
    die "ngtcp2: configure did not take wolfSSL, see $log/ngtcp2"
  mark_done ngtcp2 "$ngtcp2_recipe" "$archive"
)

microhttpd_flags="--enable-static --disable-shared --disable-https
  --disable-dauth --disable-postprocessor --disable-doc --disable-examples
  --disable-curl"
microhttpd_recipe=$(recipe $CC $microhttpd_floor $microhttpd_flags)

build_microhttpd() (
  is_done libmicrohttpd "$microhttpd_recipe" && exit
  archive=$(get source libmicrohttpd $microhttpd_floor -s)
  say "building libmicrohttpd"
  unpack libmicrohttpd "$archive"
  cd "$work/libmicrohttpd"
  # shellcheck disable=SC2086
  logged libmicrohttpd ./configure --prefix="$deps" $microhttpd_flags \
    CFLAGS="-O2 -g -fPIC"
  logged libmicrohttpd "$MAKE" -j"$jobs"
  logged libmicrohttpd "$MAKE" install
  mark_done libmicrohttpd "$microhttpd_recipe" "$archive"
)

# Debian's libnghttp3.a is plain C that links on older releases too; a source
# archive of nghttp3 is taken when one was given.
nghttp3_recipe=$(recipe $CC $nghttp3_floor)

build_nghttp3() (
  is_done nghttp3 "$nghttp3_recipe" && exit
  if archive=$(local_archive nghttp3 $nghttp3_floor 'nghttp3-*.tar.*'); then
    say "building nghttp3"
    unpack nghttp3 "$archive"
    cd "$work/nghttp3"
    logged nghttp3 ./configure --prefix="$deps" --enable-lib-only \
      --enable-static --disable-shared CFLAGS="-O2 -g -fPIC"
    logged nghttp3 "$MAKE" -j"$jobs"
    logged nghttp3 "$MAKE" install
  else
    archive=$(get binary libnghttp3-dev $nghttp3_floor -r)
    rm -rf "$work/nghttp3"
    mkdir -p "$work/nghttp3" "$deps/include" "$deps/lib"
    logged nghttp3 dpkg-deb -x "$archive" "$work/nghttp3"
    cp -R "$work/nghttp3/usr/include/nghttp3" "$deps/include/"
    find "$work/nghttp3" -name libnghttp3.a -exec cp {} "$deps/lib/" \;
  fi
  mark_done nghttp3 "$nghttp3_recipe" "$archive"
)

# Only sources: the Makefile compiles the few files it needs, with our options.
lwip_recipe=$(recipe $lwip_floor src)

fetch_lwip() (
  is_done lwip "$lwip_recipe" && exit
  archive=$(get source lwip $lwip_floor -s)
  unpack lwip "$archive"
  test -f "$work/lwip/src/core/tcp_in.c" || die "lwip: no src/core/tcp_in.c"
  rm -rf "$deps/lwip"
  mv "$work/lwip/src" "$deps/lwip"
  mark_done lwip "$lwip_recipe" "$archive"
)

# The system's own static libraries, under the names the Makefile uses.
link_system_archives() {
  mkdir -p "$deps/lib"
  for pair in libuv_a.a:libuv.a libjansson.a:libjansson.a \
    libnatpmp.a:libnatpmp.a libminiupnpc.a:libminiupnpc.a; do
    ln -sf "$($CC -print-file-name="${pair%:*}")" "$deps/lib/${pair#*:}"
  done
  test "$(uname)" != Linux ||
    ln -sf "$($CC -print-file-name=libseccomp.a)" "$deps/lib/libseccomp.a"
}

# define_of NAME HEADER: the version a system header tells
define_of() {
  printf '#include <%s>\n@ %s\n' "$2" "$1" | $CC -E -P -x c - |
    sed -n 's/^@ *//p' | tr -d '" '
}

write_versions() {
  {
    for name in wolfssl ngtcp2 nghttp3 libmicrohttpd lwip; do
      sed -n 2p "$deps/.$name"
    done
    echo "libuv $(define_of 'UV_VERSION_MAJOR.UV_VERSION_MINOR.UV_VERSION_PATCH' uv.h) (system)"
    echo "jansson $(define_of JANSSON_VERSION jansson.h) (system)"
    echo "miniupnpc $(define_of MINIUPNPC_VERSION miniupnpc/miniupnpc.h) (system)"
    echo "natpmp (system; its header tells no version)"
    test "$(uname)" != Linux ||
      echo "libseccomp $(define_of 'SCMP_VER_MAJOR.SCMP_VER_MINOR.SCMP_VER_MICRO' seccomp.h) (system)"
    echo "compiler $($CC -dumpmachine) $($CC -dumpversion)"
  } >"$deps/VERSIONS"
}

# ------------------------------------------------------------------------------

mkdir -p "$deps" "$src" "$work" "$log"
exec 9>"$deps/.lock"
! has flock || flock 9 # two makes at once: the second waits, then finds it done
if [ "$deps/.stamp" -nt "$root/packaging/bootstrap.sh" ]; then
  exit 0
fi

rm -f "$log"/*
install_packages

# Fetch all first, in this shell, so that the lists are read only once.
want_archive() { is_done "$1" "$2" || get "$3" "$4" "$5" "$6" >/dev/null; }
want_archive wolfssl "$wolfssl_recipe" source wolfssl $wolfssl_floor -r
want_archive ngtcp2 "$ngtcp2_recipe" source ngtcp2 $ngtcp2_floor -r
want_archive libmicrohttpd "$microhttpd_recipe" \
  source libmicrohttpd $microhttpd_floor -s
want_archive lwip "$lwip_recipe" source lwip $lwip_floor -s
local_archive nghttp3 $nghttp3_floor 'nghttp3-*.tar.*' >/dev/null ||
  want_archive nghttp3 "$nghttp3_recipe" \
    binary libnghttp3-dev $nghttp3_floor -r

link_system_archives
build_microhttpd & # beside wolfSSL's configure, which keeps one core busy
other=$!
build_nghttp3
fetch_lwip
build_wolfssl
build_ngtcp2
wait $other || die "libmicrohttpd could not be built"
write_versions
rm -rf "$work" "$deps/apt"
touch "$deps/.stamp"
sed 's/^/bootstrap: with /' "$deps/VERSIONS"
