#!/bin/sh
# Makes a certificate authority of its own and a certificate for Redis servers, unless those that are there hold for a month.
#
#   certificates.sh <folder of the authority> <folder of the servers> <DNS:name|IP:address> ...
#
# For those who have no authority yet. Its key is thrown away, so that nobody can sign anything else with it.
set -eu
authority=$1
servers=$2
shift 2

names=
for name; do names="$names${names:+,}$name"; done
month=2592000
if openssl x509 -checkend "$month" -noout -in "$servers/redis.crt" 2> /dev/null; then exit 0; fi

mkdir -p "$authority" "$servers"
key=$(mktemp)
request=$(mktemp)
trap 'rm -f "$key" "$request"' EXIT
set -- -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc
openssl req -x509 "$@" -days 825 -subj '/CN=Lockstep for Redis' -keyout "$key" -out "$authority/ca.crt"
openssl req "$@" -subj /CN=redis -addext "subjectAltName=$names" -keyout "$servers/redis.key" -out "$request"
openssl x509 -req -in "$request" -copy_extensions copyall -days 825 -CA "$authority/ca.crt" -CAkey "$key" -out "$servers/redis.crt"
# Whoever may look into this folder is a Redis, under whatever user.
chmod 644 "$servers/redis.key"
