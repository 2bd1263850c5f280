"""What an account holds, across all tables."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.access_keys import access_keys
from app.database.catalog import vector_buckets
from app.database.identity import users
from app.database.kms_keys import kms_keys


async def contents(connection: AsyncConnection, account_id: str) -> dict[str, int]:
    held = {"users": users, "access keys": access_keys, "KMS keys": kms_keys, "vector buckets": vector_buckets}
    counts = [
        sa.select(sa.func.count()).select_from(t).where(t.c.account_id == account_id).scalar_subquery()
        for t in held.values()
    ]
    row = (await connection.execute(sa.select(*counts))).one()
    return dict(zip(held, row, strict=True))
