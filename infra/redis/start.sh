#!/bin/sh
# Starts a Redis server, or a sentinel, in a container, by a configuration of its own in REDIS_HOME (/data).
#
#   start.sh <server|sentinel> [line of configuration ...]
#
# The file is written once: Sentinel and the server itself write into it who is whose replica, and a restart must not undo
# that. To have other lines, remove the container's volume.
# Where /etc/lockstep/users.acl is, its users are the server's, with REDIS_PASSWORD as their password.
set -eu
umask 077
kind=$1
shift
home=${REDIS_HOME:-/data}
config=$home/redis.conf

if [ ! -e "$config" ]; then
  printf '%s\n' "$@" > "$config.new"
  mv "$config.new" "$config"
fi
set -- "$config" --dir "$home" --protected-mode no
if [ -e /etc/lockstep/users.acl ]; then
  sh /etc/lockstep/users.sh /etc/lockstep/users.acl "$REDIS_PASSWORD" > "$home/users.acl"
  set -- "$@" --aclfile "$home/users.acl"
fi
if [ "$kind" = sentinel ]; then exec redis-server "$@" --sentinel; fi
exec redis-server "$@" --bind '*'
