"""What HNSW graphs and range indexes have in common: they are made and dropped beside reads and writes.

None of these runs in a transaction.
"""

import sqlalchemy as sa

from app.database.ddl import ddl
from app.database.statements import Statement, compiled


def drop_index(name: str) -> Statement:
    """Searches that began with it end first; of an index that is not there, nothing."""
    return compiled(ddl("DROP INDEX CONCURRENTLY IF EXISTS vectors.%(name)s", name=name))


def analyze(index_id: int) -> Statement:
    """Estimates decide how searches run, and autovacuum may come much later."""
    return compiled(ddl("ANALYZE vectors.index_%(id)s", id=index_id))


def is_valid(name: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether there is such an index, and no leftover of a build that was interrupted."""
    pg_index = sa.table("pg_index", sa.column("indexrelid"), sa.column("indisvalid"), schema="pg_catalog")
    return sa.exists().where(
        pg_index.c.indexrelid == sa.func.to_regclass(sa.func.concat("vectors.", name)), pg_index.c.indisvalid
    )
