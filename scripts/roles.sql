-- The roles of a database of pgs3vectors, each with no more than it needs.  Run it with psql as a superuser, in the
-- database, as often as you like: it makes what is missing and takes back what is too much.
--
--     psql --dbname pgs3vectors --file scripts/roles.sql
--
-- pgs3vectors_owner    owns the catalog and migrates it: `pgs3vectors migrate`
-- pgs3vectors_app      serves: rows of the catalog, a table for each index, a schema of views for each bucket
-- pgs3vectors_metrics  statistics and settings of the server, and no data
--
-- Nobody can log in as one of them before it has a password: \password pgs3vectors_app
-- Other names: psql --set owner=... --set app=... --set metrics=...
-- Where one role has served so far, what it owns is handed over; stop its servers first.

\set ON_ERROR_STOP on
\if :{?owner}
\else
    \set owner pgs3vectors_owner
\endif
\if :{?app}
\else
    \set app pgs3vectors_app
\endif
\if :{?metrics}
\else
    \set metrics pgs3vectors_metrics
\endif

BEGIN;
SET LOCAL client_min_messages = warning;

SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY[:'owner', :'app', :'metrics']) AS name
WHERE to_regrole(quote_ident(name)) IS NULL \gexec

ALTER ROLE :"owner" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE :"app" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE :"metrics" LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;

-- Migrations change the tables of indexes too, and the schemas of views are made for the app by the owner.
GRANT :"app" TO :"owner";
GRANT pg_monitor TO :"metrics";

-- Whoever may CREATE in a database may install its trusted extensions; of the three only the owner may.
SELECT current_database() AS database \gset
REVOKE ALL ON DATABASE :"database" FROM PUBLIC, :"app", :"metrics";
GRANT CONNECT, CREATE ON DATABASE :"database" TO :"owner";
GRANT CONNECT ON DATABASE :"database" TO :"app", :"metrics";

-- Only a superuser may create this one.
CREATE EXTENSION IF NOT EXISTS vector;
SELECT extnamespace::regnamespace::text AS types, nspname
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector' \gset
REVOKE ALL ON SCHEMA public FROM PUBLIC, :"owner", :"app", :"metrics";
GRANT USAGE ON SCHEMA :types TO :"owner", :"app";
ALTER ROLE :"owner" IN DATABASE :"database" SET search_path = :"nspname";
ALTER ROLE :"app" IN DATABASE :"database" SET search_path = :"nspname";

-- A server that stands still in the middle of a transaction keeps its locks no longer than this.
ALTER ROLE :"app" IN DATABASE :"database" SET idle_in_transaction_session_timeout = '1min';

CREATE SCHEMA IF NOT EXISTS s3_vectors;
CREATE SCHEMA IF NOT EXISTS vectors;
ALTER SCHEMA s3_vectors OWNER TO :"owner";
ALTER SCHEMA vectors OWNER TO :"owner";

-- What one role has made so far: the catalog becomes the owner's, tables of indexes and views the app's.
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'owner')
FROM pg_class WHERE relnamespace = 's3_vectors'::regnamespace AND relkind = 'r' \gexec
SELECT format('ALTER FUNCTION %s OWNER TO %I', oid::regprocedure, :'owner')
FROM pg_proc WHERE pronamespace = 's3_vectors'::regnamespace \gexec
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'app')
FROM pg_class WHERE relnamespace = 'vectors'::regnamespace AND relkind = 'r' \gexec
SELECT to_regclass('s3_vectors.vector_buckets') IS NOT NULL AS migrated \gset
\if :migrated
    CREATE TEMPORARY TABLE of_views ON COMMIT DROP AS
        SELECT oid, nspname FROM pg_namespace JOIN s3_vectors.vector_buckets ON nspname = schema_name;
    SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, :'app') FROM of_views \gexec
    SELECT format('ALTER VIEW %s OWNER TO %I', pg_class.oid::regclass, :'app')
    FROM pg_class JOIN of_views ON relnamespace = of_views.oid WHERE relkind = 'v' \gexec
\endif

-- Of the catalog the app has the rows, now and in what later migrations make, and nothing of its definition.
REVOKE ALL ON SCHEMA s3_vectors, vectors FROM PUBLIC, :"app", :"metrics";
GRANT USAGE ON SCHEMA s3_vectors TO :"app";
GRANT USAGE, CREATE ON SCHEMA vectors TO :"app";
REVOKE ALL ON ALL TABLES IN SCHEMA s3_vectors FROM PUBLIC, :"app", :"metrics";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA s3_vectors TO :"app";
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA s3_vectors TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA s3_vectors
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA s3_vectors
    GRANT EXECUTE ON FUNCTIONS TO :"app";

COMMIT;
