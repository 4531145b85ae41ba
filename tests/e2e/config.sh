#!/bin/sh
# config.sh - what people see of a wrong command line or configuration: one
# clear message with its place, and the right exit code.
ZTNA=${ZTNA:-build/ztna}
ZTNA=$(realpath "$ZTNA")
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
cd "$dir" || exit 1
failed=0

# expect NAME CODE MESSAGE COMMAND...: it ends with CODE, and its output is
# MESSAGE (which may end with * for more)
expect() {
  name=$1 code=$2 message=$3
  shift 3
  out=$("$@" 2>&1 </dev/null)
  rc=$?
  # shellcheck disable=SC2254
  case $out in
  $message) matches=yes ;;
  *) matches=no ;;
  esac
  if [ $rc = "$code" ] && [ $matches = yes ]; then
    echo "ok $name"
  else
    echo "not ok $name"
    echo "# exit code $rc, wanted $code; said:"
    echo "$out" | sed 's/^/#   /'
    failed=1
  fi
}

has() { "$ZTNA" --list | grep -qx "$1"; }

# identity CERT KEY CA: c.json with an agent of that identity
config() {
  cat >c.json <<END
{
  "identity": {"cert": "$1", "key": "$2", "ca": "$3"},
  "agent": {"relays": ["relay.example.org:4433"]}
}
END
}

# --- command line

expect no_command_shows_the_list 2 "ztna - *Usage: ztna COMMAND*" "$ZTNA"
expect an_unknown_command_suggests_the_nearest 2 \
  'ztna: unknown command "verison"; did you mean "version"?' "$ZTNA" verison
expect an_unknown_flag_suggests_the_nearest 2 \
  'ztna version: unknown flag --jsno; did you mean --json?*' \
  "$ZTNA" version --jsno
expect an_unexpected_argument_is_named 2 \
  'ztna version: unexpected argument "now"*' "$ZTNA" version now
expect a_missing_argument_is_told 2 'ztna check-config: an argument is missing*' \
  "$ZTNA" check-config
expect a_wrong_value_of_a_flag_is_told 2 '--http: want ip:port, got "x"' \
  "$ZTNA" status --http x
expect help_lists_commands 0 '*check-config*' "$ZTNA" help
expect help_tells_all_about_a_command 0 '*Exit codes: 0 done*' \
  "$ZTNA" help check-config
expect a_help_flag_is_the_same 0 "$("$ZTNA" help check-config)" \
  "$ZTNA" check-config --help
expect version_is_json_too 0 '{"schema":"ztna.version/1","version":"*' \
  "$ZTNA" version --json
ln -s "$ZTNA" ztna-version
expect a_link_named_after_a_command_is_it 0 "$("$ZTNA" version)" ./ztna-version
expect a_full_disk_is_no_success 1 'ztna: cannot write to stdout: *' \
  sh -c '"$0" version >/dev/full' "$ZTNA"

# --- configuration

cat >unknown.json <<END
{
  "agent": {
    "relais": ["relay.example.org:4433"],
    "mtu": "1280"
  }
}
END
expect all_mistakes_come_with_their_lines 3 '*unknown.json:2: agent: needs "relays"*
unknown.json:3: agent: unknown key "relais"; did you mean "relays"?
unknown.json:4: agent.mtu: want an integer from 1280 to 1500, got "1280"' \
  "$ZTNA" check-config unknown.json

printf '{\n  "agent": {},\n}\n' >syntax.json
expect syntax_errors_come_with_line_and_column 3 \
  'syntax.json:3: not valid JSON at column 1: *; remove the comma before it' \
  "$ZTNA" check-config syntax.json

expect a_missing_configuration_is_told 3 \
  'none.json: cannot be read: No such file or directory' \
  "$ZTNA" check-config none.json

config none.pem none.key none.ca
expect missing_files_are_told 3 \
  'c.json:2: identity.cert: want a readable file, got "none.pem": No such file or directory
c.json:2: identity.key: want a readable file, got "none.key": No such file or directory
c.json:2: identity.ca: want a readable file, got "none.ca": No such file or directory' \
  "$ZTNA" check-config c.json

echo "-----BEGIN CERTIFICATE-----" >a.pem
echo "-----BEGIN PRIVATE KEY-----" >a.key
chmod 640 a.key
config a.pem a.key a.pem
expect a_key_that_others_can_read_is_refused 3 \
  'c.json:2: identity.key: want a key that only its owner can read, got "a.key" with mode 0640; run: chmod 600 a.key' \
  "$ZTNA" check-config c.json

cat >policy.json <<END
{"groups": {"staff": ["spiffe://example.org/agent/*"]},
 "rules": [{"name": "web", "agents": ["@staff"], "services": ["web"],
            "protocols": ["tcp"], "ports": [80]}],
 "tests": [{"agent": "spiffe://example.org/agent/laptop-7", "service": "web",
            "protocol": "tcp", "port": 22, "expect": "allowed"}]}
END
expect a_policy_that_fails_its_tests_is_refused 3 'policy.json:4: tests[[]0]: failed: *' \
  "$ZTNA" check-config policy.json
