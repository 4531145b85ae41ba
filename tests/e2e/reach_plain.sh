#!/bin/sh
# reach_plain.sh - reach.sh with a TUN device packet by packet, as with a kernel
# that knows no offload.
ZTNA_AGENT_OFFLOAD=false exec "${0%/*}/reach.sh" 4
