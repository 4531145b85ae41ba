#!/bin/bash
# revoke.sh - a permission is taken back under a thousand echoes per second and a
# download: by identity, by rule, by a list of revoked certificates; over the
# relay and on a direct path. How long does something still come? A few trials; a
# hundred of each path in revoke_long.sh.
#
#   TRIALS=20 tests/e2e/nat/revoke.sh [relayed|direct]
cd "$(dirname "$0")/../../.." || exit 1
. tests/e2e/nat/lab.sh
. tests/e2e/nat/revoke_lib.sh
lab_need xargs "$LINK" "$REVOKE"

if [ "${1:-}" = --one ]; then
  revocation_measured "$2" "${TRIALS:-3}"
  exit "${FAILED:-0}"
fi
KINDS=${*:-relayed direct}
echo $KINDS | xargs -n 1 -P 2 sh -c '"$0" --one "$2" >"$1/$2.out" 2>&1' \
  tests/e2e/nat/revoke.sh "$T" || FAILED=1
for k in $KINDS; do cat "$T/$k.out"; done
exit "${FAILED:-0}"
