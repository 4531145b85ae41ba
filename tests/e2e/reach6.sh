#!/bin/sh
# reach6.sh - reach.sh with IPv6 outside the tunnel.
exec "${0%/*}/reach.sh" 6
