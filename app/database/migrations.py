"""Brings the catalog to the newest revision of the top-level folder `migrations`."""

from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from psycopg import errors

from app.database.link import linked

SCRIPTS = Path(__file__).parents[2] / "migrations"
LOCK = 0x7067_7333  # any number that nobody else takes: "pgs3"


class NotMigrated(Exception):
    """The catalog is of another version, and we may not or cannot change that; the text says what to do."""


def migrate(url: str) -> None:
    """All or nothing, and one server at a time: the lock and every revision are in one transaction.

    A catalog that is at its newest revision is only read, so that a server need not own it.
    """
    # SQLAlchemy would read the URL by rules of its own; libpq's also know sockets, several hosts and services.
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(linked(url)), poolclass=sa.NullPool
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        found, newest = revision(connection), newest_revision()
        if found == newest:
            return
        try:
            command.upgrade(configuration(connection=connection), "head")
        except CommandError:
            raise NotMigrated(
                f"The catalog is at revision {found}, of a newer version: this one knows {newest}."
            ) from None
        except sa.exc.ProgrammingError as error:
            if not isinstance(error.orig, errors.InsufficientPrivilege):
                raise
            raise NotMigrated(
                f"The catalog is at revision {found or 'none'}, this version needs {newest}:"
                " run `pgs3vectors migrate` with the URL of its owner."
            ) from None


def revision(connection: sa.Connection) -> str | None:
    """Of the catalog; None of an empty database."""
    return MigrationContext.configure(connection, opts={"version_table_schema": "s3_vectors"}).get_current_revision()


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()


def configuration(**attributes: object) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
