"""PostgreSQL itself: versions, settings that vectors depend on, connections, and what holds others up."""

import time
from collections.abc import Iterator
from typing import Any

import psycopg
from msgspec import Struct

from app.database.diagnosis.finding import Finding, State
from app.database.floors import PGVECTOR, POSTGRESQL, dotted, numbers, pgvector_versions, remedy
from app.database.graphs import graph_bytes

MIB = 1024 * 1024

# Beside its pool, a worker has a connection for the generation of the catalog and one for building.
CONNECTIONS_BESIDE_POOL = 2

SMALL_SHARED_BUFFERS = 128 * MIB
MOST_CLOCK_SECONDS = 2.0
LONG_TRANSACTION = "1 hour"
WRAPAROUND_AGE = 1_500_000_000


class Load(Struct, frozen=True):
    """What servers with these settings ask of the database."""

    workers: int
    pool_size: int

    @property
    def connections(self) -> int:
        return self.workers * (self.pool_size + CONNECTIONS_BESIDE_POOL)


def versions(connection: psycopg.Connection) -> Iterator[Finding]:
    version = connection.info.parameter_status("server_version") or "unknown"
    if connection.info.server_version // 10_000 < POSTGRESQL:
        yield Finding.error("PostgreSQL", version, f"Upgrade to PostgreSQL {POSTGRESQL} or newer.")
    else:
        yield Finding.ok("PostgreSQL", version)
    available, installed = pgvector_versions(connection)
    if available is None:
        yield Finding.error("pgvector", "not on the server", f"Install pgvector {dotted(PGVECTOR)} or newer on it.")
    elif installed is None:
        change = "CREATE EXTENSION vector as a superuser; `serve` does it where it may."
        yield Finding.warning("pgvector", f"{available}, not installed in this database", change)
    elif numbers(installed) < PGVECTOR:
        yield Finding.error("pgvector", installed, f"{dotted(PGVECTOR)} is needed: {remedy(available)}")
    elif numbers(installed) < numbers(available):
        yield Finding.warning(
            "pgvector", f"{installed}, where {available} is available", "ALTER EXTENSION vector UPDATE;"
        )
    else:
        yield Finding.ok("pgvector", installed)


def durability(connection: psycopg.Connection) -> Iterator[Finding]:
    """Whether what has been acknowledged is still there after the power has failed."""
    lost = "Turn it on: after a crash, the database may be corrupt."
    for name in ("fsync", "full_page_writes"):
        value = setting(connection, name)
        yield Finding.ok(name, value) if value == "on" else Finding.error(name, value, lost)
    value = setting(connection, "synchronous_commit")
    if value == "off":
        change = "Turn it on: a crash loses the last acknowledged writes."
        yield Finding.warning("synchronous_commit", value, change)
    else:
        yield Finding.ok("synchronous_commit", value)
    if setting(connection, "data_checksums") == "on":
        yield Finding.ok("data_checksums", "on")
    else:
        change = "Stop PostgreSQL and run pg_checksums --enable: a failing disk is noticed then."
        yield Finding.warning("data_checksums", "off", change)


def memory(connection: psycopg.Connection) -> Iterator[Finding]:
    shared = size_setting(connection, "shared_buffers")
    [(database_bytes,)] = rows(connection, "SELECT pg_database_size(current_database())")
    found = f"{in_mib(shared)}; this database has {in_mib(database_bytes)}"
    if shared <= SMALL_SHARED_BUFFERS < database_bytes:
        yield Finding.warning("shared_buffers", found, "Raise it to a quarter of the machine's memory, and restart.")
    else:
        yield Finding.ok("shared_buffers", found)
    allowed = size_setting(connection, "maintenance_work_mem")
    largest = largest_graph(connection)
    found = f"{in_mib(allowed)}; the largest graph needs some {in_mib(largest)}" if largest else in_mib(allowed)
    if allowed < largest:
        change = f"Raise it to {in_mib(largest)}: a graph that does not fit is built many times as slowly."
        yield Finding.warning("maintenance_work_mem", found, change)
    else:
        yield Finding.ok("maintenance_work_mem", found)


