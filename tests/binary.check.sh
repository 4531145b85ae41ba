#!/bin/sh
# binary.check.sh - what the finished binary promises: nothing but libc beside
# it, and no build of wolfSSL that writes secrets to files.
ztna=${ZTNA:-build/ztna}
case $ztna in *san-*) echo "skip binary_needs_only_libc a sanitizer build"; exit 0 ;; esac
foreign=$(ldd "$ztna" | awk '{ print $1 }' | grep -vE '^(linux-vdso|libm|libc|libpthread|libdl|librt|/lib(64)?/ld-linux|ld-linux)')
if [ -z "$foreign" ]; then echo "ok binary_needs_only_libc"; else
  echo "not ok binary_needs_only_libc"; echo "$foreign" | sed 's/^/# needs /'; fi
if strings -a "$ztna" 2>/dev/null | grep -qE 'sslkeylog|SSLKEYLOGFILE'; then
  echo "not ok no_secret_is_logged_by_the_tls_library"; else
  echo "ok no_secret_is_logged_by_the_tls_library"; fi
