#!/bin/sh
# Revocation measured a hundred times on each path (make check-long).
TRIALS=${TRIALS:-100} exec "$(dirname "$0")/revoke.sh" "$@"
