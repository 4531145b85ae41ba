# router.sh - what a router of each class does, as nftables rules. Interfaces of
# every router: wan (outside) and lan* (inside). Real packets, real conntrack:
#
# Linux' NAT maps endpoint-independently as long as a socket's mapping fits and
# is free (find_appropriate_src), so these classes differ in what they let in
# and in how they number. Filtering by less than address and port is what
# conntrack lacks; two tables that outgoing packets fill make up for it:
#
#   cone   mapped port -> inner address and port    where a stranger's packet goes
#   met    outer address, mapped port               whom the inner host has written to
#
# A stranger's packet that no rule translates is for the router itself, and is
# dropped before conntrack remembers it; input-accept is the class that does not.

# How new mappings are numbered: statements behind `oifname wan`.
number_preserving() { echo "snat to $1"; }
number_anew() { echo "meta l4proto udp snat to $1:10000-29999"; }
# numgen's numbers are in the machine's byte order, a port is not: by a table.
number_sequential() {
  local first=$((10000 + RANDOM % 20000))
  printf 'meta l4proto udp snat to %s:numgen inc mod 8192 map { 0 : %d' "$1" $first
  seq 8191 | awk -v first=$first '{ printf ", %d : %d", $1, first + $1 }'
  printf ' }\n'
}
number_random() { echo "meta l4proto udp masquerade random,fully-random"; }

# Who outside may use a mapping: statements of prerouting, nat.
filter_by_both() { :; }
filter_by_nothing() { echo "dnat to udp dport map @cone"; }
filter_by_address() { echo "ip saddr . udp dport @met dnat to udp dport map @cone"; }

# nat_rules ADDRESS NUMBERING FILTERING [input-accept | hairpin]
nat_rules() {
  local in='iifname "wan" meta l4proto udp ct state new drop' from='iifname "wan"'
  local loop= loop_learn=
  [ "${4:-}" = input-accept ] && in=
  if [ "${4:-}" = hairpin ]; then
    from=
    loop="iifname \"lan*\" oifname \"lan*\" ct status dnat snat to $1"
    loop_learn="iifname \"lan*\" oifname \"lan*\" ct status dnat jump note"
  fi
  cat <<END
table ip nat {
  map cone {
    type inet_service : ipv4_addr . inet_service
    flags dynamic, timeout
    timeout 2m
    size 65535
  }
  set met {
    type ipv4_addr . inet_service
    flags dynamic, timeout
    timeout 2m
    size 65535
  }
  chain input {
    type filter hook input priority filter
    $in
  }
  chain forward {
    type filter hook forward priority filter
    iifname "wan" ct state new ct status & dnat == 0 drop
    iifname "lan*" oifname "lan*" ct state new ct status & dnat == 0 drop
  }
  chain prerouting {
    type nat hook prerouting priority dstnat
    $from ip daddr $1 $(filter_"$3")
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "wan" $(number_"$2" "$1")
    oifname "wan" snat to $1
    $loop
  }
  chain note {
    update @cone { udp sport : ct original ip saddr . ct original proto-src }
    update @met { ip daddr . udp sport }
  }
  chain learn {
    type filter hook postrouting priority srcnat + 10
    meta l4proto != udp return
    ct direction reply return
    oifname "wan" jump note
    $loop_learn
  }
}
END
}

# Only answers come in; no translation. Both families.
firewall_rules() {
  cat <<END
table inet firewall {
  chain forward {
    type filter hook forward priority filter
    iifname "wan" icmpv6 type { packet-too-big, time-exceeded } accept
    iifname "wan" ct state new drop
  }
  chain input {
    type filter hook input priority filter
    iifname "wan" meta l4proto udp ct state new drop
  }
}
END
}

# UDP leaves only to these: a condition for packets that may.
only_rules() {
  cat <<END
table inet only {
  chain forward {
    type filter hook forward priority filter - 5
    oifname "wan" meta l4proto udp $1 accept
    oifname "wan" meta l4proto udp counter drop
  }
}
END
}

