"""Accounts, users, access keys and identity policies as rows; secrets are sealed before they come here.

accounts ──< users ──< access_keys     two a user, and two a root user (user_id NULL)
               └─────< user_policies
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import JSONB, Insert, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app import unique_ids
from app.database.catalog import metadata
from app.envelope import WrappedKey
from app.policy.principals import Principal, user_arn

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("account_name", sa.Text),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
    sa.Column("kek_id", sa.Text),
    sa.Column("data_key", sa.LargeBinary),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("account_id", sa.ForeignKey(accounts.c.account_id)),
    sa.Column("user_name", sa.Text),
    sa.Column("tags", JSONB),
    sa.Column("creation_time", sa.DateTime(timezone=True)),
)

user_policies = sa.Table(
    "user_policies",
    metadata,
    sa.Column("user_id", sa.ForeignKey(users.c.user_id), primary_key=True),
    sa.Column("policy_name", sa.Text, primary_key=True),
    sa.Column("document", sa.Text),
)


class Account(Struct, frozen=True):
    account_id: str
    account_name: str
    creation_time: datetime
    data_key: WrappedKey


async def inserted(connection: AsyncConnection, statement: Insert) -> bool:
    """False where another row is in the way."""
    statement = statement.on_conflict_do_nothing()
    return (await connection.execute(statement.returning(sa.literal(1)))).one_or_none() is not None


async def insert_account(connection: AsyncConnection, account_id: str, name: str, data_key: WrappedKey) -> bool:
    """False where the account is there already."""
    values = {"account_id": account_id, "account_name": name, "kek_id": data_key.kek_id}
    return await inserted(connection, insert(accounts).values(**values, data_key=data_key.ciphertext))


async def find_account(connection: AsyncConnection, account_id: str) -> Account | None:
    row = (await connection.execute(sa.select(accounts).where(accounts.c.account_id == account_id))).one_or_none()
    return None if row is None else _account(row)


async def list_accounts(connection: AsyncConnection) -> list[Account]:
    rows = await connection.execute(sa.select(accounts).order_by(accounts.c.account_id))
    return [_account(row) for row in rows]


async def delete_account(connection: AsyncConnection, account_id: str) -> None:
    """What still belongs to it stands in the way as a foreign key."""
    await connection.execute(sa.delete(accounts).where(accounts.c.account_id == account_id))


async def insert_user(connection: AsyncConnection, account_id: str, user_name: str, tags: dict[str, str]) -> bool:
    """False where the name is taken, in whatever case."""
    values = {
        "user_id": unique_ids.new_id(unique_ids.USER),
        "account_id": account_id,
        "user_name": user_name,
        "tags": tags,
    }
    return await inserted(connection, insert(users).values(values))


async def list_users(connection: AsyncConnection, account_id: str) -> list[Principal]:
    statement = sa.select(users).where(users.c.account_id == account_id).order_by(users.c.user_name)
    return [principal_of(row) for row in await connection.execute(statement)]


async def update_user_tags(connection: AsyncConnection, user_id: str, tags: dict[str, str]) -> None:
    await connection.execute(sa.update(users).where(users.c.user_id == user_id).values(tags=tags))


async def delete_user(connection: AsyncConnection, user_id: str) -> None:
    """With all access keys and policies."""
    await connection.execute(sa.delete(users).where(users.c.user_id == user_id))


async def find_user(connection: AsyncConnection, account_id: str, user_name: str) -> Principal | None:
    """Names of users are unique whatever their case, as in IAM."""
    same_name = sa.func.lower(users.c.user_name) == sa.func.lower(user_name)
    statement = sa.select(users).where(users.c.account_id == account_id, same_name)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else principal_of(row)


async def find_user_ids(connection: AsyncConnection, arns: Collection[str]) -> dict[str, str]:
    """Of those users, named by ARN, who exist."""
    arn = sa.func.concat("arn:aws:iam::", users.c.account_id, ":user/", users.c.user_name)
    statement = sa.select(arn, users.c.user_id).where(arn == sa.func.any(sa.cast(list(arns), sa.ARRAY(sa.Text))))
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def put_policy(connection: AsyncConnection, user_id: str, policy_name: str, document: str) -> None:
    statement = insert(user_policies).values(user_id=user_id, policy_name=policy_name, document=document)
    key = [user_policies.c.user_id, user_policies.c.policy_name]
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_={"document": document}))


async def delete_policy(connection: AsyncConnection, user_id: str, policy_name: str) -> bool:
    """False where there is none."""
    statement = sa.delete(user_policies).where(user_policies.c.user_id == user_id)
    return (await connection.execute(statement.where(user_policies.c.policy_name == policy_name))).rowcount == 1


async def find_policies(connection: AsyncConnection, user_id: str) -> dict[str, str]:
    """Documents by name."""
    statement = sa.select(user_policies.c.policy_name, user_policies.c.document).order_by(user_policies.c.policy_name)
    rows = await connection.execute(statement.where(user_policies.c.user_id == user_id))
    return {row.policy_name: row.document for row in rows}


def _account(row: Any) -> Account:
    return Account(row.account_id, row.account_name, row.creation_time, WrappedKey(row.kek_id, row.data_key))


def principal_of(row: Any) -> Principal:
    return Principal(
        arn=user_arn(row.account_id, row.user_name),
        account_id=row.account_id,
        user_id=row.user_id,
        user_name=row.user_name,
        tags=row.tags,
    )
