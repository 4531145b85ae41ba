# events.sh - what happens to the laboratory while programs run, and who sees it.
# Part of lab.sh:
#
#   cut_direct, heal_direct    between the two hosts; relays are not touched
#   flush_nat SIDE             its routers forget all mappings
#   new_address SIDE           its host gets another address, the router stays
#   unplug SIDE, plug SIDE     its host's cable
#   kill_relay 1|2             at once, without a word
#   counted                    packets in the middle

# --- packets on their way, counted behind every drop

count_up() {
  on core nft -f - <<END
table inet count {
  counter out { }
  counter back { }
  counter relayed { }
  chain forward {
    type filter hook forward priority filter + 20
    iifname "agent" oifname "conn" counter name out
    iifname "conn" oifname "agent" counter name back
    iifname "relay*" counter name relayed
  }
}
END
  is_shared "$CLASS_agent" || return 0
  local family
  for family in inet bridge; do # routed, or in one network
    on nat-agent nft -f - <<END
table $family count {
  counter out { }
  counter back { }
  chain forward {
    type filter hook forward priority filter + 20
    meta protocol != { ip, ip6 } accept
    iifname "lan" oifname { "lan1", "lan2" } counter name out
    iifname { "lan1", "lan2" } oifname "lan" counter name back
  }
}
END
  done
}
# counted: packets so far from agent to conn, back, and from relays to either
counted() {
  {
    on core nft list counters
    ! is_shared "$CLASS_agent" || on nat-agent nft list counters
  } | awk '/counter/ { name = $2 } /packets/ { n[name] += $2 }
    END { print n["out"] + 0, n["back"] + 0, n["relayed"] + 0 }'
}

# --- what happens to it

# The two hosts' packets to each other are lost; a relay's are not.
cut_direct() {
  on core nft -f - <<END
table inet cut {
  chain forward {
    type filter hook forward priority filter
    iifname "agent" oifname "conn" counter drop
    iifname "conn" oifname "agent" counter drop
  }
}
END
  is_shared "$CLASS_agent" || return 0
  on nat-agent nft -f - <<END
table inet cut {
  chain forward {
    type filter hook forward priority filter - 10
    iifname "lan*" oifname "lan*" counter drop
  }
}
table bridge cut {
  chain forward {
    type filter hook forward priority filter
    ether type { ip, ip6 } counter drop
  }
}
END
}
heal_direct() {
  on core nft delete table inet cut
  is_shared "$CLASS_agent" || return 0
  on nat-agent nft 'delete table inet cut; delete table bridge cut'
}
# flush_nat SIDE: its routers forget every mapping
flush_nat() {
  local r
  for r in "nat-$1" "isp-$1"; do
    has_host "$r" || continue
    on "$r" conntrack -F >/dev/null 2>&1
    on "$r" nft 'flush map ip nat cone; flush set ip nat met' 2>/dev/null
  done
  return 0
}
# new_address SIDE: its host leaves its address and gets the one 10 further on
new_address() {
  local old new
  old=$(ip -n "$N-$1" -o addr show dev eth0 scope global | awk '{ print $4; exit }')
  new=$(echo "$old" | awk -F/ '{ n = split($1, p, /[.:]/); last = p[n]
    print substr($1, 1, length($1) - length(last)) last + 10 "/" $2 }')
  ip -n "$N-$1" addr del "$old" dev eth0
  address "$1" eth0 "$new"
  eval "default_of $1 \$GATE_$1"
}
# unplug SIDE, plug SIDE: the host's cable
unplug() { ip -n "$N-$1" link set eth0 down; }
plug() {
  ip -n "$N-$1" link set eth0 up
  eval "default_of $1 \$GATE_$1"
}
kill_relay() { stop "relay${1#1}" KILL || true; }
