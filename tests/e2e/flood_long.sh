#!/bin/bash
# flood_long.sh (make check-long) - flood.sh for ten seconds each, with clients of
# one identity as well, and first packets where Retry is always asked for.
cd "$(dirname "$0")/../.." || exit 1
export FLOOD_SECONDS=${FLOOD_SECONDS:-10}
INITIALS=5000 tests/e2e/flood.sh
code=$?
echo "# Retry always:"
RETRY=always ONLY_INITIALS=1 INITIALS=5000 tests/e2e/flood.sh | sed 's/^\(not ok\|ok\) /&always_/'
exit $((code | PIPESTATUS[0]))
