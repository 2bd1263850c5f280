import asyncio
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest

import app.database.generation
from app.database.generation import Generations
from tests.database.conftest import Library

# A row of everything that servers keep.
ROWS = """
INSERT INTO s3_vectors.accounts (account_id, account_name, kek_id, data_key) VALUES ('111111111111', 'a', 'k', 'k');
INSERT INTO s3_vectors.users (user_id, account_id, user_name) VALUES ('U', '111111111111', 'alice');
INSERT INTO s3_vectors.access_keys (access_key_id, account_id, user_id, slot, status, sealed_secret)
    VALUES ('LONG', '111111111111', 'U', 1, 'Active', 's');
INSERT INTO s3_vectors.access_keys (access_key_id, account_id, user_id, status, sealed_secret, token_hash,
    expiration_time) VALUES ('SHORT', '111111111111', 'U', 'Active', 's', 't', now());
INSERT INTO s3_vectors.user_policies VALUES ('U', 'p', '{}');
INSERT INTO s3_vectors.kms_keys (key_arn, account_id, description, key_state, kek_id, key_material)
    VALUES ('arn', '111111111111', '', 'Enabled', 'k', 'k');
INSERT INTO s3_vectors.vector_buckets (account_id, vector_bucket_name, sse_type, tags)
    VALUES ('111111111111', 'b', 'AES256', '{}');
"""
INDEX = (
    "INSERT INTO s3_vectors.vector_indexes (vector_bucket_id, index_name, dimension, distance_metric, sse_type, tags) "
    "SELECT id, '{name}', 2, 'cosine', 'AES256', '{tags}' FROM s3_vectors.vector_buckets"
)
TAGGED, UNTAGGED = INDEX.format(name="tagged", tags='{"a": "1"}'), INDEX.format(name="plain", tags="{}")


ENDED = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
CHANGE = "UPDATE s3_vectors.user_policies SET document = '{}'"


@pytest.fixture(scope="module")
def url(copied_database: Callable[[], str]) -> str:
    url = copied_database()
    execute(url, f"{ROWS};{TAGGED};{UNTAGGED}")
    return url


@pytest.fixture
async def generation(url: str) -> AsyncIterator[Generations]:
    generation = Generations(url)
    yield generation
    await generation.close()


def execute(url: str, statements: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())


def raised(url: str, statement: str) -> bool:
    """By a transaction that is rolled back."""
    with psycopg.connect(url) as connection:
        generations = "SELECT access, indexes FROM s3_vectors.catalog_generation"
        before = connection.execute(generations).fetchone()
        connection.execute(statement.encode())
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        after = connection.execute(generations).fetchone()
        connection.rollback()
    return before != after


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO s3_vectors.accounts SELECT '222222222222', 'b', now(), kek_id, data_key FROM s3_vectors.accounts",
        "UPDATE s3_vectors.accounts SET data_key = 'other'",
        "INSERT INTO s3_vectors.users (user_id, account_id, user_name) VALUES ('V', '111111111111', 'bob')",
        "UPDATE s3_vectors.users SET user_name = 'carol'",
        """UPDATE s3_vectors.users SET tags = '{"team": "red"}'""",
        "DELETE FROM s3_vectors.users",
        "INSERT INTO s3_vectors.access_keys SELECT 'NEW', account_id, NULL, 1, status, now(), NULL, sealed_secret"
        " FROM s3_vectors.access_keys WHERE access_key_id = 'LONG'",
        "UPDATE s3_vectors.access_keys SET status = 'Inactive'",
        "UPDATE s3_vectors.access_keys SET sealed_secret = 'other'",
        "UPDATE s3_vectors.access_keys SET token_hash = 'other' WHERE access_key_id = 'SHORT'",
        "UPDATE s3_vectors.access_keys SET expiration_time = now() WHERE access_key_id = 'SHORT'",
        "UPDATE s3_vectors.access_keys SET user_id = NULL",
        "UPDATE s3_vectors.access_keys SET access_key_id = 'OTHER' WHERE access_key_id = 'LONG'",
        "DELETE FROM s3_vectors.access_keys",
        "INSERT INTO s3_vectors.user_policies VALUES ('U', 'q', '{}')",
        "UPDATE s3_vectors.user_policies SET document = '[]'",
        "DELETE FROM s3_vectors.user_policies",
        "UPDATE s3_vectors.kms_keys SET key_state = 'Disabled'",
        "UPDATE s3_vectors.kms_keys SET kek_id = 'other', key_material = 'other'",
        "DELETE FROM s3_vectors.kms_keys",
        "INSERT INTO s3_vectors.vector_buckets (account_id, vector_bucket_name, sse_type, tags)"
        " VALUES ('111111111111', 'c', 'AES256', '{}')",
        "UPDATE s3_vectors.vector_buckets SET policy = '{}'",
        "UPDATE s3_vectors.vector_buckets SET policy_user_ids = '{}'",
        """UPDATE s3_vectors.vector_buckets SET tags = '{"team": "red"}'""",
        "UPDATE s3_vectors.vector_buckets SET deletion_time = now()",
        "UPDATE s3_vectors.vector_buckets SET vector_bucket_name = 'renamed'",
        "UPDATE s3_vectors.vector_buckets SET account_id = '222222222222'",
        "UPDATE s3_vectors.vector_buckets SET sse_type = 'aws:kms', kms_key_arn = 'arn'",
        "UPDATE s3_vectors.vector_buckets SET default_index_mode = 'CLASSIC'",
        "UPDATE s3_vectors.vector_indexes SET index_mode = 'CLASSIC' WHERE index_name = 'plain'",
        INDEX.format(name="new", tags='{"a": "1"}'),
        """UPDATE s3_vectors.vector_indexes SET tags = '{"a": "2"}' WHERE index_name = 'tagged'""",
        """UPDATE s3_vectors.vector_indexes SET tags = '{"a": "1"}' WHERE index_name = 'plain'""",
        "UPDATE s3_vectors.vector_indexes SET deletion_time = now() WHERE index_name = 'tagged'",
        "UPDATE s3_vectors.vector_indexes SET index_name = 'renamed' WHERE index_name = 'tagged'",
        "DELETE FROM s3_vectors.vector_indexes WHERE index_name = 'tagged'",
        INDEX.format(name="new", tags="{}"),
        "UPDATE s3_vectors.vector_indexes SET data_key = 'key'",
        "UPDATE s3_vectors.vector_indexes SET deletion_time = now() WHERE index_name = 'plain'",
        "TRUNCATE s3_vectors.user_policies",
        "TRUNCATE s3_vectors.access_keys",
        "TRUNCATE s3_vectors.kms_keys",
        "TRUNCATE s3_vectors.users CASCADE",
        "TRUNCATE s3_vectors.accounts CASCADE",
        "TRUNCATE s3_vectors.vector_buckets CASCADE",
    ],
)
def test_what_servers_keep_raises_it(url: str, statement: str) -> None:
    assert raised(url, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE s3_vectors.access_keys SET last_used_time = now()",
        "UPDATE s3_vectors.vector_buckets SET schema_name = 'other'",
    ],
)
def test_what_does_not_leaves_it(url: str, statement: str) -> None:
    assert not raised(url, statement)


