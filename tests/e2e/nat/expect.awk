# expect.awk - what a pair of classes must reach, for matrix.awk: expect(a, b)
# sets want ("direct" or "relayed"), and for direct ones min_share (percent of
# runs), max_p50 and max_p95 (ms).

function class_kind(c) {
  if (c ~ /^udp-/) return "blocked"
  if (c == "v6-firewall") return "v6"
  if (c ~ /^(sym-random|sym-seq|upnp|input-accept)$/) return c
  if (c ~ /^cgn/) return "cgn"
  if (c ~ /^(public|full-cone|addr-restricted)/) return "open"
  return "closed" # lets in only who was written to, at that port
}
function direct(share, p50, p95) {
  want = "direct"; min_share = share; max_p50 = p50; max_p95 = p95
}
function either(a, b, kind) { return a == kind || b == kind }

function expect(a, b,    ka, kb) {
  want = "relayed"; min_share = max_p50 = max_p95 = 0
  if (a == "no-hairpin") return
  if (a == "same-lan") return direct(100, 100, 100)
  if (a == "hairpin") return direct(100, 200, 1000)
  ka = class_kind(a); kb = class_kind(b)
  if (either(ka, kb, "blocked")) return
  if (either(ka, kb, "v6")) {
    if (ka == kb) direct(100, 200, 200)
    return
  }
  if (either(ka, kb, "upnp")) return direct(100, 1000, 1000)
  if (either(ka, kb, "sym-random")) {
    if (ka == kb || either(ka, kb, "sym-seq")) return
    if (either(ka, kb, "open")) return direct(100, 200, 1000)
    return direct(95, 2000, 8000)
  }
  if (ka ~ /^(open|closed)$/ && kb ~ /^(open|closed)$/) return direct(100, 200, 1000)
  direct(100, 1000, 1000)
}
