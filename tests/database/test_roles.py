from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier

from app.database import catalog
from app.database.deletion import Deletion
from app.database.engine import Database
from app.database.migrations import configuration, migrate
from tests.database.conftest import Library, Rows
from tests.roles import Roles, logged_in


@pytest.fixture(scope="module")
def url(copied_database: Callable[[], str], roles: Roles) -> str:
    """Of a database to which an operator has applied the script, and where others keep tables too; a superuser's."""
    url = copied_database()
    roles.apply(url)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA payroll")
        connection.execute("CREATE TABLE payroll.salaries (amount int)")
        connection.execute("CREATE TABLE public.notes (text text)")
    return url


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE EXTENSION hstore",
        "CREATE EXTENSION hstore SCHEMA vectors",
        "CREATE EXTENSION file_fdw",
        "ALTER EXTENSION vector UPDATE",
        "DROP EXTENSION vector",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "COPY vectors.loot FROM PROGRAM 'id'",
        "COPY vectors.loot FROM '/etc/passwd'",
        "COPY (SELECT 1) TO '/tmp/pgs3vectors'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_read_binary_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "SELECT passwd FROM pg_shadow",
        "CREATE TABLE public.mine (a int)",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT * FROM public.notes",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (a int)",
        "SELECT * FROM payroll.salaries",
        "CREATE TABLE payroll.mine (a int)",
        "CREATE TABLE s3_vectors.mine (a int)",
        "CREATE FUNCTION s3_vectors.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE s3_vectors.users ADD COLUMN mine int",
        "ALTER TABLE s3_vectors.users DISABLE TRIGGER ALL",
        "TRUNCATE s3_vectors.users",
        "DROP TABLE s3_vectors.users CASCADE",
        "DROP SCHEMA vectors CASCADE",
        "ALTER FUNCTION s3_vectors.create_view_schema SECURITY INVOKER",
        "SET session_replication_role = replica",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_reload_conf()",
        "CREATE ROLE mine",
        "ALTER ROLE {app} SUPERUSER",
        "GRANT {owner} TO {app}",
        "SET ROLE {owner}",
        "SET SESSION AUTHORIZATION {owner}",
        "CREATE DATABASE mine",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user LIMIT 1",
        "CREATE PUBLICATION mine FOR ALL TABLES",
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
        "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION s3_vectors.raise_catalog_generation()",
    ],
)
def test_the_app_role_may_not(url: str, roles: Roles, statement: str) -> None:
    with psycopg.connect(logged_in(url, roles.app), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS vectors.loot (line text)")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(composed(statement, roles))


def test_the_right_to_create_in_the_database_would_be_one_to_install_extensions(url: str, roles: Roles) -> None:
    """Why the app role makes schemas of views through a function."""
    with psycopg.connect(url) as connection:
        connection.execute(
            composed("GRANT CREATE ON DATABASE {database} TO {app}", roles, database=connection.info.dbname)
        )
        connection.execute(composed("SET ROLE {app}", roles))
        connection.execute("CREATE EXTENSION hstore SCHEMA vectors")
        connection.rollback()


@pytest.mark.parametrize("name", ["payroll", "public", "vectors", "passwords"])
def test_no_schema_of_views_takes_a_name_that_means_something(url: str, name: str) -> None:
    """A schema named like a role comes first in that role's search_path."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE ROLE passwords")
        made = connection.execute("SELECT s3_vectors.create_view_schema(%s)", [name]).fetchone()
        connection.rollback()
    assert made == (False,)


@pytest.mark.parametrize("name", ["pg_temp", "pg_1", "a", "A-B", 'a"; DROP', "media_x", "media_1\n", "n" * 64, ""])
def test_a_schema_of_views_is_named_like_a_bucket(url: str, roles: Roles, name: str) -> None:
    with (
        psycopg.connect(logged_in(url, roles.app)) as connection,
        pytest.raises(errors.InvalidSchemaName, match="not the name of a bucket"),
    ):
        connection.execute("SELECT s3_vectors.create_view_schema(%s)", [name])


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE EXTENSION file_fdw",
        "ALTER EXTENSION vector UPDATE",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('/etc/passwd')",
        "CREATE TABLE public.mine (a int)",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SELECT * FROM payroll.salaries",
    ],
)
def test_the_owner_may_not(url: str, roles: Roles, statement: str) -> None:
    with (
        psycopg.connect(logged_in(url, roles.owner), autocommit=True) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_metrics_sees_statistics(url: str, roles: Roles) -> None:
    with psycopg.connect(logged_in(url, roles.metrics)) as connection:
        [(others,)] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'checkpointer' AND wait_event IS NOT NULL"
        )
        assert others == 1
        assert connection.execute("SELECT pg_database_size(current_database()) > 0").fetchone() == (True,)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM s3_vectors.vector_indexes",
        "SELECT * FROM s3_vectors.access_keys",
        "SELECT * FROM public.notes",
        "SELECT * FROM payroll.salaries",
        "CREATE TABLE vectors.mine (a int)",
        "SELECT s3_vectors.create_view_schema('media')",
    ],
)
def test_metrics_sees_no_data(url: str, roles: Roles, statement: str) -> None:
    with psycopg.connect(logged_in(url, roles.metrics)) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_other_roles_may_not_even_connect(url: str, roles: Roles) -> None:
    query = "SELECT p FROM unnest(ARRAY['CONNECT', 'TEMPORARY', 'CREATE']) p WHERE has_database_privilege(%s, %s, p)"
    with psycopg.connect(url) as connection:
        held = {
            role: [row[0] for row in connection.execute(query, [role, connection.info.dbname])]
            for role in ("pg_read_all_data", roles.metrics, roles.app, roles.owner)
        }
    assert list(held.values()) == [[], ["CONNECT"], ["CONNECT"], ["CONNECT", "CREATE"]]


async def test_what_the_app_role_makes_is_its_own(library: Library, rows: Rows, roles: Roles) -> None:
    await library.build_graph(await library.create_index(2))
    schemas = "ARRAY['vectors', 'media']::regnamespace[]"
    owners = f"SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = ANY ({schemas})"
    assert rows(owners) == [(roles.app,)]
    assert rows("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'media'") == [(roles.app,)]


async def test_without_the_right_to_make_schemas_buckets_have_no_views(
    database: Database, own_database_url: str, roles: Roles
) -> None:
    with psycopg.connect(own_database_url) as connection:
        connection.execute(
            composed("REVOKE CREATE ON DATABASE {database} FROM {owner}", roles, database=connection.info.dbname)
        )
    assert (await Library(database).create_bucket()).schema_name is None


async def test_what_another_role_has_served_is_handed_over(own_database_url: str, roles: Roles, rows: Rows) -> None:
    """Its bucket, index and view are found, changed and dropped by the app."""
    with psycopg.connect(own_database_url) as connection:
        connection.execute("DROP SCHEMA s3_vectors, vectors CASCADE")
    migrate(own_database_url)
    async with library_at(own_database_url) as before:
        bucket = await before.create_bucket()
        index = await before.create_index(2)
    roles.apply(own_database_url)
    async with library_at(logged_in(own_database_url, roles.app)) as after:
        await after.build_graph(index)
        async with after.database.transaction() as connection:
            await catalog.update_index(connection, index.id, deletion_time=sa.func.now())
            await catalog.update_vector_bucket(connection, bucket.id, deletion_time=sa.func.now())
        await Deletion(after.database).drop_deleted()
    assert rows("SELECT nspname FROM pg_namespace WHERE nspname = 'media'") == []


async def test_the_owner_migrates_what_the_app_role_has_made(
    library: Library, own_database_url: str, roles: Roles, rows: Rows
) -> None:
    index = await library.create_index(2)
    owner = logged_in(own_database_url, roles.owner)
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(owner), poolclass=sa.NullPool)
    with engine.begin() as connection:
        command.downgrade(configuration(connection=connection), "0002")
    migrate(owner)
    assert rows(f"SELECT position FROM vectors.index_{index.id}") == []


def composed(statement: str, roles: Roles, **names: str) -> Composed:
    identifiers = {name: Identifier(text) for name, text in (roles.names | names).items()}
    return SQL(statement).format(**identifiers)


@asynccontextmanager
async def library_at(url: str) -> AsyncIterator[Library]:
    database = Database(url, pool_size=2, statement_timeout_seconds=30)
    await database.open()
    yield Library(database)
    await database.close()