# What miniupnpd fills, by the names of upnp_conf.
upnp_rules() {
  cat <<END
table inet upnp {
  chain forward { type filter hook forward priority filter - 5; jump upnp; }
  chain prerouting { type nat hook prerouting priority dstnat - 5; jump upnp_dnat; }
  chain postrouting { type nat hook postrouting priority srcnat - 5; jump upnp_snat; }
  chain upnp { }
  chain upnp_dnat { }
  chain upnp_snat { }
}
END
}
upnp_conf() { # INNER-PREFIX
  printf '%s\n' ext_ifname=wan listening_ip=lan enable_upnp=yes enable_natpmp=yes \
    secure_mode=yes uuid=5c0c0f3a-8f5e-4d8b-9d3b-0a4a3f1f2b17 lease_file= \
    upnp_table_name=upnp upnp_nat_table_name=upnp upnp_forward_chain=upnp \
    upnp_nat_chain=upnp_dnat upnp_nat_postrouting_chain=upnp_snat \
    "allow 1024-65535 $1 1024-65535" "deny 0-65535 0.0.0.0/0 0-65535"
}

CLASSES="public firewall full-cone full-cone-np addr-restricted addr-restricted-np
  port-restricted port-restricted-np input-accept sym-seq sym-random cgn cgn-pr
  udp-relay-only udp-443 v6-firewall short-timeouts upnp"
# Both hosts behind one router: a name for the pair.
SHARED="same-lan hairpin no-hairpin"

# router_rules CLASS ADDRESS: of the router nearest to the host.
router_rules() {
  case $1 in
  public) ;;
  firewall | v6-firewall) firewall_rules ;;
  full-cone | no-hairpin) nat_rules "$2" preserving by_nothing ;;
  full-cone-np) nat_rules "$2" anew by_nothing ;;
  hairpin) nat_rules "$2" preserving by_nothing hairpin ;;
  addr-restricted) nat_rules "$2" preserving by_address ;;
  addr-restricted-np) nat_rules "$2" anew by_address ;;
  port-restricted | short-timeouts | same-lan | cgn | cgn-pr)
    nat_rules "$2" preserving by_both
    ;;
  port-restricted-np) nat_rules "$2" anew by_both ;;
  input-accept) nat_rules "$2" preserving by_both input-accept ;;
  sym-seq) nat_rules "$2" sequential by_both ;;
  sym-random) nat_rules "$2" random by_both ;;
  upnp) nat_rules "$2" random by_both && upnp_rules ;;
  udp-relay-only)
    nat_rules "$2" preserving by_both &&
      only_rules "ip daddr { $RELAY_IPS } udp dport 4433"
    ;;
  udp-443) nat_rules "$2" preserving by_both && only_rules "udp dport 443" ;;
  *) echo "no such class: $1" >&2 && return 1 ;;
  esac
}

# carrier_rules CLASS ADDRESS: of the one behind it, where there is one
# (RFC 6888 asks carriers for what the first does).
carrier_rules() {
  case $1 in
  cgn) nat_rules "$2" anew by_nothing ;;
  cgn-pr) nat_rules "$2" anew by_both ;;
  *) return 1 ;;
  esac
}

# class_words CLASS: what a host sees of its routers, as tool_nat_check classify
# says it: mapping, filtering, allocation, what becomes of a peer's early probe, of
# one behind a low-TTL opener of ours, hairpin.
EI=endpoint-independent AD=address-dependent APD=address-port-dependent
class_words() {
  case $1 in
  public) echo none $EI preserving comes-in comes-in yes ;;
  firewall | v6-firewall) echo none $APD preserving is-dropped comes-in yes ;;
  full-cone | no-hairpin) echo $EI $EI preserving comes-in comes-in no ;;
  full-cone-np) echo $EI $EI random comes-in comes-in no ;;
  hairpin) echo $EI $EI preserving comes-in comes-in yes ;;
  addr-restricted) echo $EI $AD preserving is-dropped comes-in no ;;
  addr-restricted-np) echo $EI $AD random is-dropped comes-in no ;;
  port-restricted | same-lan) echo $EI $APD preserving is-dropped comes-in no ;;
  port-restricted-np) echo $EI $APD random is-dropped comes-in no ;;
  input-accept) echo $EI $APD preserving moves-the-mapping comes-in no ;;
  sym-seq) echo $APD $APD sequential moves-the-mapping moves-the-mapping no ;;
  sym-random | upnp) echo $APD $APD random moves-the-mapping moves-the-mapping no ;;
  cgn) echo $EI $APD random is-dropped comes-in no ;;
  cgn-pr) echo $EI $APD random is-dropped is-dropped no ;; # dies before the carrier
  esac
}
