"""What is kept of the catalog, against what is there."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.access_keys import AccessKey
from app.database.catalog_cache import CatalogCache
from app.database.engine import Database
from app.envelope import KeyEncryptionKeys
from app.policy.principals import root_user
from tests.database.conftest import BUCKET, HOME, Library

ROOT = AccessKey("ROOT", "secret", root_user(HOME.account_id))


@pytest.fixture
async def cache(database: Database, library: Library) -> AsyncIterator[CatalogCache]:
    assert library
    cache = CatalogCache(database, KeyEncryptionKeys(lambda: [bytes(32)]), ROOT)
    yield cache
    await cache.close()


def restore(url: str, generation: str, team: str) -> None:
    """As a restore does: triggers say nothing of it."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"UPDATE s3_vectors.catalog_generation SET access = {generation}".encode())
        connection.execute("UPDATE s3_vectors.vector_buckets SET tags = jsonb_build_object('team', %s::text)", [team])


async def tags(cache: CatalogCache) -> dict[str, str]:
    await cache.refresh()
    return dict((await cache.bucket(BUCKET)).tags)


async def test_a_catalog_that_was_restored_under_a_running_server_counts(
    cache: CatalogCache, own_database_url: str
) -> None:
    restore(own_database_url, "100", "red")
    assert await tags(cache) == {"team": "red"}
    restore(own_database_url, "50", "blue")
    assert await tags(cache) == {"team": "blue"}


async def test_an_answer_that_is_looked_at_late_takes_nothing_back(cache: CatalogCache, own_database_url: str) -> None:
    restore(own_database_url, "100", "red")
    early = cache.ask()
    assert await tags(cache) == {"team": "red"}
    restore(own_database_url, "101", "blue")
    assert await tags(cache) == {"team": "blue"}
    kept = await cache.bucket(BUCKET)
    await cache.refresh(early)
    assert await cache.bucket(BUCKET) is kept


def asked(cache_database: Database) -> int:
    """Connections of the pool, since the last call."""
    return int(cache_database.pool.pop_stats().get("requests_num", 0))


async def test_an_unknown_key_is_looked_up_once_until_keys_change(
    cache: CatalogCache, database: Database, own_database_url: str
) -> None:
    await cache.refresh()
    asked(database)
    for _ in range(10):
        assert await cache.access_key("UNKNOWN") is None
        await cache.refresh()
    assert asked(database) == 1
    with psycopg.connect(own_database_url) as connection:
        connection.execute("INSERT INTO s3_vectors.accounts VALUES ('111111111111', 'a', now(), 'k', 'k')")
    await cache.refresh()
    assert await cache.access_key("UNKNOWN") is None
    assert asked(database) == 1


async def test_what_is_too_long_for_a_key_is_not_looked_up(cache: CatalogCache, database: Database) -> None:
    asked(database)
    assert await cache.access_key("A" * 129) is None
    assert asked(database) == 0
