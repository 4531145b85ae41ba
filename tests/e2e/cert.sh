#!/bin/sh
# cert.sh - `ztna cert` as people use it, judged by openssl.
ZTNA=${ZTNA:-build/ztna}
case $ZTNA in /*) ;; *) ZTNA=$PWD/$ZTNA ;; esac
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM HUP
cd "$dir" || exit 1
failed=0

# check NAME COMMAND...: runs it in a shell of its own
check() {
  name=$1
  shift
  if "$@" >out 2>&1; then
    echo "ok $name"
  else
    echo "not ok $name"
    sed 's/^/# /' out
    failed=1
  fi
}

command -v openssl >/dev/null || { echo "skip cert openssl is missing"; exit 0; }

cert() { "$ZTNA" cert "$@"; }
# code CODE COMMAND...: it ends with that exit code
code() {
  want=$1
  shift
  "$@"
  got=$?
  test "$got" = "$want" || { echo "exit code $got, not $want"; return 1; }
}
# says WORDS COMMAND...: what it prints has the words
says() {
  words=$1
  shift
  "$@" >said 2>&1
  cat said
  grep -qF -- "$words" said
}
text() { openssl x509 -noout -text -in "$1"; }
mode() { test "$(stat -c %a "$1" 2>/dev/null || stat -f %Lp "$1")" = "$2"; }

init_makes_a_ca() {
  cert init --dir pki --trust-domain example.org &&
    mode pki 700 && mode pki/ca.key 600 && mode pki/ca.pem 644
}
ca_is_a_ca_for_openssl() {
  text pki/ca.pem >t &&
    grep -q 'CA:TRUE, pathlen:0' t && grep -q 'Certificate Sign, CRL Sign' t &&
    grep -q prime256v1 t && openssl verify -x509_strict -CAfile pki/ca.pem pki/ca.pem
}
key_belongs_to() {
  openssl pkey -in "$1.key" -pubout >a && openssl x509 -in "$1.pem" -pubkey -noout >b &&
    cmp a b
}
relay_is_issued() {
  cert issue --dir pki --role relay --name eu1 --dns relay.example.org \
    --dns relay2.example.org --ip 192.0.2.1 --ip 2001:db8::1 &&
    mode pki/relay-eu1.key 600 && key_belongs_to pki/relay-eu1
}
relay_has_its_names() {
  text pki/relay-eu1.pem >t &&
    grep -qF 'URI:spiffe://example.org/relay/eu1, DNS:relay.example.org, DNS:relay2.example.org, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1' t
}
relay_may_be_both_ends_of_tls() {
  grep -A1 'Key Usage: critical' t | grep -q 'Digital Signature$' &&
    grep -q 'TLS Web Server Authentication, TLS Web Client Authentication' t &&
    ! grep -q CA:TRUE t
}
connector_is_issued() {
  cert issue --dir pki --role connector --name home --service web-app --service echo &&
    text pki/connector-home.pem >t &&
    grep -qF 'URI:spiffe://example.org/connector/home, DNS:connector.web-app.ztna, DNS:connector.echo.ztna' t
}
agent_is_issued() {
  cert issue --dir pki --role agent --name laptop-7 --days 10 &&
    text pki/agent-laptop-7.pem >t && grep -q 'URI:spiffe://example.org/agent/laptop-7$' t
}
agent_may_be_limited() {
  cert issue --dir pki --role agent --name kiosk --service '*' &&
    text pki/agent-kiosk.pem | grep -qF 'DNS:agent.*.ztna'
}
openssl_verifies_all() {
  openssl verify -x509_strict -CAfile pki/ca.pem pki/*-*.pem &&
    openssl verify -x509_strict -purpose sslserver -CAfile pki/ca.pem pki/*-*.pem &&
    openssl verify -x509_strict -purpose sslclient -CAfile pki/ca.pem pki/*-*.pem
}
another_ca_does_not_verify() {
  cert init --dir pki2 --trust-domain example.org &&
    ! openssl verify -CAfile pki2/ca.pem pki/relay-eu1.pem
}
days_are_exact() {
  now=$(date +%s)
  end=$(date -d "$(openssl x509 -in pki/agent-laptop-7.pem -noout -enddate | cut -d= -f2)" +%s)
  start=$(date -d "$(openssl x509 -in pki/agent-laptop-7.pem -noout -startdate | cut -d= -f2)" +%s)
  left=$((end - now - 10 * 86400))
  echo "off by $left s, began $((now - start)) s ago"
  test $left -le 0 && test $left -gt -60 && test $start -lt $((now - 60))
}
nothing_is_overwritten() {
  cp -p pki/agent-laptop-7.key k && cp -p pki/agent-laptop-7.pem c &&
    says pki/agent-laptop-7.key code 1 cert issue --dir pki --role agent --name laptop-7 &&
    says pki/ca.key code 1 cert init --dir pki --trust-domain example.org &&
    cmp k pki/agent-laptop-7.key && cmp c pki/agent-laptop-7.pem
}
no_half_pair_is_left() {
  : >pki/agent-half.pem
  says pki/agent-half.pem code 1 cert issue --dir pki --role agent --name half || return
  test ! -e pki/agent-half.key && test ! -s pki/agent-half.pem &&
    ln -s nowhere pki/agent-link.pem &&
    code 1 cert issue --dir pki --role agent --name link &&
    test ! -e pki/agent-link.key && test ! -e pki/nowhere
}
leaf_ends_with_its_ca() {
  cert init --dir short --trust-domain example.org --days 5 &&
    says 'the CA ends on' cert issue --dir short --role agent --name a &&
    openssl x509 -in short/ca.pem -noout -enddate >a &&
    openssl x509 -in short/agent-a.pem -noout -enddate >b && cmp a b
}
other_cas_key_is_noticed() {
  mkdir mixed && cp pki/ca.pem mixed/ && cp pki2/ca.key mixed/ &&
    says 'not the private key' code 1 cert issue --dir mixed --role agent --name a &&
    test ! -e mixed/agent-a.pem && test ! -e mixed/agent-a.key
}
readable_ca_key_is_refused() {
  mkdir open && cp pki/ca.pem pki/ca.key open/ && chmod 644 open/ca.key &&
    says 'chmod 600' code 1 cert issue --dir open --role agent --name a
}
missing_ca_is_explained() {
  says 'ztna cert init' code 1 cert issue --dir nowhere --role agent --name a
}
role_must_fit() {
  says '--dns or --ip' code 2 cert issue --dir pki --role relay --name x &&
    says "--service '*'" code 2 cert issue --dir pki --role connector --name x &&
    says 'for connectors and agents' code 2 cert issue --dir pki --role relay --name x --ip 192.0.2.1 --service a &&
    says 'relay, connector, agent or admin' code 2 cert issue --dir pki --role king --name x &&
    says '--name' code 2 cert issue --dir pki --role agent --name ../x &&
    says '--service' code 2 cert issue --dir pki --role agent --name x --service 'Web App' &&
    says '--dns' code 2 cert issue --dir pki --role relay --name x --dns '*.example.org' &&
    says '--ip' code 2 cert issue --dir pki --role relay --name x --dns 192.0.2.1 &&
    says '--service' code 2 cert issue --dir pki --role relay --name x --dns connector.x.ztna &&
    says '--ip' code 2 cert issue --dir pki --role relay --name x --ip relay.example.org &&
    says '--days' code 2 cert issue --dir pki --role agent --name x --days 0 &&
    says 'example.org, not' code 2 cert issue --dir pki --trust-domain other.org --role agent --name x &&
    test ! -e pki/agent-x.key && test ! -e pki/relay-x.key
}
usage_is_explained() {
  code 2 cert && code 2 cert issu && says 'did you mean issue' code 2 cert issu &&
    says '--dir is missing' code 2 cert init --trust-domain example.org &&
    says '--trust-domain' code 2 cert init --dir new && test ! -e new &&
    says 'takes no --role' code 2 cert init --dir new --role relay &&
    says 'is missing' code 2 cert show &&
    says 'trust domain' code 2 cert init --dir new --trust-domain Example.org
}
show_says_it_in_words() {
  cert show pki/connector-home.pem >s && cat s &&
    grep -q 'spiffe://example.org/connector/home' s && grep -q 'serves *web-app, echo' s &&
    grep -qF "$(openssl x509 -in pki/connector-home.pem -noout -fingerprint -sha256 | cut -d= -f2)" s &&
    says 'signs for    example.org' cert show pki/ca.pem &&
    says 'any service' cert show pki/agent-kiosk.pem &&
    cert show pki/agent-laptop-7.pem | grep -E '\((9|10) days left\)'
}
show_says_it_in_json() {
  cert show pki/relay-eu1.pem --json >s && cat s &&
    grep -q '"schema": "ztna.cert/1"' s && grep -q '"role": "relay"' s &&
    grep -q '"2001:db8::1"' s && grep -qE '"days_left": 36[45]' s && grep -q '"valid_now": true' s
}
show_explains_other_files() {
  says 'private key' code 1 cert show pki/ca.key &&
    says 'no certificate' code 1 cert show s &&
    says 'No such file' code 1 cert show nowhere.pem
}
# Certificates by others: an RSA CA with a SPIFFE name, leaves of it.
foreign_certificates_are_read() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout f.key -out f.pem -days 30 -subj /CN=Other \
    -addext 'subjectAltName=URI:spiffe://other.org' &&
    says 'signs for    other.org' cert show f.pem &&
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout l.key -out l.csr -subj /CN=x &&
    printf 'subjectAltName=URI:spiffe://other.org/agent/x,DNS:agent.a.ztna\n' >ext &&
    openssl x509 -req -in l.csr -CA f.pem -CAkey f.key -CAcreateserial -days -1 -extfile ext -out l.pem &&
    says EXPIRED cert show l.pem && says 'may use      a' cert show l.pem &&
    printf 'subjectAltName=URI:spiffe://other.org/agent/x,URI:https://other.org\n' >ext &&
    openssl x509 -req -in l.csr -CA f.pem -CAkey f.key -days 3 -extfile ext -out l2.pem &&
    says 'names no ztna identity' code 1 cert show l2.pem &&
    printf 'subjectAltName=URI:spiffe://other.org/agent/x\nbasicConstraints=CA:TRUE\n' >ext &&
    openssl x509 -req -in l.csr -CA f.pem -CAkey f.key -days 3 -extfile ext -out l3.pem &&
    says 'authority    x' cert show l3.pem
}
foreign_ec_ca_issues() {
  mkdir ec && openssl ecparam -name prime256v1 -genkey -noout -out ec/ca.key && chmod 600 ec/ca.key &&
    openssl req -x509 -key ec/ca.key -out ec/ca.pem -days 30 -subj '/O=Some company/CN=Some CA' &&
    says 'give --trust-domain' code 2 cert issue --dir ec --role agent --name a &&
    cert issue --dir ec --trust-domain some.org --role agent --name a --days 3 &&
    openssl verify -CAfile ec/ca.pem ec/agent-a.pem
}
rsa_ca_is_refused_in_words() {
  mkdir rsa && cp f.pem rsa/ca.pem && cp f.key rsa/ca.key && chmod 600 rsa/ca.key &&
    says 'EC key' code 1 cert issue --dir rsa --role agent --name a && test ! -e rsa/agent-a.key
}
nothing_secret_is_printed() {
  cert init --dir quiet --trust-domain example.org >s 2>&1 &&
    cert issue --dir quiet --role agent --name a >>s 2>&1 || return
  for k in quiet/*.key; do
    if grep -qF "$(sed -n 2p "$k")" s; then return 1; fi
  done
}
serial() { openssl x509 -noout -serial -in "$1" | cut -d= -f2; }
# What openssl thinks of a certificate with this list beside its CA.
judged() { openssl verify -crl_check -x509_strict -CAfile "$1/ca.pem" -CRLfile "$1/crl.pem" "$2"; }
revoked_is_refused_by_openssl() {
  cert init --dir rev --trust-domain example.org &&
    for n in a b c; do cert issue --dir rev --role agent --name $n || return; done
  says 'Revoked spiffe://example.org/agent/a, serial' cert revoke --dir rev rev/agent-a.pem &&
    mode rev/crl.pem 644 && openssl crl -in rev/crl.pem -noout -CAfile rev/ca.pem &&
    openssl crl -in rev/crl.pem -noout -text >t && cat t && grep -q 'Version 2' t &&
    grep -q "Serial Number: $(serial rev/agent-a.pem)" t &&
    grep -A1 'CRL Number' t | grep -q ' 1$' && grep -q 'Authority Key Identifier' t &&
    says 'certificate revoked' code 2 judged rev rev/agent-a.pem && judged rev rev/agent-b.pem
}
revoked_by_serial_and_several_at_once() {
  cert revoke --dir rev "$(serial rev/agent-b.pem | sed 's/../&:/g; s/:$//')" rev/agent-c.pem --days 3 &&
    for n in a b c; do says 'certificate revoked' code 2 judged rev rev/agent-$n.pem || return; done
  openssl crl -in rev/crl.pem -noout -text >t && grep -A1 'CRL Number' t | grep -q ' 2$' &&
    end=$(date -d "$(openssl crl -in rev/crl.pem -noout -nextupdate | cut -d= -f2)" +%s) &&
    left=$((end - $(date +%s) - 3 * 86400)) && test $left -le 0 && test $left -gt -60
}
a_list_is_made_anew() {
  says '3 certificates' cert crl --dir rev && openssl crl -in rev/crl.pem -noout -text >t &&
    grep -A1 'CRL Number' t | grep -q ' 3$' && says 'certificate revoked' code 2 judged rev rev/agent-b.pem &&
    says 'Revoked since' cert revoke --dir rev rev/agent-a.pem &&
    test "$(grep -c '"serial"' rev/revoked.json)" = 3
}
nobody_is_revoked_by_an_empty_list() {
  says '0 certificates' cert crl --dir pki && openssl crl -in pki/crl.pem -noout -CAfile pki/ca.pem &&
    judged pki pki/relay-eu1.pem && rm pki/crl.pem pki/revoked.json
}
who_else_signed_is_not_revoked() {
  cert issue --dir pki2 --role agent --name x && cp rev/revoked.json k && cp rev/crl.pem l &&
    says 'rev/ca.pem has not signed it' code 1 cert revoke --dir rev pki2/agent-x.pem &&
    says "a CA's certificate" code 1 cert revoke --dir rev rev/ca.pem &&
    says 'no such file, and no serial' code 1 cert revoke --dir rev nowhere.pem &&
    says 'no certificate' code 1 cert revoke --dir rev rev/agent-a.key &&
    says 'is missing' code 2 cert revoke --dir rev && says '--dir' code 2 cert revoke rev/agent-a.pem &&
    says 'did you mean revoke' code 2 cert revok && says 'takes no --name' code 2 cert crl --dir rev --name x &&
    cmp k rev/revoked.json && cmp l rev/crl.pem
}
a_damaged_book_loses_nobody() {
  cp l rev/crl.pem && sed -i 's/"serial": "/&x/' rev/revoked.json &&
    says 'rev/revoked.json:5' code 1 cert revoke --dir rev rev/agent-a.pem && cmp l rev/crl.pem
  cp k rev/revoked.json
}
show_tells_whom_a_list_names() {
  cert show rev/crl.pem >s && cat s && grep -q 'list of      ztna CA example.org' s &&
    grep -q 'revoked      3 certificates' s && grep -qi "$(serial rev/agent-c.pem) since" s &&
    openssl crl -in rev/crl.pem -outform DER -out der && cert show der >u &&
    sed -i 's/ (.*left)//' s u && cmp s u &&
    cert show der --json >s && cat s && grep -q '"kind": "crl"' s && grep -q '"number": 4' s &&
    head -c 100 der >cut && says damaged code 1 cert show cut
}

for t in init_makes_a_ca ca_is_a_ca_for_openssl relay_is_issued relay_has_its_names \
  relay_may_be_both_ends_of_tls connector_is_issued agent_is_issued agent_may_be_limited \
  openssl_verifies_all another_ca_does_not_verify days_are_exact nothing_is_overwritten \
  no_half_pair_is_left leaf_ends_with_its_ca other_cas_key_is_noticed \
  readable_ca_key_is_refused missing_ca_is_explained role_must_fit usage_is_explained \
  show_says_it_in_words show_says_it_in_json show_explains_other_files \
  foreign_certificates_are_read foreign_ec_ca_issues rsa_ca_is_refused_in_words \
  nothing_secret_is_printed revoked_is_refused_by_openssl \
  revoked_by_serial_and_several_at_once a_list_is_made_anew nobody_is_revoked_by_an_empty_list \
  who_else_signed_is_not_revoked a_damaged_book_loses_nobody show_tells_whom_a_list_names; do
  check $t $t
done
exit $failed
