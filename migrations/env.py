"""How Alembic reaches the database: over the connection of `app.database.migrations`, else by the settings."""

import os

import psycopg
from alembic import context
from sqlalchemy import Connection, NullPool, create_engine

from app.settings import Settings

SCHEMA = "s3_vectors"


def run(connection: Connection) -> None:
    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    context.configure(connection, version_table_schema=SCHEMA, include_schemas=True, include_name=is_ours)
    with context.begin_transaction():
        context.run_migrations()


def is_ours(name: str | None, kind: str, _: object) -> bool:
    """The schema `vectors` and those of buckets change with every CreateIndex."""
    return kind != "schema" or name == SCHEMA


def connect() -> psycopg.Connection:
    url = Settings.from_environment(os.environ).database_url
    if url is None:
        raise SystemExit("Set PGS3VECTORS_DATABASE_URL to the database to migrate.")
    return psycopg.connect(url)


if (handed_over := context.config.attributes.get("connection")) is not None:
    run(handed_over)
else:
    with create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool).begin() as own:
        run(own)
