#!/bin/sh
# Installs Debian packages without letting them start their services: Redis on 6379 and nginx on 80 are nobody's wish here.
# sh install-packages.sh redis-server nginx        as root
set -eu

policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-lockstep

restore() {
  rm -f "$policy"
  if [ -e "$kept" ]; then mv "$kept" "$policy"; fi
}

# A copy that an interrupted run left is the original; what stands in its place is that run's.
if [ ! -e "$kept" ] && [ -e "$policy" ]; then mv "$policy" "$kept"; fi
trap restore EXIT
trap 'exit 130' HUP INT TERM

# 101 is "forbidden by policy": see invoke-rc.d(8).
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update
# A fresh machine may be updating itself at this moment: wait for it.
apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
