import asyncio
import re

import pytest

from app.access_keys import account_key
from app.database.engine import Database
from app.database.identity import find_account, list_accounts
from app.database.kms_keys import find_kms_key, insert_kms_key
from app.database.wrapped_keys import (
    BATCH,
    check_keys,
    count_to_rotate,
    ensure_account,
    nothing_is_wrapped,
    rotate_batch,
)
from app.envelope import KeyEncryptionKeys, Unopenable, kek_id, new_key
from app.key_encryption_key import NoKeyEncryptionKey
from app.kms import new_key_material

OLD, NEW, OTHER = new_key(), new_key(), new_key()
ACCOUNT = "111111111111"
KEY_ARN = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1"


def keys(*given: bytes) -> KeyEncryptionKeys:
    return KeyEncryptionKeys(lambda: list(given))


@pytest.fixture
async def wrapped(database: Database) -> dict[str, bytes]:
    """What an account's and a KMS key's wrapped keys open to."""
    async with database.transaction() as connection:
        assert await ensure_account(connection, keys(OLD), ACCOUNT, "tenant")
        assert await insert_kms_key(connection, KEY_ARN, ACCOUNT, "", new_key_material(keys(OLD), KEY_ARN))
    return await opened(database, keys(OLD))


async def opened(database: Database, by: KeyEncryptionKeys) -> dict[str, bytes]:
    async with database.transaction() as connection:
        accounts = {a.account_id: account_key(by, a.account_id, a.data_key) for a in await list_accounts(connection)}
        key = await find_kms_key(connection, KEY_ARN)
    return accounts | ({KEY_ARN: by.unwrap(key.key_material, "kms-key", KEY_ARN)} if key else {})


async def rotate(database: Database, by: KeyEncryptionKeys) -> list[int]:
    """The batches."""
    batches = []
    while True:
        async with database.transaction() as connection:
            batches.append(await rotate_batch(connection, by))
        if batches[-1] == 0:
            return batches[:-1]


async def test_an_account_is_made_once(database: Database) -> None:
    async with database.transaction() as connection:
        assert await nothing_is_wrapped(connection)
        assert await ensure_account(connection, keys(OLD), ACCOUNT, "first")
        assert not await ensure_account(connection, keys(NEW), ACCOUNT, "second")
        assert not await nothing_is_wrapped(connection)
        account = await find_account(connection, ACCOUNT)
    assert account
    assert (account.account_name, account.data_key.kek_id) == ("first", kek_id(OLD))


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize("given", [(OLD,), (OLD, NEW), (NEW, OLD)], ids=["alone", "in front", "behind"])
async def test_the_right_key_passes(database: Database, given: tuple[bytes, ...]) -> None:
    async with database.transaction() as connection:
        await check_keys(connection, keys(*given))


@pytest.mark.usefixtures("wrapped")
async def test_another_key_is_refused_with_both_ids(database: Database) -> None:
    expected = (
        f"The secrets in this database are under key-encryption key {kek_id(OLD)}, and it is not the one given (that is"
        f" {kek_id(OTHER)}): Key-encryption key {kek_id(OLD)} is missing"
    )
    async with database.transaction() as connection:
        with pytest.raises(NoKeyEncryptionKey, match=f"^{re.escape(expected)}$"):
            await check_keys(connection, keys(OTHER))


@pytest.mark.usefixtures("wrapped")
@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE s3_vectors.accounts SET kek_id = '{kek_id(OTHER)}'",
        "UPDATE s3_vectors.accounts SET data_key = 'changed'",
        "UPDATE s3_vectors.kms_keys SET key_material = (SELECT data_key FROM s3_vectors.accounts)",
        f"UPDATE s3_vectors.kms_keys SET kek_id = '{kek_id(NEW)}'",
    ],
    ids=["another key", "no key", "the key of another", "a key that wraps others"],
)
async def test_keys_that_do_not_open_are_found_at_the_start(database: Database, change: str) -> None:
    async with database.transaction() as connection:
        await connection.exec_driver_sql(change)
        with pytest.raises(NoKeyEncryptionKey):
            await check_keys(connection, keys(OLD, NEW))


async def test_rotation_wraps_everything_under_the_first_key(database: Database, wrapped: dict[str, bytes]) -> None:
    both = keys(NEW, OLD)
    async with database.transaction() as connection:
        assert await count_to_rotate(connection, keys(OLD)) == 0
        assert await count_to_rotate(connection, both) == 2
    assert await rotate(database, both) == [1, 1]
    async with database.transaction() as connection:
        assert await count_to_rotate(connection, both) == 0
    assert await opened(database, keys(NEW)) == wrapped
    with pytest.raises(Unopenable):
        await opened(database, keys(OLD))


async def test_a_rotation_that_was_interrupted_is_finished_by_the_next(
    database: Database, wrapped: dict[str, bytes]
) -> None:
    both = keys(NEW, OLD)
    async with database.transaction() as connection:
        assert await rotate_batch(connection, both) == 1
    async with database.transaction() as connection:
        assert await rotate_batch(connection, both) == 1
        await connection.rollback()
    assert await opened(database, both) == wrapped
    assert await rotate(database, both) == [1]
    assert await rotate(database, both) == []
    assert await opened(database, keys(NEW)) == wrapped


async def test_many_keys_are_wrapped_in_batches(database: Database) -> None:
    async with database.transaction() as connection:
        for number in range(BATCH + 1):
            assert await ensure_account(connection, keys(OLD), f"{number:012}", "tenant")
    before = await opened(database, keys(OLD))
    assert await rotate(database, keys(NEW, OLD)) == [BATCH, 1]
    assert await opened(database, keys(NEW)) == before


@pytest.mark.usefixtures("wrapped")
async def test_two_rotations_at_once_do_the_work_once(database: Database) -> None:
    both = keys(NEW, OLD)
    done = await asyncio.gather(rotate(database, both), rotate(database, both))
    assert sum(map(sum, done)) == 2
    await opened(database, keys(NEW))


async def test_back_and_forth_with_several_old_keys(database: Database, wrapped: dict[str, bytes]) -> None:
    for order in ((NEW, OLD), (OTHER, NEW, OLD), (OLD, OTHER)):
        assert sum(await rotate(database, keys(*order))) == 2
        assert await opened(database, keys(order[0])) == wrapped


@pytest.mark.usefixtures("wrapped")
async def test_a_key_that_was_changed_stops_the_rotation_and_stays_as_it_is(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE s3_vectors.accounts SET data_key = 'changed'")
    with pytest.raises(Unopenable):
        await rotate(database, keys(NEW, OLD))
    async with database.transaction() as connection:
        assert await count_to_rotate(connection, keys(NEW, OLD)) == 2
