"""Every key that a key-encryption key (KEK) wraps: the data keys of accounts, and the material of KMS keys."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access_keys import new_account_key
from app.database.identity import accounts, insert_account
from app.database.kms_keys import kms_keys
from app.envelope import KeyEncryptionKeys, Unopenable, WrappedKey
from app.key_encryption_key import NoKeyEncryptionKey

BATCH = 500


class Wrapping(Struct, frozen=True):
    """Which columns hold wrapped keys, and what the keys are bound to besides the row's own id."""

    kind: str
    id: sa.Column[Any]
    kek_id: sa.Column[Any]
    key: sa.Column[Any]


WRAPPINGS = (
    Wrapping("account", accounts.c.account_id, accounts.c.kek_id, accounts.c.data_key),
    Wrapping("kms-key", kms_keys.c.key_arn, kms_keys.c.kek_id, kms_keys.c.key_material),
)


async def ensure_account(connection: AsyncConnection, keys: KeyEncryptionKeys, account_id: str, name: str) -> bool:
    """False where it is there already."""
    return await insert_account(connection, account_id, name, new_account_key(keys, account_id))


async def nothing_is_wrapped(connection: AsyncConnection) -> bool:
    return not await connection.scalar(sa.select(sa.exists().select_from(accounts)))


async def check_keys(connection: AsyncConnection, keys: KeyEncryptionKeys) -> None:
    """One wrapped key of every KEK in use is opened; raises NoKeyEncryptionKey."""
    check_opening(await samples(connection), keys)


class Sample(Struct, frozen=True):
    """A wrapped key, and what it is bound to."""

    kind: str
    id: str
    key: WrappedKey


async def samples(connection: AsyncConnection) -> list[Sample]:
    """One of every KEK in use."""
    found = []
    for wrapping in WRAPPINGS:
        each = sa.select(wrapping.id, wrapping.kek_id, wrapping.key).ext(distinct_on(wrapping.kek_id))
        rows = await connection.execute(each)
        found += [Sample(wrapping.kind, row_id, WrappedKey(kek_id, text)) for row_id, kek_id, text in rows]
    return found


def check_opening(wrapped: list[Sample], keys: KeyEncryptionKeys) -> None:
    """Raises NoKeyEncryptionKey; may wait for the operator's command, for a key that is not known yet."""
    for sample in wrapped:
        try:
            keys.unwrap(sample.key, sample.kind, sample.id)
        except Unopenable as error:
            raise NoKeyEncryptionKey(
                f"The secrets in this database are under key-encryption key {sample.key.kek_id}, and it is not the one "
                f"given (that is {keys.current}): {error}"
            ) from error


async def count_to_rotate(connection: AsyncConnection, keys: KeyEncryptionKeys) -> int:
    counts = [sa.select(sa.func.count()).where(w.kek_id != keys.current) for w in WRAPPINGS]
    return sum([(await connection.execute(count)).scalar_one() for count in counts])


async def rotate_batch(connection: AsyncConnection, keys: KeyEncryptionKeys) -> int:
    """Wraps some more keys under the current KEK; 0 when there are none left. What they open stays as it is."""
    for wrapping in WRAPPINGS:
        statement = sa.select(wrapping.id, wrapping.kek_id, wrapping.key).where(wrapping.kek_id != keys.current)
        rows = list(await connection.execute(statement.limit(BATCH).with_for_update()))
        for row_id, kek_id, ciphertext in rows:
            key = keys.unwrap(WrappedKey(kek_id, ciphertext), wrapping.kind, row_id)
            wrapped = keys.wrap(key, wrapping.kind, row_id)
            values = {wrapping.kek_id.name: wrapped.kek_id, wrapping.key.name: wrapped.ciphertext}
            await connection.execute(sa.update(wrapping.id.table).where(wrapping.id == row_id).values(values))
        if rows:
            return len(rows)
    return 0