async def test_a_change_counts_with_its_commit_and_not_before(url: str, generation: Generations) -> None:
    before = (await generation.ask()).access
    with psycopg.connect(url) as connection:
        connection.execute(CHANGE)
        assert (await generation.ask()).access == before
        connection.rollback()
        assert (await generation.ask()).access == before
        connection.execute(CHANGE)
        connection.commit()
        assert (await generation.ask()).access == before + 1


async def test_indexes_come_and_go_by_a_number_of_their_own(library: Library, own_database_url: str) -> None:
    """A load that creates many indexes does not make every worker read all policies again."""
    generation = Generations(own_database_url)
    before = await generation.ask()
    await library.create_index(2)
    after = await generation.ask()
    assert (after.access, after.indexes > before.indexes) == (before.access, True)
    await generation.close()


async def test_it_is_read_again_when_its_backend_is_gone(url: str, generation: Generations) -> None:
    before = await generation.ask()
    for round_ in (1, 2):
        execute(url, ENDED)
        execute(url, CHANGE)
        now = await generation.ask()
        assert (now.connection, now.access) == (before.connection + round_, before.access + round_)


async def test_it_is_read_again_when_its_backend_went_while_nobody_asked(url: str, generation: Generations) -> None:
    before = await generation.ask()
    await asyncio.to_thread(execute, url, ENDED)
    await asyncio.sleep(0.1)  # the event loop hears of it
    async with asyncio.timeout(30):
        assert (await generation.ask()).connection == before.connection + 1


async def test_reads_at_once_are_all_as_new_as_their_calls(url: str, generation: Generations) -> None:
    before = await generation.ask()
    early = [generation.ask() for _ in range(20)]
    execute(url, CHANGE)
    late = await asyncio.gather(*(generation.ask() for _ in range(20)))
    changed = before._replace(access=before.access + 1)
    assert set(late) == {changed}
    assert set(await asyncio.gather(*early)) <= {before, changed}


async def test_a_reader_who_goes_away_takes_nobody_with_him(generation: Generations) -> None:
    expected = await generation.ask()
    readers = [generation.ask() for _ in range(5)]
    readers[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await readers[0]
    answers = await asyncio.gather(*readers[1:])
    assert [answer[1:] for answer in answers] == [expected[1:]] * 4


async def test_without_postgresql_the_answer_is_to_try_again() -> None:
    generation = Generations("postgresql://127.0.0.1:1/none")
    with pytest.raises(psycopg.OperationalError):
        await generation.ask()


async def test_whoever_asks_and_does_not_wait_leaves_nothing_behind(url: str) -> None:
    generation = Generations(url)
    generation.ask()
    await generation.close()
    lost = Generations("postgresql://127.0.0.1:1/none")
    lost.ask()
    await lost.close()


async def test_a_server_that_is_silent_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app.database.generation, "TIMEOUT_SECONDS", 0.3)
    generation = Generations(url)
    await generation.ask()
    with psycopg.connect(url) as connection:
        connection.execute("LOCK s3_vectors.catalog_generation")
        with pytest.raises(psycopg.OperationalError, match="in time"):
            await generation.ask()
        connection.rollback()
    await generation.ask()
    await generation.close()
