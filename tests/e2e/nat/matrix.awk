# matrix.awk - runs of matrix.sh, a line of name=value each, as a table, as
# results for run.sh and, into the file `json`, as JSON. With expect.awk.

function share(pair, q,    i, j, x, n, v) { # the q-th part of sorted times
  n = split(times[pair], v, " ")
  if (!n) return -1
  for (i = 2; i <= n; i++) {
    x = v[i] + 0
    for (j = i - 1; j > 0 && v[j] + 0 > x; j--) v[j + 1] = v[j]
    v[j + 1] = x
  }
  i = int(q * n)
  return v[i < q * n ? i + 1 : i ? i : 1] + 0
}
function as_ms(n) { return n < 0 ? "-" : n }
function as_json(n) { return n < 0 ? "null" : n }
function in_words() {
  if (want == "relayed") return "relayed"
  return sprintf("direct %d%% p50 %d p95 %d", min_share, max_p50, max_p95)
}
# So many of n runs may fail: one of three, too, where 5 % may.
function misses(n,    m) {
  m = n * (100 - min_share) / 100
  return m > int(m) ? int(m) + 1 : m
}
# What is wrong with it; "" when it is as it must be.
function fault(pair) {
  if (none[pair]) return "no link"
  if (lying[pair]) return "says direct, packets do not"
  if (want == "relayed") {
    if (n_direct[pair]) return "" # better than that
    return late[pair] ? "not settled in 10 s" : ""
  }
  if (n[pair] - n_direct[pair] > misses(n[pair])) return "not direct"
  if (share(pair, 0.5) > max_p50 || share(pair, 0.95) > max_p95) return "slow"
  if (pair == "same-lan" && far[pair]) return "not over host addresses"
  return ""
}

function as_object(p, bad) {
  return sprintf("{\"pair\": \"%s\", \"runs\": %d, \"direct\": %d, \"p50_ms\": %s," \
    " \"p95_ms\": %s, \"max_ms\": %s, \"lost\": %d, \"why\": \"%s\"," \
    " \"expected\": \"%s\", \"ok\": %s}", p, n[p], n_direct[p], as_json(share(p, 0.5)),
    as_json(share(p, 0.95)), as_json(share(p, 1)), lost[p], why[p], in_words(),
    bad == "" ? "true" : "false")
}

{
  delete f
  for (i = 1; i <= NF; i++) {
    at = index($i, "=")
    f[substr($i, 1, at - 1)] = substr($i, at + 1)
  }
  p = f["pair"]
  if (!(p in n)) order[++n_pairs] = p
  n[p]++
  if (f["result"] == "direct" && f["proved"] == "no") {
    lying[p]++
    f["result"] = "unproved"
  }
  if (f["result"] == "direct") {
    n_direct[p]++
    times[p] = times[p] " " f["ms"]
    if (f["remote"] !~ /^10\.1\.0\./) far[p]++
  } else {
    if (f["result"] == "none") none[p]++
    if (f["settled_ms"] + 0 < 0 || f["settled_ms"] + 0 > 10000) late[p]++
    why[p] = f["why"]
  }
  lost[p] += f["lost"]
}

END {
  printf "%-37s %4s %6s %5s %5s %5s %5s  %-27s %s\n", "pair", "runs", "direct",
    "p50", "p95", "max", "lost", "expected", "verdict"
  if (json) printf "[" >json
  for (k = 1; k <= n_pairs; k++) {
    p = order[k]
    split(p, side, ":")
    expect(side[1], side[2])
    bad = fault(p)
    verdict = bad == "" ? "ok" : "FAIL " bad
    if (why[p] && why[p] != "-") verdict = verdict " (" why[p] ")"
    printf "%-37s %4d %6d %5s %5s %5s %5d  %-27s %s\n", p, n[p], n_direct[p],
      as_ms(share(p, 0.5)), as_ms(share(p, 0.95)), as_ms(share(p, 1)), lost[p],
      in_words(), verdict
    if (json) printf "%s%s", (k > 1) ? ",\n " : "", as_object(p, bad) >json
    n_bad += bad != ""
    results = results (bad == "" ? "ok" : "not ok") " pair_is_as_expected: " p "\n"
  }
  if (json) print "]" >json
  printf "\n%s", results
  exit n_bad > 0
}
