#!/usr/bin/env bash
# For /docker-entrypoint-initdb.d: the roles with the passwords of their URLs, and nobody else over the network.
set -euo pipefail

password_of() { # ROLE
    sed -E 's|^[^:]*://[^:]*:([^@]*)@.*$|\1|' "/run/secrets/$1-url"
}

OWNER_PASSWORD=$(password_of owner)
APP_PASSWORD=$(password_of app)
METRICS_PASSWORD=$(password_of metrics)
export OWNER_PASSWORD APP_PASSWORD METRICS_PASSWORD
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\i /etc/pgs3vectors/roles.sql
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
\getenv metrics_password METRICS_PASSWORD
ALTER ROLE :"owner" PASSWORD :'owner_password';
ALTER ROLE :"app" PASSWORD :'app_password';
ALTER ROLE :"metrics" PASSWORD :'metrics_password';
SQL

cat >"$PGDATA/pg_hba.conf" <<HBA
local all all peer
host $POSTGRES_DB pgs3vectors_owner,pgs3vectors_app,pgs3vectors_metrics samenet scram-sha-256
HBA
