"""The oldest PostgreSQL and pgvector that we trust with vectors, checked before anything else is done."""

import psycopg
from psycopg import errors

POSTGRESQL = 16
PGVECTOR = (0, 8, 4)  # 0.8.3 fixes corruption of HNSW under vacuum, 0.8.4 writes that fail beside it


class UnsupportedDatabase(Exception):
    """The text says what is too old or missing and what to run."""


def check_versions(connection: psycopg.Connection) -> None:
    major = connection.info.server_version // 10000
    if major < POSTGRESQL:
        raise UnsupportedDatabase(f"PostgreSQL {POSTGRESQL} or newer is needed; this server is PostgreSQL {major}.")
    available, installed = pgvector_versions(connection)
    if available is None:
        raise UnsupportedDatabase(f"The server has no pgvector; install pgvector {dotted(PGVECTOR)} or newer on it.")
    if installed is None:
        create_extension(connection, available)
    elif numbers(installed) < PGVECTOR:
        raise UnsupportedDatabase(
            f"pgvector {installed} is installed, {dotted(PGVECTOR)} is needed; {remedy(available)}"
        )


def pgvector_versions(connection: psycopg.Connection) -> tuple[str | None, str | None]:
    query = "SELECT default_version, installed_version FROM pg_available_extensions WHERE name = 'vector'"
    return connection.execute(query).fetchone() or (None, None)


def create_extension(connection: psycopg.Connection, available: str) -> None:
    if numbers(available) < PGVECTOR:
        raise UnsupportedDatabase(
            f"pgvector {available} is available, {dotted(PGVECTOR)} is needed; {remedy(available)}"
        )
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except (errors.InsufficientPrivilege, errors.InvalidSchemaName):  # the latter of who may not even use `public`
        raise UnsupportedDatabase("Run CREATE EXTENSION vector as a superuser in this database first.") from None


def remedy(available: str) -> str:
    if numbers(available) < PGVECTOR:
        return "install a newer pgvector on the server."
    return "run ALTER EXTENSION vector UPDATE as a superuser in this database, then REINDEX its HNSW indexes."


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
