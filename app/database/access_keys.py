"""Access keys as rows: two a user, two a root user (without user_id), and temporary ones without number.

Secrets are sealed, and session tokens hashed, before they come here.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.catalog import metadata
from app.database.identity import accounts, inserted, principal_of, users
from app.envelope import WrappedKey
from app.policy.principals import Principal, root_user

SLOTS = (1, 2)

access_keys = sa.Table(
    "access_keys",
    metadata,
    sa.Column("access_key_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.ForeignKey(accounts.c.account_id)),
    sa.Column("user_id", sa.ForeignKey(users.c.user_id)),
    sa.Column("slot", sa.SmallInteger),
    sa.Column("status", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("last_used_time", sa.DateTime(timezone=True)),
    sa.Column("sealed_secret", sa.LargeBinary),
    sa.Column("token_hash", sa.LargeBinary),
    sa.Column("expiration_time", sa.DateTime(timezone=True)),
)


class SealedAccessKey(Struct, frozen=True):
    """An access key with the account's key that opens its secret; temporary ones have a token and an end."""

    access_key_id: str
    principal: Principal
    status: str
    sealed_secret: bytes
    account_data_key: WrappedKey
    token_hash: bytes | None
    expiration_time: datetime | None


class NewAccessKey(Struct, frozen=True):
    """A session token makes it temporary."""

    access_key_id: str
    principal: Principal
    sealed_secret: bytes
    token_hash: bytes | None = None
    expiration_time: datetime | None = None


class ListedAccessKey(Struct, frozen=True):
    """What an administrator sees; without a user it is the root user's."""

    access_key_id: str
    user_name: str | None
    status: str
    creation_time: datetime
    last_used_time: datetime | None
    expiration_time: datetime | None


async def find_access_key(connection: AsyncConnection, access_key_id: str) -> SealedAccessKey | None:
    statement = (
        sa.select(access_keys, users.c.user_name, users.c.tags, accounts.c.kek_id, accounts.c.data_key)
        .join(accounts, accounts.c.account_id == access_keys.c.account_id)
        .outerjoin(users, users.c.user_id == access_keys.c.user_id)
        .where(access_keys.c.access_key_id == access_key_id)
    )
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    principal = principal_of(row) if row.user_id else root_user(row.account_id)
    if row.token_hash is not None:
        principal = replace(principal, token_issue_time=row.creation_time.astimezone(UTC))
    return SealedAccessKey(
        access_key_id=row.access_key_id,
        principal=principal,
        status=row.status,
        sealed_secret=row.sealed_secret,
        account_data_key=WrappedKey(row.kek_id, row.data_key),
        token_hash=row.token_hash,
        expiration_time=row.expiration_time,
    )


async def insert_access_key(connection: AsyncConnection, key: NewAccessKey) -> bool:
    """False where both of the owner's slots are taken."""
    owner = key.principal
    values = {
        "access_key_id": key.access_key_id,
        "account_id": owner.account_id,
        "user_id": None if owner.is_root else owner.user_id,
        "status": "Active",
        "sealed_secret": key.sealed_secret,
        "token_hash": key.token_hash,
        "expiration_time": key.expiration_time,
    }
    for slot in SLOTS if key.token_hash is None else (None,):
        if await inserted(connection, insert(access_keys).values(**values, slot=slot)):
            return True
    return False


async def list_access_keys(connection: AsyncConnection, account_id: str) -> list[ListedAccessKey]:
    """Temporary ones that have ended are left out."""
    statement = (
        sa.select(access_keys, users.c.user_name)
        .outerjoin(users, users.c.user_id == access_keys.c.user_id)
        .where(access_keys.c.account_id == account_id)
        .where(sa.func.coalesce(access_keys.c.expiration_time > sa.func.now(), sa.true()))
        .order_by(sa.nulls_first(users.c.user_name), access_keys.c.creation_time)
    )
    return [
        ListedAccessKey(
            access_key_id=row.access_key_id,
            user_name=row.user_name,
            status=row.status,
            creation_time=row.creation_time,
            last_used_time=row.last_used_time,
            expiration_time=row.expiration_time,
        )
        for row in await connection.execute(statement)
    ]


async def update_access_key(connection: AsyncConnection, access_key_id: str, status: str) -> bool:
    """False where there is none; temporary ones are ended by deleting them."""
    statement = sa.update(access_keys).where(access_keys.c.access_key_id == access_key_id).values(status=status)
    return (await connection.execute(statement)).rowcount == 1


async def delete_access_key(connection: AsyncConnection, access_key_id: str) -> bool:
    statement = sa.delete(access_keys).where(access_keys.c.access_key_id == access_key_id)
    return (await connection.execute(statement)).rowcount == 1


async def forget_expired_keys(connection: AsyncConnection) -> None:
    """A day later: until then their holders are told that they have expired."""
    long_ago = access_keys.c.expiration_time < sa.func.now() - sa.cast("1 day", sa.Interval)
    await connection.execute(sa.delete(access_keys).where(long_ago))


async def note_last_use(connection: AsyncConnection, used: dict[str, datetime]) -> None:
    """Of several servers that note the same key, the latest counts; they lock in one order and never in a circle."""
    ids = sa.cast(list(used), sa.ARRAY(sa.Text))
    times = sa.cast(list(used.values()), sa.ARRAY(sa.DateTime(timezone=True)))
    locked = sa.select(access_keys.c.access_key_id).where(access_keys.c.access_key_id == sa.func.any(ids))
    await connection.execute(locked.order_by(access_keys.c.access_key_id).with_for_update(key_share=True))
    seen = sa.func.unnest(ids, times).table_valued("access_key_id", "time", name="seen").render_derived()
    latest = sa.func.greatest(access_keys.c.last_used_time, seen.c.time)
    statement = sa.update(access_keys).values(last_used_time=latest)
    await connection.execute(statement.where(access_keys.c.access_key_id == seen.c.access_key_id))
