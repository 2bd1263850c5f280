"""Views for people: a schema named like the bucket with one view per index, so that psql shows what is stored."""

import sqlalchemy as sa
import structlog
from psycopg import errors
from sqlalchemy.ext.asyncio import AsyncConnection

from app.arns import VectorBucketArn
from app.database.catalog import Index
from app.database.vector_table import table_of

log = structlog.get_logger()

MAX_IDENTIFIER_BYTES = 63


async def create_schema(connection: AsyncConnection, arn: VectorBucketArn) -> str | None:
    """The schema's name, or None where every name that would fit is taken, or where our role may make none.

    Bucket names have no underscore, so the second name cannot be another bucket's first.
    """
    name = arn.vector_bucket_name
    try:
        async with connection.begin_nested():
            for candidate in (name, f"{name}_{arn.account.account_id}"[:MAX_IDENTIFIER_BYTES]):
                if await connection.scalar(sa.select(sa.func.s3_vectors.create_view_schema(candidate))):
                    return candidate
        reason = "taken"
    except sa.exc.ProgrammingError as error:
        if not isinstance(error.orig, errors.InsufficientPrivilege):
            raise
        reason = str(error.orig).splitlines()[0]
    log.warning("no_schema_for_views", bucket=str(arn), reason=reason)
    return None


async def drop_schema(connection: AsyncConnection, name: str) -> None:
    """Leaves it where people have put something of their own into it."""
    try:
        async with connection.begin_nested():
            await connection.execute(sa.schema.DropSchema(name, if_exists=True))
    except sa.exc.DBAPIError as error:
        log.warning("schema_of_views_kept", schema=name, reason=str(error.orig).splitlines()[0])


async def create_view(connection: AsyncConnection, schema: str, index: Index) -> None:
    rows = sa.select(*(column for column in table_of(index).c if column.name != "position"))
    view = sa.schema.CreateView(rows, index.arn.index_name, schema=schema)
    await _attempt(connection, index, _drop(schema, index), view)


async def drop_view(connection: AsyncConnection, schema: str, index: Index) -> None:
    await _attempt(connection, index, _drop(schema, index))


def _drop(schema: str, index: Index) -> sa.schema.DropView:
    view = sa.Table(index.arn.index_name, sa.MetaData(schema=schema))
    return sa.schema.DropView(view, if_exists=True)


async def _attempt(connection: AsyncConnection, index: Index, *statements: sa.Executable) -> None:
    """No request fails for its view: somebody may be reading it, or have built another upon it."""
    try:
        async with connection.begin_nested():
            await connection.execute(sa.select(sa.func.set_config("lock_timeout", "300ms", sa.true())))
            for statement in statements:
                await connection.execute(statement)
    except sa.exc.DBAPIError as error:
        log.warning("view_not_changed", index=str(index.arn), reason=str(error.orig).splitlines()[0])
