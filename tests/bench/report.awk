# report.awk - lines "name value unit" become the table and, in the file `json`,
# an object. Ratios are made here, of figures of this run.

function add(name, value, unit) {
  if (!(name in values)) names[++n] = name
  values[name] = value
  units[name] = unit
}

function ratio(name, a, b) {
  if (a in values && b in values && values[b] > 0)
    add(name, sprintf("%.2f", values[a] / values[b]), "x")
}

function minus(name, a, b) {
  if (a in values && b in values) add(name, values[a] - values[b], units[a])
}

function goal(name, op, limit) {
  if (!(name in values)) return
  goals[name] = op " " limit
  met[name] = op == "<=" ? values[name] + 0 <= limit : values[name] + 0 >= limit
}

# --- TCP: one line for each way, ratios only of ours

function tcp(way, what) {
  what = "tcp." way "." what
  return (what in values) ? values[what] : "-"
}

function tcp_goals(  d, n, p) {
  for (d = 1; d <= 2; d++)
    for (n = 1; n <= 8; n += 7) {
      p = (d == 1 ? "down" : "up") n
      ratio("ratio.tcp." p ".ztna/wireguard", "tcp.ztna." p ".speed", "tcp.wireguard." p ".speed")
      ratio("ratio.tcp." p ".ztna/wghub", "tcp.ztna." p ".speed", "tcp.wghub." p ".speed")
      goal("ratio.tcp." p ".ztna/wireguard", ">=", 6)
      goal("tcp.ztna." p ".sum.per_gb", "<=", 3)
      if (n == 1) minus("tcp.ztna." p ".rr.p99_above_idle", "tcp.ztna." p ".rr.p99", "tcp.ztna.idle.rr.p99")
      goal("tcp.ztna." p ".rr.p99_above_idle", "<=", 5000)
    }
  goal("tcp.ztna.crr1.p50", "<=", 600)
  goal("tcp.ztna.crr8.rate", ">=", 1000)
  goal("tcp.ztna.agent.rss", "<=", 16)
  goal("tcp.ztna.relay.rss", "<=", 16)
  goal("tcp.ztna.connector.rss", "<=", 16)
}

function tcp_line(way,  i, k, list) {
  printf "%-10s %6s %6s %6s %6s  %5s %5s %5s %5s  %6s %6s %6s  %6s %6s\n", way,
    tcp(way, "down1.speed"), tcp(way, "up1.speed"), tcp(way, "down8.speed"), tcp(way, "up8.speed"),
    tcp(way, "down1.sum.per_gb"), tcp(way, "up1.sum.per_gb"),
    tcp(way, "down1.machine.per_gb"), tcp(way, "up1.machine.per_gb"),
    tcp(way, "idle.rr.p99"), tcp(way, "down1.rr.p99"), tcp(way, "up1.rr.p99"),
    tcp(way, "crr1.p50"), tcp(way, "crr8.rate")
  for (i = 1; i <= n; i++) {
    k = names[i]
    if (index(k, "tcp." way ".") == 1 && k ~ /\.(down|up)1\.[a-z]+\.per_gb$/ &&
        k !~ /(sum|machine)\.per_gb$/) {
      split(k, part, ".")
      list = list sprintf(" %s/%s %s", part[4], part[3], values[k])
    }
  }
  if (list != "") print "           CPU s/GB:" list
}

function tcp_table(  i, part, seen, head) {
  for (i = 1; i <= n; i++) {
    if (names[i] !~ /^tcp\./) continue
    split(names[i], part, ".")
    if (part[2] in seen) continue
    seen[part[2]] = 1
    if (!head++) {
      printf "\n%-10s %27s  %23s  %20s  %13s\n", "TCP", "Mbit/s, 1 and 8 streams",
        "CPU s/GB: own, machine", "1 byte p99, us", "connect+1"
      printf "%-10s %6s %6s %6s %6s  %5s %5s %5s %5s  %6s %6s %6s  %6s %6s\n", "", "down1", "up1",
        "down8", "up8", "down", "up", "down", "up", "idle", "down", "up", "p50 us", "/s"
    }
    tcp_line(part[2])
  }
}

{ add($1, $2, $3) }

END {
  # By CPU: with two CPUs loader and sink share what the forwarder needs.
  ratio("ratio.bulk.gro/relay.cpu", "gro.bulk.cpu", "relay.bulk.cpu")
  ratio("ratio.bulk.relay/gro.rate", "relay.bulk.rate", "gro.bulk.rate")
  ratio("ratio.runs16.gro/relay.cpu", "gro.runs16.cpu", "relay.runs16.cpu")
  ratio("ratio.lone.relay/plain.cpu", "relay.lone.cpu", "plain.lone.cpu")
  ratio("ratio.lone.relay/plain.rate", "relay.lone.rate", "plain.lone.rate")
  ratio("ratio.paced.relay/plain.cpu", "relay.paced.cpu", "plain.paced.cpu")
  ratio("ratio.rtt.tunnel/raw.p50", "rtt.tunnel.p50", "rtt.raw.p50")
  goal("ratio.rtt.tunnel/raw.p50", "<=", 10.7) # 150 us where raw has 14
  goal("ratio.bulk.gro/relay.cpu", ">=", 0.6)
  goal("ratio.bulk.relay/gro.rate", ">=", 0.6)
  goal("ratio.lone.relay/plain.cpu", "<=", 1.25)
  goal("ratio.paced.relay/plain.cpu", "<=", 1.25)
  goal("rtt.tunnel.p50", "<=", 150)
  goal("agent.running.rss", "<=", 15)
  goal("connector.running.rss", "<=", 15)
  goal("relay.idle.rss", "<=", 20)
  goal("relay.connection.rss", "<=", 48)
  goal("alloc.up.agent", "<=", 1)
  goal("alloc.up.relay", "<=", 1)
  goal("alloc.up.connector", "<=", 1)
  goal("alloc.down.agent", "<=", 1)
  goal("alloc.down.relay", "<=", 1)
  goal("alloc.down.connector", "<=", 1)
  tcp_goals()
  printf "%-34s %14s %-10s %-9s %s\n", "measured", "value", "unit", "goal", ""
  printf "{" >json
  for (i = 1; i <= n; i++) {
    k = names[i]
    if (k !~ /^tcp\./ || k in met)
      printf "%-34s %14s %-10s %-9s %s\n", k, values[k], units[k], goals[k],
      ((k in met) ? (met[k] ? "met" : "MISSED") : "")
    more = ""
    if (k in met)
      more = sprintf(", \"goal\": \"%s\", \"met\": %s", goals[k],
                     (met[k] ? "true" : "false"))
    printf "%s\n  \"%s\": {\"value\": %s, \"unit\": \"%s\"%s}",
      (i > 1 ? "," : ""), k, values[k], units[k], more >json
  }
  printf "\n}\n" >json
  tcp_table()
}
