#!/bin/bash
# probe_long.sh - all of probe.sh (make check-long).
cd "$(dirname "$0")/../.." || exit 1
ALL=1 exec tests/e2e/probe.sh
