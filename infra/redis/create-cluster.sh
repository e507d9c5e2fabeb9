#!/bin/sh
# Makes one Cluster of servers that are none yet: as many replicas as primaries.
#
#   create-cluster.sh <first three numbers of the addresses> <last number> ...
set -eu
network=$1
shift
first=$network.$1

nodes=
for number; do nodes="$nodes $network.$number:6379"; done
whole() {
  redis-cli -e -h "$first" cluster info | grep -q cluster_state:ok
}

# Each node keeps the Cluster's plan on its disk: after a restart they find each other by it.
if ! redis-cli -e -h "$first" cluster info | grep -q cluster_slots_assigned:16384; then
  # shellcheck disable=SC2086
  redis-cli --cluster create $nodes --cluster-replicas 1 --cluster-yes
fi
tries=0
until whole; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo "The Cluster was not whole after $tries s." >&2; exit 1; }
  sleep 1
done
