#!/bin/bash
# tcp_forward.sh (make check-long) - tcp.sh with an agent without root.
exec "$(dirname "$0")/tcp.sh" forward
