#!/bin/bash
# In an empty volume, creates what the environment names: POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB. Then runs the command.
set -euo pipefail

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --encoding=UTF8 --auth=scram-sha-256 --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD")
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single postgres
fi

exec "$@"