sed -i 's/"allowed"/"port-not-allowed"/' policy.json
expect a_policy_that_passes_its_tests_is_fine 0 'policy.json: ok: policy' \
  "$ZTNA" check-config policy.json

if has agent; then
  expect a_role_does_not_start_with_a_wrong_configuration 3 'unknown.json:*' \
    "$ZTNA" agent --config unknown.json
else
  echo "skip a_role_does_not_start_with_a_wrong_configuration no agent yet"
fi
if has relay; then
  expect a_role_misses_its_section 3 \
    '*unknown.json: has no section "relay", which `ztna relay` needs; it has "agent"*' \
    "$ZTNA" relay --config unknown.json
else
  echo "skip a_role_misses_its_section no relay yet"
fi

if ! has cert; then
  for t in a_right_configuration_is_fine a_key_of_another_is_refused \
    a_certificate_of_another_role_is_refused; do
    echo "skip $t no cert yet"
  done
  exit $failed
fi
"$ZTNA" cert init --dir . --trust-domain example.org >/dev/null || failed=1
for name in one two; do
  "$ZTNA" cert issue --dir . --role agent --name $name >/dev/null || failed=1
done
"$ZTNA" cert issue --dir . --role connector --name c --service web \
  >/dev/null || failed=1
config agent-one.pem agent-one.key ca.pem
expect a_right_configuration_is_fine 0 'c.json: ok: agent' \
  "$ZTNA" check-config c.json
config agent-one.pem agent-two.key ca.pem
expect a_key_of_another_is_refused 3 \
  'c.json: identity: key: does not belong to cert' "$ZTNA" check-config c.json
config connector-c.pem connector-c.key ca.pem
expect a_certificate_of_another_role_is_refused 3 \
  'c.json: identity.cert: want a certificate of role agent, got spiffe://example.org/connector/c' \
  "$ZTNA" check-config c.json

# --- at start

"$ZTNA" cert issue --dir . --role relay --name r --ip 127.0.0.1 >/dev/null || failed=1
cat >shop.json <<END
{"identity": {"cert": "connector-c.pem", "key": "connector-c.key", "ca": "ca.pem"},
 "connector": {"relays": ["127.0.0.1:1"], "services": [
  {"id": "shop", "backend": "127.0.0.1:80", "protocol": "udp"}]}}
END
expect a_connector_serves_only_what_its_certificate_names 3 \
  'shop.json: connector.services?0?.id: the certificate does not name "shop"; issue one with: ztna cert issue --role connector --service shop *' \
  "$ZTNA" connector --config shop.json

# relay PORT HTTP: r.json
relay() {
  cat >r.json <<END
{"identity": {"cert": "relay-r.pem", "key": "relay-r.key", "ca": "ca.pem"},
 "state_dir": "state", "http": {"listen": "127.0.0.1:$2"},
 "relay": {"listen": ["127.0.0.1:$1"], "service_pool": ["10.100.0.0/24"],
  "agent_pool": ["100.64.0.0/16"]}}
END
}
port=$((20000 + $$ % 10000))
relay $port $((port + 1))
"$ZTNA" relay --config r.json >first.log 2>&1 &
first=$!
trap 'kill $first 2>/dev/null; rm -rf "$dir"' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  grep -q listening first.log && break
  sleep 0.1
done
relay $port $((port + 2))
expect a_udp_port_in_use_is_told 1 \
  "* err   udp: 127.0.0.1:$port is in use by another program; choose another port" \
  timeout 5 "$ZTNA" relay --config r.json
relay $((port + 3)) $((port + 1))
expect an_http_port_in_use_is_told 1 \
  "* err   http: 127.0.0.1:$((port + 1)) is in use by another program; choose another address for http.listen" \
  timeout 5 "$ZTNA" relay --config r.json
kill $first
wait $first

# As nobody, in a directory of theirs, with a copy that they can reach.
as_nobody=
if [ "$(id -u)" = 0 ]; then
  as_nobody="setpriv --reuid nobody --clear-groups --inh-caps=-all"
  cp "$ZTNA" ztna && chown -R nobody .
  $as_nobody true 2>/dev/null || as_nobody=no
else
  ln -s "$ZTNA" ztna
fi
config agent-one.pem agent-one.key ca.pem
relay 443 $((port + 1))
chmod a+r ./*.json
if [ "$as_nobody" = no ]; then
  echo "skip an_agent_without_rights_says_what_it_needs no setpriv"
elif [ ! -c /dev/net/tun ]; then
  echo "skip an_agent_without_rights_says_what_it_needs no /dev/net/tun"
else
  expect an_agent_without_rights_says_what_it_needs 1 \
    '* err   tun: may not *; run as root or give the program CAP_NET_ADMIN' \
    timeout 5 $as_nobody ./ztna agent --config c.json
fi
if [ "$as_nobody" = no ] ||
  [ "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null)" -le 443 ]; then
  echo "skip a_low_port_without_rights_says_what_it_needs not forbidden here"
else
  expect a_low_port_without_rights_says_what_it_needs 1 \
    '* err   udp: not allowed to use 127.0.0.1:443; ports below 1024 want root or CAP_NET_BIND_SERVICE' \
    timeout 5 $as_nobody ./ztna relay --config r.json
fi
exit $failed
