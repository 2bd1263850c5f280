import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from app.access_keys import account_key, hash_token, open_access_key, seal_secret
from app.database.access_keys import (
    NewAccessKey,
    delete_access_key,
    find_access_key,
    forget_expired_keys,
    insert_access_key,
    list_access_keys,
    note_last_use,
    update_access_key,
)
from app.database.engine import Database
from app.database.identity import delete_user, find_account, find_user, insert_user
from app.database.last_use import LastUse
from app.database.wrapped_keys import ensure_account
from app.envelope import KeyEncryptionKeys, Unopenable, new_key
from app.policy.principals import Principal, root_user

KEK = new_key()
KEYS = KeyEncryptionKeys(lambda: [KEK])
ACCOUNT, OTHER_ACCOUNT = "111111111111", "222222222222"
ROOT = root_user(ACCOUNT)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def alice(database: Database) -> Principal:
    """A user beside another of the same name in another account."""
    async with database.transaction() as connection:
        for account in (ACCOUNT, OTHER_ACCOUNT):
            assert await ensure_account(connection, KEYS, account, "tenant")
            assert await insert_user(connection, account, "alice", {"team": "red"})
        found = await find_user(connection, ACCOUNT, "ALICE")
    assert found
    return found


async def create(
    database: Database, owner: Principal, access_key_id: str, *, expiration_time: datetime | None = None
) -> bool:
    """With its own id as secret; one that expires has it as session token, too."""
    async with database.transaction() as connection:
        account = await find_account(connection, owner.account_id)
        assert account
        key = account_key(KEYS, owner.account_id, account.data_key)
        new = NewAccessKey(
            access_key_id=access_key_id,
            principal=owner,
            sealed_secret=seal_secret(key, access_key_id, owner, access_key_id),
            token_hash=hash_token(access_key_id) if expiration_time else None,
            expiration_time=expiration_time,
        )
        return await insert_access_key(connection, new)


async def listed(database: Database, account_id: str = ACCOUNT) -> list[str]:
    async with database.transaction() as connection:
        return [key.access_key_id for key in await list_access_keys(connection, account_id)]


@pytest.mark.parametrize("owner", ["alice", "root"])
async def test_a_key_is_found_with_its_owner_and_opens(database: Database, alice: Principal, owner: str) -> None:
    principal = alice if owner == "alice" else ROOT
    assert await create(database, principal, "K1")
    async with database.transaction() as connection:
        found = await find_access_key(connection, "K1")
        assert await find_access_key(connection, "k1") is None
    assert found
    assert open_access_key(KEYS, found).secret_access_key == "K1"
    assert found.principal == principal
    assert dict(found.principal.tags) == ({"team": "red"} if owner == "alice" else {})


async def test_a_temporary_key_is_found_with_the_time_of_its_issue(database: Database, alice: Principal) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert await create(database, alice, "T1", expiration_time=before + timedelta(hours=1))
    async with database.transaction() as connection:
        await connection.exec_driver_sql("SET LOCAL TIME ZONE 'Asia/Tokyo'")
        found = await find_access_key(connection, "T1")
    assert found
    assert found.principal.token_issue_time
    assert before < found.principal.token_issue_time < before + timedelta(minutes=10)
    assert found.principal.token_issue_time.tzinfo is UTC
    assert msgspec.structs.replace(found.principal, token_issue_time=None) == alice


@pytest.mark.parametrize("owner", ["alice", "root"])
async def test_a_third_key_is_refused_until_one_is_deleted(database: Database, alice: Principal, owner: str) -> None:
    principal = alice if owner == "alice" else ROOT
    assert [await create(database, principal, f"K{i}") for i in range(3)] == [True, True, False]
    async with database.transaction() as connection:
        assert await update_access_key(connection, "K0", "Inactive")
    assert not await create(database, principal, "K4")
    async with database.transaction() as connection:
        assert await delete_access_key(connection, "K0")
        assert not await delete_access_key(connection, "K0")
    assert await create(database, principal, "K5")
    assert sorted(await listed(database)) == ["K1", "K5"]


@pytest.mark.parametrize("owner", ["alice", "root"])
async def test_of_many_that_are_made_at_once_two_are_kept(database: Database, alice: Principal, owner: str) -> None:
    principal = alice if owner == "alice" else ROOT
    made = await asyncio.gather(*(create(database, principal, f"K{i}") for i in range(12)))
    assert sum(made) == 2
    assert sorted(await listed(database)) == sorted(f"K{i}" for i, kept in enumerate(made) if kept)


async def test_every_owner_has_two_of_their_own(database: Database, alice: Principal) -> None:
    async with database.transaction() as connection:
        assert await insert_user(connection, ACCOUNT, "bob", {})
        bob = await find_user(connection, ACCOUNT, "bob")
        namesake = await find_user(connection, OTHER_ACCOUNT, "alice")
    assert bob
    assert namesake
    owners = [alice, bob, namesake, ROOT, root_user(OTHER_ACCOUNT)]
    assert all([await create(database, owner, f"{owner.user_id}{i}") for owner in owners for i in range(2)])
    assert len(await listed(database)) == 6


async def test_temporary_keys_take_no_slot(database: Database, alice: Principal) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    assert all([await create(database, alice, f"T{i}", expiration_time=end) for i in range(5)])
    assert [await create(database, alice, f"K{i}") for i in range(3)] == [True, True, False]


