from base64 import b64encode
from collections.abc import AsyncIterator

import psycopg
import pytest

from app.cli.connection import catalog_at
from app.database.engine import Database
from app.envelope import KeyEncryptionKeys, new_key
from app.monitoring.health import FAILURES, Health
from app.monitoring.readiness import Readiness
from app.settings import Settings
from tests.monitoring.test_health import Fleet

KEY = new_key()


class Looked:
    """A readiness on a database of its own, whose only account is under `KEY`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.fleet = Fleet()
        self.health = Health(self.fleet)
        self.database = Database(url, pool_size=1, statement_timeout_seconds=5)
        self.readiness = Readiness(self.health, self.fleet, self.database)

    async def checks(self, looks: int = 1) -> dict[str, str]:
        for _ in range(looks):
            await self.readiness.look()
        found: dict[str, str] = self.health.report["checks"]
        return {name: said for name, said in found.items() if said != "ok"}


@pytest.fixture
async def looked(own_database_url: str) -> AsyncIterator[Looked]:
    settings = Settings(database_url=own_database_url, key_encryption_key=b64encode(KEY).decode())
    async with catalog_at(own_database_url, settings):
        pass
    looked = Looked(own_database_url)
    await looked.database.pool.open()
    yield looked
    await looked.database.close()


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


async def test_a_server_is_ready_when_its_key_opens_what_is_there(looked: Looked) -> None:
    assert await looked.checks() == {"key_encryption_key": "not known yet"}
    looked.readiness.keys = KeyEncryptionKeys(lambda: [KEY])
    assert await looked.checks() == {}
    assert looked.health.is_ready


async def test_another_key_is_told(looked: Looked) -> None:
    looked.readiness.keys = KeyEncryptionKeys(lambda: [new_key()])
    assert await looked.checks() == {"key_encryption_key": "does not open what is there"}


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (
            "UPDATE s3_vectors.alembic_version SET version_num = 'later'",
            {"migrations": "the catalog is of another version"},
        ),
        ("DROP TABLE s3_vectors.alembic_version", {"migrations": "the catalog is of another version"}),
        ("DROP EXTENSION vector CASCADE", {"extension": "missing"}),
        ("UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'", {"extension": "too old"}),
    ],
)
async def test_what_happens_to_a_database_is_told(looked: Looked, done: str, expected: dict[str, str]) -> None:
    looked.readiness.keys = KeyEncryptionKeys(lambda: [KEY])
    assert await looked.checks() == {}
    execute(looked.url, done)
    assert await looked.checks(FAILURES) == expected


async def test_workers_that_are_not_up_are_counted(looked: Looked) -> None:
    looked.readiness.keys = KeyEncryptionKeys(lambda: [KEY])
    looked.fleet.up = (1, 2)
    assert await looked.checks() == {"workers": "1 of 2 are up"}
    looked.fleet.up = (2, 2)
    assert await looked.checks() == {}


async def test_a_database_that_is_gone_leaves_what_was_last_known_of_it(looked: Looked, postgres: str) -> None:
    looked.readiness.keys = KeyEncryptionKeys(lambda: [KEY])
    assert await looked.checks() == {}
    name = psycopg.conninfo.conninfo_to_dict(looked.url)["dbname"]
    execute(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    execute(postgres, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert await looked.checks(FAILURES) == {"database": "unreachable"}
    execute(postgres, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    while await looked.checks():
        pass
    assert looked.health.is_ready
