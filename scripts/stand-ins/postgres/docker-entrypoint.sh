#!/usr/bin/env bash
# What the image `postgres` documents: a cluster on the first start, as POSTGRES_* say, then the scripts of initdb.d.
set -euo pipefail

if [[ $1 == -* ]]; then
    set -- postgres "$@"
fi
if [[ $1 != postgres ]]; then
    exec "$@"
fi
if [[ -n ${POSTGRES_PASSWORD_FILE:-} ]]; then
    POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
fi
if [[ $(id -u) == 0 ]]; then
    install --directory --owner postgres --group postgres --mode 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "${BASH_SOURCE[0]}" "$@"
fi
export POSTGRES_USER=${POSTGRES_USER:-postgres}
export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}

create_cluster() {
    : "${POSTGRES_PASSWORD:?is needed for the superuser of a new cluster}"
    mkdir -p "$PGDATA"
    chmod 0700 "$PGDATA"
    eval 'initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD")' "${POSTGRES_INITDB_ARGS:-}"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Only on its socket: from outside there is nothing before everything is done.
    PGPASSWORD=$POSTGRES_PASSWORD
    export PGPASSWORD
    pg_ctl start --wait --options="-c listen_addresses=''"
    if [[ $POSTGRES_DB != postgres ]]; then
        run_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) "$file" ;;
            *.sql) run_sql --dbname "$POSTGRES_DB" --file "$file" ;;
        esac
    done
    unset PGPASSWORD
    pg_ctl stop --wait --mode=fast
    echo 'PostgreSQL init process complete; ready for start up.'
}

run_sql() {
    psql --no-psqlrc --no-password --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"
}

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    create_cluster
fi
exec "$@"
