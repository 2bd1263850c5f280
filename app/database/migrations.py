"""Brings the catalog to the newest revision of the top-level folder `migrations`."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine

SCRIPTS = Path(__file__).parents[2] / "migrations"
LOCK = 0x7067_7333  # any number that nobody else takes: "pgs3"


def migrate(url: str) -> None:
    """All or nothing, and one server at a time: the lock and every revision are in one transaction."""
    # SQLAlchemy would read the URL by rules of its own; libpq's also know sockets, several hosts and services.
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        command.upgrade(configuration(connection=connection), "head")


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()


def configuration(**attributes: object) -> Config:
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
