from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from app.database.floors import UnsupportedDatabase, check_versions


@pytest.fixture
def connection(own_database_url: str) -> Iterator[psycopg.Connection]:
    """Rolled back at the end, roles included."""
    with psycopg.connect(own_database_url) as connection:
        yield connection
        connection.rollback()


def test_the_embedded_server_is_new_enough(connection: psycopg.Connection) -> None:
    check_versions(connection)


def test_a_missing_extension_is_created(connection: psycopg.Connection) -> None:
    connection.execute("DROP EXTENSION vector CASCADE")
    check_versions(connection)
    assert connection.execute("SELECT count(*) FROM pg_extension WHERE extname = 'vector'").fetchone() == (1,)


@pytest.mark.parametrize("version", ["0.8.3", "0.7.4", "0.4.10"])
def test_an_old_extension_is_refused_with_the_remedy(connection: psycopg.Connection, version: str) -> None:
    connection.execute("UPDATE pg_extension SET extversion = %s WHERE extname = 'vector'", [version])
    with pytest.raises(
        UnsupportedDatabase, match=f"pgvector {version} is installed, 0.8.4 is needed; run ALTER EXTENSION"
    ):
        check_versions(connection)


def test_a_user_who_may_not_create_it_is_told_who_may(connection: psycopg.Connection) -> None:
    connection.execute("DROP EXTENSION vector CASCADE")
    role = sql.Identifier(f"plain_{uuid4().hex}")
    connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    connection.execute(sql.SQL("SET ROLE {}").format(role))
    with pytest.raises(UnsupportedDatabase, match="Run CREATE EXTENSION vector as a superuser"):
        check_versions(connection)
