"""What the catalog and pgvector are, read while the server runs: somebody may migrate or upgrade them meanwhile."""

import sqlalchemy as sa
from msgspec import Struct
from psycopg import errors

from app.database.connection import Connection
from app.database.statements import compiled

_alembic_version = sa.table("alembic_version", sa.column("version_num"), schema="s3_vectors")
_pg_extension = sa.table("pg_extension", sa.column("extname"), sa.column("extversion"), schema="pg_catalog")
_REVISION = compiled(sa.select(_alembic_version.c.version_num))
_PGVECTOR = compiled(sa.select(_pg_extension.c.extversion).where(_pg_extension.c.extname == "vector"))


class State(Struct, frozen=True):
    revision: str | None
    """None of an empty database."""
    pgvector: str | None


async def state_of(connection: Connection) -> State:
    """On an autocommit connection, because a catalog that is not there would end a transaction."""
    pgvector = await connection.run(_PGVECTOR)
    try:
        revisions = await connection.run(_REVISION)
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        revisions = []
    return State(revisions[0][0] if revisions else None, pgvector[0][0] if pgvector else None)
