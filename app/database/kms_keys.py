"""KMS keys as rows; their material is wrapped by a key-encryption key before it comes here."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.catalog import metadata
from app.database.identity import accounts, inserted
from app.envelope import WrappedKey

kms_keys = sa.Table(
    "kms_keys",
    metadata,
    sa.Column("key_arn", sa.Text, primary_key=True),
    sa.Column("account_id", sa.ForeignKey(accounts.c.account_id)),
    sa.Column("description", sa.Text),
    sa.Column("key_state", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("deletion_time", sa.DateTime(timezone=True)),
    sa.Column("kek_id", sa.Text),
    sa.Column("key_material", sa.LargeBinary),
)


class KeyState(StrEnum):
    ENABLED = "Enabled"
    DISABLED = "Disabled"
    PENDING_DELETION = "PendingDeletion"


class KmsKey(Struct, frozen=True):
    key_arn: str
    account_id: str
    description: str
    key_state: KeyState
    creation_time: datetime
    deletion_time: datetime | None
    key_material: WrappedKey


async def insert_kms_key(
    connection: AsyncConnection, key_arn: str, account_id: str, description: str, material: WrappedKey
) -> bool:
    """False where there is a key of that ARN."""
    values = {
        "key_arn": key_arn,
        "account_id": account_id,
        "description": description,
        "key_state": KeyState.ENABLED,
        "kek_id": material.kek_id,
        "key_material": material.ciphertext,
    }
    return await inserted(connection, insert(kms_keys).values(values))


async def find_kms_key(connection: AsyncConnection, key_arn: str) -> KmsKey | None:
    row = (await connection.execute(sa.select(kms_keys).where(kms_keys.c.key_arn == key_arn))).one_or_none()
    return None if row is None else _kms_key(row)


async def list_kms_keys(connection: AsyncConnection, account_id: str) -> list[KmsKey]:
    statement = sa.select(kms_keys).where(kms_keys.c.account_id == account_id).order_by(kms_keys.c.creation_time)
    return [_kms_key(row) for row in await connection.execute(statement)]


async def update_kms_key(
    connection: AsyncConnection, key_arn: str, only_from: Collection[KeyState], **values: Any
) -> bool:
    """False where there is no such key in one of those states."""
    statement = sa.update(kms_keys).where(kms_keys.c.key_arn == key_arn, kms_keys.c.key_state.in_(only_from))
    return (await connection.execute(statement.values(**values))).rowcount == 1


async def destroy_due_keys(connection: AsyncConnection) -> None:
    await connection.execute(sa.delete(kms_keys).where(kms_keys.c.deletion_time <= sa.func.now()))


def _kms_key(row: Any) -> KmsKey:
    return KmsKey(
        key_arn=row.key_arn,
        account_id=row.account_id,
        description=row.description,
        key_state=KeyState(row.key_state),
        creation_time=row.creation_time,
        deletion_time=row.deletion_time,
        key_material=WrappedKey(row.kek_id, row.key_material),
    )