def huge_pages(connection: psycopg.Connection) -> Iterator[Finding]:
    """Taken by itself where the kernel keeps enough (docs/decisions.md, 87); before 17 PostgreSQL does not tell."""
    told = "SELECT current_setting('huge_pages_status', true), current_setting('shared_memory_size_in_huge_pages')::int"
    [(status, needed)] = rows(connection, told)
    if status == "on":
        yield Finding.ok("huge_pages", status)
    elif status == "off" and needed > 0:
        change = f"Where searches must be faster, set vm.nr_hugepages to {needed} or more, and restart PostgreSQL."
        yield Finding("huge_pages", State.OK, status, change)


def largest_graph(connection: psycopg.Connection) -> int:
    """Bytes that its build takes."""
    if not rows(connection, "SELECT 1 WHERE to_regclass('s3_vectors.vector_indexes') IS NOT NULL"):
        return 0
    estimated = (
        "SELECT greatest(reltuples, 0)::bigint, dimension FROM s3_vectors.vector_indexes AS i"
        " JOIN pg_class ON pg_class.oid = to_regclass('vectors.index_' || i.id) WHERE deletion_time IS NULL"
    )
    return max((graph_bytes(vectors, dimension) for vectors, dimension in rows(connection, estimated)), default=0)


def connections(connection: psycopg.Connection, load: Load) -> Iterator[Finding]:
    reserved = int(setting(connection, "superuser_reserved_connections"))
    reserved += int(setting(connection, "reserved_connections"))
    free = int(setting(connection, "max_connections")) - reserved
    found = f"{free} for everybody; {load.workers} workers with pools of {load.pool_size} take up to {load.connections}"
    if free < load.connections:
        change = f"Raise max_connections to {load.connections + reserved} or more, or lower PGS3VECTORS_POOL_SIZE."
        yield Finding.error("max_connections", found, change)
    else:
        yield Finding.ok("max_connections", found)


def maintenance(connection: psycopg.Connection) -> Iterator[Finding]:
    if setting(connection, "autovacuum") == "off" or setting(connection, "track_counts") == "off":
        change = "Turn autovacuum and track_counts on: tables would grow, and estimates of filters be wrong."
        yield Finding.warning("autovacuum", "off", change)
    else:
        yield Finding.ok("autovacuum", "on")
    [(age,)] = rows(connection, "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
    if age > WRAPAROUND_AGE:
        change = "VACUUM this database now: at 2,147,483,648 it stops taking writes."
        yield Finding.error("transaction ids", f"{age:,} used since the last freeze", change)
    old = rows(
        connection,
        "SELECT pid, coalesce(nullif(application_name, ''), 'unnamed'), date_trunc('second', now() - xact_start)"
        " FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database()"
        " AND xact_start < now() - %s::interval ORDER BY xact_start",
        LONG_TRANSACTION,
    )
    for pid, name, lasting in old:
        change = f"End it, or SELECT pg_terminate_backend({pid}): graphs cannot be completed while it lasts."
        yield Finding.warning("transactions", f"pid {pid} ({name}) has been in one for {lasting}", change)
    if not old:
        yield Finding.ok("transactions", f"none is older than {LONG_TRANSACTION}")


def clock(connection: psycopg.Connection) -> Iterator[Finding]:
    """Ours against the database's, half of the way there and back taken off."""
    started = time.time()
    [(theirs,)] = rows(connection, "SELECT extract(epoch FROM clock_timestamp())::float8")
    ended = time.time()
    apart = max(0.0, abs(theirs - (started + ended) / 2) - (ended - started) / 2)
    if apart > MOST_CLOCK_SECONDS:
        change = "Synchronise both clocks: keys expire by one of them, and signatures by the other."
        yield Finding.warning("clock", f"{apart:.1f} s between here and the database", change)
    else:
        yield Finding.ok("clock", f"{apart:.1f} s between here and the database")


def setting(connection: psycopg.Connection, name: str) -> str:
    [(value,)] = rows(connection, "SELECT current_setting(%s)", name)
    return str(value)


def size_setting(connection: psycopg.Connection, name: str) -> int:
    [(size,)] = rows(connection, "SELECT pg_size_bytes(current_setting(%s))", name)
    return int(size)


def in_mib(size: int) -> str:
    return f"{size / MIB:,.0f} MiB"


def rows(connection: psycopg.Connection, statement: str, *values: Any) -> list[Any]:
    return connection.execute(statement.encode(), values or None).fetchall()
