#!/bin/sh
# purity.check.sh - the core does no I/O: libztna.a may need nothing from the
# system but memory, text and calendar arithmetic. A new name here is a layer
# broken, not a name to add.
lib=${BUILD:-build}/libztna.a
allowed='^((__real_)?ngtcp2_|nghttp3_|wolfSSL_|wolfTLS|wc_|Base64_|json_|__ubsan|__asan|__stack_chk|__assert_fail|_GLOBAL_|__cpu_model|__(mem|str|snprintf|vsnprintf|sprintf)[a-z]*_chk|malloc$|calloc$|realloc$|free$|mem[a-z]+$|str[a-z]+$|v?snprintf$|qsort$|inet_[np]to[np]$|gmtime_r$|timegm$)'
[ -f "$lib" ] || { echo "not ok core_is_pure"; echo "# no $lib"; exit 1; }
defined=$(mktemp) needed=$(mktemp)
trap 'rm -f "$defined" "$needed"' EXIT
nm --defined-only "$lib" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u >"$defined"
nm -u "$lib" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u >"$needed"
[ -s "$needed" ] || { echo "not ok core_is_pure"; echo "# nm printed nothing"; exit 1; }
foreign=$(comm -13 "$defined" "$needed" | grep -vE "$allowed")
if [ -z "$foreign" ]; then
  echo "ok core_is_pure"
else
  echo "not ok core_is_pure"
  echo "$foreign" | sed 's/^/# the core needs /'
fi
