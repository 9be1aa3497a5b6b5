#!/usr/bin/env bash
# Certificates for tests of TLS, made anew: valid for 30 days, keys without a passphrase, nothing printed if all is well.
#   Scripts/certificates.sh DIR  writes into DIR, which is made if it is missing:
#     ca.pem                      the authority behind all but what is said to be another's
#     server.pem server.key       for localhost, 127.0.0.1 and ::1
#     elsewhere.pem elsewhere.key for elsewhere.example alone
#     expired.pem expired.key     as server, but its time was the year 2020
#     client.pem client.key       a client's; its common name is guest, the user it stands for (SASL EXTERNAL)
#     other-ca.pem                another authority
#     stranger.pem stranger.key   a client's, of that other authority
# A file of these that is there already is replaced.
set -euo pipefail

[[ $# == 1 && -n $1 ]] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2; }
mkdir -p "$1"
cd "$1"
umask 077
work=$(mktemp -d "$PWD/making.XXXXXX")
trap 'rm -rf "$work"' EXIT

# What openssl has to say goes to the screen only if something fails.
quietly() {
  "$@" >"$work/log" 2>&1 || { echo "certificates: ${*:1:2} failed" >&2; cat "$work/log" >&2; exit 1; }
}

authority() { # authority NAME: NAME.pem; its key stays in the work folder and is gone in the end
  mkdir "$work/$1"
  : >"$work/$1/index"
  cat >"$work/$1/config" <<CONFIG
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = this
[this]
database = $work/$1/index
new_certs_dir = $work/$1
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[server]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1,IP:::1
[elsewhere]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:elsewhere.example
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
CONFIG
  quietly openssl req -x509 -config "$work/$1/config" -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$work/$1/key" -out "$1.pem" -subj "/CN=HareDo test $1" -days 30
}

certificate() { # certificate NAME AUTHORITY EXTENSIONS COMMON-NAME OPTION-OF-OPENSSL-CA...
  local name=$1 authority=$2 extensions=$3 common=$4
  shift 4
  quietly openssl req -config "$work/$authority/config" -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$name.key" -out "$work/request" -subj "/CN=$common"
  quietly openssl ca -config "$work/$authority/config" -batch -notext -extensions "$extensions" \
    -cert "$authority.pem" -keyfile "$work/$authority/key" -in "$work/request" -out "$name.pem" "$@"
}

authority ca
authority other-ca
certificate server ca server localhost -days 30
certificate elsewhere ca elsewhere elsewhere.example -days 30
certificate expired ca server localhost -startdate 20200101000000Z -enddate 20201231000000Z
certificate client ca client guest -days 30
certificate stranger other-ca client guest -days 30
