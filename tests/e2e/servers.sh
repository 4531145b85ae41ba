# servers.sh - real servers from Debian packages on the connector's host, for
# scripts that sourced lib.sh: each with its data in $T, ended at exit like all
# else. They listen on every address, so that the same server is reached through
# the tunnel (by loopback), by the plain network, and locally.
PATH=$PATH:/usr/sbin:/sbin

# Programs on this host that are nobody may serve ports below 1024.
SERVERS=conn
servers_host() {
  SERVERS=${1:-conn}
  net_option "$SERVERS" ipv4/ip_unprivileged_port_start 0
  chmod 711 "$T"
}
# start_nobody NAME COMMAND...: without root
start_nobody() {
  local name=$1
  shift
  start "$name" "$SERVERS" setpriv --reuid nobody --regid nogroup --clear-groups "$@"
}
# Directory of nobody's own.
nobodys_dir() { mkdir -p "$T/$1" && chown nobody:nogroup "$T/$1"; }

listens() { # PORT, TCP
  on "$SERVERS" ss -Hltn "sport = :$1" | grep -q .
}

# nginx_start NAME PORT [TLS-LINE...]: serves $T/www: index.html, and large.bin
# of WWW_MB (8) megabytes
nginx_start() {
  local name=$1 port=$2
  shift 2
  nobodys_dir "$name"
  if [ ! -d "$T/www" ]; then
    mkdir "$T/www"
    echo "<html>a page of nginx</html>" >"$T/www/index.html"
    head -c "${WWW_MB:-8}M" /dev/urandom >"$T/www/large.bin"
  fi
  cat >"$T/$name.conf" <<END
daemon off; worker_processes 1; pid $T/$name/pid; error_log stderr;
worker_rlimit_nofile 8192;
events { worker_connections 4096; multi_accept on; }
http {
  access_log off; sendfile on; keepalive_requests 100000;
  client_body_temp_path $T/$name/b; proxy_temp_path $T/$name/p;
  fastcgi_temp_path $T/$name/f; uwsgi_temp_path $T/$name/u; scgi_temp_path $T/$name/s;
  server { listen $port${1:+ ssl}; listen [::]:$port${1:+ ssl}; root $T/www; $*
    location = /health { return 200 "well\n"; } }
}
END
  start_nobody "$name" nginx -e stderr -p "$T/$name" -c "$T/$name.conf"
  wait_for 5 listens "$port"
}
start_nginx() { nginx_start "${2:-nginx}" "$1"; }

# A site of its own CA, tls-ca.pem, for the name site.test.
start_tls() {
  {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
      -keyout "$T/tls-ca.key" -out "$T/tls-ca.pem" -subj "/CN=test CA" &&
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -keyout "$T/site.key" -out "$T/site.csr" -subj "/CN=site.test" &&
      printf 'subjectAltName=DNS:site.test\n' >"$T/site.ext" &&
      openssl x509 -req -in "$T/site.csr" -CA "$T/tls-ca.pem" -CAkey "$T/tls-ca.key" \
        -CAcreateserial -days 1 -extfile "$T/site.ext" -out "$T/site.pem"
  } >>"$T/openssl.out" 2>&1 || { cat "$T/openssl.out"; return 1; }
  chown nobody "$T/site.key"
  nginx_start tls "$1" "ssl_certificate $T/site.pem; ssl_certificate_key $T/site.key;"
}

# Accepts the key $T/ssh.key for root, whose home is one of the test's: the
# real one is covered in a mount namespace of the server's own.
start_ssh() {
  mkdir -p "$T/home/.ssh" && chmod 700 "$T/home" "$T/home/.ssh"
  dropbearkey -t ed25519 -f "$T/ssh.host" >>"$T/ssh.out" 2>&1 &&
    dropbearkey -t ed25519 -f "$T/ssh.key" >>"$T/ssh.out" 2>&1 &&
    dropbearkey -y -f "$T/ssh.key" 2>/dev/null | grep ^ssh- >"$T/home/.ssh/authorized_keys" &&
    chmod 600 "$T/home/.ssh/authorized_keys" || { cat "$T/ssh.out"; return 1; }
  start ssh "$SERVERS" unshare -m --propagation private sh -c \
    "mount --bind $T/home /root && exec dropbear -F -E -s -r $T/ssh.host -P $T/ssh.pid -p $1"
  wait_for 5 listens "$1"
}
# ssh_client ADDRESS PORT COMMAND: as a person would; never asks
ssh_client() { dbclient -y -y -i "$T/ssh.key" -p "$2" "root@$1" "$3" 2>>"$T/dbclient.log"; }

postgres_bin() {
  local d
  command -v "$1" && return
  for d in /usr/lib/postgresql/*/bin; do [ -x "$d/$1" ] && echo "$d/$1" && return; done
}
# A cluster of the test's own, database `postgres`, user nobody without password.
start_postgres() {
  nobodys_dir pg
  setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$T/pg" LC_ALL=C \
    "$(postgres_bin initdb)" -D "$T/pg/data" -U nobody -A trust --no-sync \
    >"$T/initdb.out" 2>&1 || { cat "$T/initdb.out"; return 1; }
  echo "host all all all trust" >>"$T/pg/data/pg_hba.conf"
  start_nobody postgres env LC_ALL=C "$(postgres_bin postgres)" -D "$T/pg/data" -p "$1" \
    -c "listen_addresses=*" -k "$T/pg" -c fsync=off -c shared_buffers=16MB
  wait_for 10 on "$SERVERS" psql -h 127.0.0.1 -p "$1" -U nobody -d postgres -c "select 1"
}

# start_tcp_tool PORT=BEHAVIOUR...: see tool_tcp.c
start_tcp_tool() {
  start tool "$SERVERS" "$TCP" serve "$@"
  wait_for 5 grep -q ready "$T/tool.log"
}
