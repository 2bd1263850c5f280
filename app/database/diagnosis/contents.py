"""What the database holds: the catalog's revision, what this role may do with it, and what could not be built."""

from collections.abc import Iterator

import psycopg
from alembic.script import ScriptDirectory

from app.database.advisory_locks import IS_LOCKED
from app.database.diagnosis.finding import Finding
from app.database.diagnosis.server import rows
from app.database.graph_building import LOCK
from app.database.migrations import configuration

WAITING_DELETION = "10 minutes"
REFUSED_MEANWHILE = "Searches by this key are refused until then."


def encoding(connection: psycopg.Connection) -> Iterator[Finding]:
    found = connection.info.parameter_status("server_encoding")
    if found != "UTF8":
        yield Finding.error(
            "encoding", found, "Create the database with ENCODING 'UTF8': keys and metadata are Unicode."
        )
    [(standby,)] = rows(connection, "SELECT pg_is_in_recovery()")
    if standby:
        yield Finding.error("role of the server", "standby", "Name the primary in PGS3VECTORS_DATABASE_URL.")


def migrations(connection: psycopg.Connection) -> Iterator[Finding]:
    if not is_migrated(connection):
        yield Finding.warning("migrations", "none", "Start `serve`, which makes the catalog.")
        return
    [(revision,)] = rows(connection, "SELECT version_num FROM s3_vectors.alembic_version") or [("none",)]
    scripts = ScriptDirectory.from_config(configuration())
    head, known = scripts.get_current_head(), {script.revision for script in scripts.walk_revisions()}
    if revision == head:
        yield Finding.ok("migrations", f"{revision}, the newest")
    elif revision in known:
        yield Finding.warning("migrations", f"{revision}, where {head} is the newest", "Start `serve`, which migrates.")
    else:
        change = "Install that version or a newer one: this one must not write here."
        yield Finding.error("migrations", f"{revision}, of a newer version of pgs3vectors", change)


def is_migrated(connection: psycopg.Connection) -> bool:
    return bool(rows(connection, "SELECT 1 WHERE to_regclass('s3_vectors.alembic_version') IS NOT NULL"))


def privileges(connection: psycopg.Connection, *, is_embedded: bool) -> Iterator[Finding]:
    [(role, superuser)] = rows(connection, "SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user")
    missing = [what for what, may in _rights(connection) if not may]
    if missing:
        yield Finding.error("privileges", f"{role} lacks {', '.join(missing)}", f"GRANT it to {role}.")
    elif superuser and not is_embedded:
        change = "Let the server connect as a role of its own that owns this database and is no superuser."
        yield Finding.warning("privileges", f"{role} is a superuser", change)
    else:
        yield Finding.ok("privileges", f"{role} may do what is needed")


def _rights(connection: psycopg.Connection) -> Iterator[tuple[str, bool]]:
    if not is_migrated(connection):
        [(may,)] = rows(connection, "SELECT has_database_privilege(current_database(), 'CREATE')")
        yield "CREATE on the database", may
        return
    [(types,)] = rows(connection, "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'vector'")
    for schema, privilege in ((types, "USAGE"), ("s3_vectors", "USAGE"), ("vectors", "USAGE"), ("vectors", "CREATE")):
        [(may,)] = rows(connection, "SELECT has_schema_privilege(%s, %s)", schema, privilege)
        yield f"{privilege} on schema {schema}", may
    for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE"):
        of_catalog = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('s3_vectors') AND relkind = 'r'"
        denied = rows(connection, f"{of_catalog} AND NOT has_table_privilege(oid, %s) ORDER BY 1", privilege)
        yield f"{privilege} on {', '.join(name for (name,) in denied)} in schema s3_vectors", not denied
    foreign = (
        "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('vectors') AND relkind = 'r'"
        " AND NOT pg_has_role(relowner, 'USAGE')"
    )
    [(tables,)] = rows(connection, foreign)
    yield f"ownership of {tables} tables in schema vectors", tables == 0


def graphs(connection: psycopg.Connection) -> Iterator[Finding]:
    failed = rows(
        connection,
        "SELECT 'graph', vector_index_id, attempts, error FROM s3_vectors.hnsw_graphs WHERE state = 'failed'"
        " UNION ALL SELECT 'range index of ' || quote_ident(key), vector_index_id, attempts, error"
        " FROM s3_vectors.range_indexes WHERE state = 'failed'",
    )
    for what, index_id, attempts, error in failed:
        found = f"the {what} of {named(connection, index_id)} has failed {attempts} times: {error}"
        yield Finding.warning("builds", found, "Mend the reason; a server tries again by itself.")
    if not failed:
        yield Finding.ok("builds", "none has failed")
    invalid = rows(
        connection,
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE NOT indisvalid AND relnamespace = to_regnamespace('vectors') AND NOT EXISTS"
        " (SELECT FROM pg_stat_progress_create_index AS making WHERE making.index_relid = indexrelid) ORDER BY 1",
    )
    for (name,) in invalid:
        change = f"Start a server, which drops it and builds anew; or DROP INDEX CONCURRENTLY {name};"
        yield Finding.warning("invalid indexes", f"{name} is left of a build that was interrupted", change)
    if not invalid:
        yield Finding.ok("invalid indexes", "none")


def text_searches(connection: psycopg.Connection) -> Iterator[Finding]:
    """A backfill that goes on is no defect."""
    is_served = bool(rows(connection, IS_LOCKED, LOCK))
    unfinished = rows(
        connection,
        "SELECT vector_bucket_name || '/' || index_name, metadata_key, built_up_to, attempts, error"
        " FROM s3_vectors.text_search_configurations"
        " JOIN s3_vectors.vector_indexes AS i ON i.id = vector_index_id"
        " JOIN s3_vectors.vector_buckets AS b ON b.id = vector_bucket_id"
        " WHERE state = 'building' AND i.deletion_time IS NULL ORDER BY 1, 2",
    )
    for row in unfinished:
        yield _backfill(*row, is_served=is_served)
    if not unfinished:
        yield Finding.ok("text searches", "all are complete")


def _backfill(  # noqa: PLR0913 - a row
    index: str, key: str, built_up_to: str | None, attempts: int, error: str | None, *, is_served: bool
) -> Finding:
    what, found = "text searches", f"the backfill of {key!r} of {index}"
    if error is not None:
        change = f"Mend the reason; a server tries again by itself. {REFUSED_MEANWHILE}"
        return Finding.warning(what, f"{found} has failed {attempts} times: {error}", change)
    if not is_served:
        change = f"Start a server, which goes on where the last one ended. {REFUSED_MEANWHILE}"
        return Finding.warning(what, f"{found} has not ended, and no server is running", change)
    place = "is about to begin" if built_up_to is None else f"has come to vector {built_up_to!r}"
    return Finding.ok(what, f"{found} {place}")


def deletions(connection: psycopg.Connection) -> Iterator[Finding]:
    statement = "SELECT count(*) FROM s3_vectors.vector_indexes WHERE deletion_time < now() - %s::interval"
    [(waiting,)] = rows(connection, statement, WAITING_DELETION)
    if waiting:
        change = "Start a server; if one is running, look for a transaction that holds their tables."
        yield Finding.warning("deleted indexes", f"{waiting} are still on disk", change)


def named(connection: psycopg.Connection, index_id: int) -> str:
    statement = (
        "SELECT vector_bucket_name || '/' || index_name FROM s3_vectors.vector_indexes AS i"
        " JOIN s3_vectors.vector_buckets AS b ON b.id = vector_bucket_id WHERE i.id = %s"
    )
    return str(rows(connection, statement, index_id)[0][0])