async def test_expired_keys_are_not_listed_and_are_forgotten_a_day_later(database: Database, alice: Principal) -> None:
    now = datetime.now(UTC)
    for name, hours in (("later", 1), ("just", -1), ("long ago", -25)):
        assert await create(database, alice, name, expiration_time=now + timedelta(hours=hours))
    assert await create(database, alice, "forever")
    assert sorted(await listed(database)) == ["forever", "later"]
    async with database.transaction() as connection:
        await forget_expired_keys(connection)
        assert await find_access_key(connection, "just")
        assert await find_access_key(connection, "forever")
        assert await find_access_key(connection, "long ago") is None


async def test_keys_go_with_their_user_and_a_successor_has_none(database: Database, alice: Principal) -> None:
    assert await create(database, alice, "K1")
    assert await create(database, ROOT, "R1")
    async with database.transaction() as connection:
        await delete_user(connection, alice.user_id)
        assert await find_access_key(connection, "K1") is None
        assert await insert_user(connection, ACCOUNT, "alice", {})
        successor = await find_user(connection, ACCOUNT, "alice")
    assert successor
    assert successor.user_id != alice.user_id
    assert await listed(database) == ["R1"]


async def test_a_secret_moved_in_sql_to_another_row_or_owner_does_not_open(
    database: Database, alice: Principal
) -> None:
    for name, owner in (("K1", alice), ("K2", alice), ("R1", ROOT)):
        assert await create(database, owner, name)
    moves = [
        "UPDATE s3_vectors.access_keys SET sealed_secret = (SELECT sealed_secret FROM s3_vectors.access_keys"
        " WHERE access_key_id = 'K2') WHERE access_key_id = 'K1'",
        "UPDATE s3_vectors.access_keys SET user_id = NULL, slot = 2 WHERE access_key_id = 'K1'",
        "UPDATE s3_vectors.access_keys SET account_id = '222222222222' WHERE access_key_id = 'K1'",
        "UPDATE s3_vectors.access_keys SET account_id = '222222222222', user_id = NULL WHERE access_key_id = 'K1'",
        "UPDATE s3_vectors.accounts SET (kek_id, data_key) = (SELECT kek_id, data_key FROM s3_vectors.accounts"
        " WHERE account_id = '222222222222') WHERE account_id = '111111111111'",
    ]
    for move in moves:
        async with database.transaction() as connection:
            await connection.exec_driver_sql(move)
            moved = await find_access_key(connection, "K1")
            assert moved
            with pytest.raises(Unopenable):
                open_access_key(KEYS, moved)
            await connection.rollback()


async def last_uses(database: Database) -> dict[str, datetime | None]:
    async with database.transaction() as connection:
        return {key.access_key_id: key.last_used_time for key in await list_access_keys(connection, ACCOUNT)}


async def test_the_last_use_that_any_server_noted_is_kept(database: Database, alice: Principal) -> None:
    for name, owner in (("K1", alice), ("K2", alice), ("R1", ROOT)):
        assert await create(database, owner, name)
    for used in ({"K1": NOON, "K2": NOON}, {"K1": NOON + timedelta(1), "K2": NOON - timedelta(1), "gone": NOON}):
        async with database.transaction() as connection:
            await note_last_use(connection, used)
    assert await last_uses(database) == {"K1": NOON + timedelta(1), "K2": NOON, "R1": None}


async def test_uses_are_written_behind_and_at_the_end(database: Database, alice: Principal) -> None:
    assert await create(database, alice, "K1")
    last_use = LastUse(database)
    running = asyncio.create_task(last_use.run())
    await asyncio.sleep(0)
    last_use.note("K1", NOON)
    last_use.note("K1", NOON + timedelta(seconds=1))
    last_use.stop()
    await running
    assert await last_uses(database) == {"K1": NOON + timedelta(seconds=1)}


async def test_who_is_begun_again_when_all_ends_writes_uses_all_the_same(database: Database, alice: Principal) -> None:
    assert await create(database, alice, "K1")
    last_use = LastUse(database)
    last_use.note("K1", NOON)
    last_use.stop()
    await last_use.run()
    assert await last_uses(database) == {"K1": NOON}


async def test_a_use_that_could_not_be_written_is_written_later(
    database: Database, alice: Principal, own_database_url: str
) -> None:
    assert await create(database, alice, "K1")
    assert await create(database, alice, "K2")
    last_use = LastUse(database)
    last_use.note("K1", NOON)
    last_use.note("K2", NOON)
    with psycopg.connect(own_database_url) as owner:
        owner.execute("ALTER TABLE s3_vectors.access_keys RENAME TO elsewhere")
    await last_use.write()
    last_use.note("K2", NOON + timedelta(1))
    with psycopg.connect(own_database_url) as owner:
        owner.execute("ALTER TABLE s3_vectors.elsewhere RENAME TO access_keys")
    await last_use.write()
    assert await last_uses(database) == {"K1": NOON, "K2": NOON + timedelta(1)}
    await last_use.write()


@pytest.mark.parametrize(
    "change", ["slot = NULL", "slot = 3", "token_hash = 'x'", "expiration_time = now()", "status = 'active'"]
)
async def test_the_database_refuses_what_is_neither_long_lived_nor_temporary(
    database: Database, alice: Principal, own_database_url: str, change: str
) -> None:
    assert await create(database, alice, "K1")
    with psycopg.connect(own_database_url) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(f"UPDATE s3_vectors.access_keys SET {change}".encode())
