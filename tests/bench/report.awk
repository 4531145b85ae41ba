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

function goal(name, op, limit) {
  if (!(name in values)) return
  goals[name] = op " " limit
  met[name] = op == "<=" ? values[name] + 0 <= limit : values[name] + 0 >= limit
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
  printf "%-34s %14s %-10s %-9s %s\n", "measured", "value", "unit", "goal", ""
  printf "{" >json
  for (i = 1; i <= n; i++) {
    k = names[i]
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
}
