"""Which account and which user a command speaks of."""

from typing import Annotated

from cyclopts import Parameter
from sqlalchemy.ext.asyncio import AsyncConnection

from app.cli.connection import Catalog
from app.cli.output import CommandError
from app.database.identity import Account, find_account, find_user
from app.policy.principals import Principal

OfAccount = Annotated[str | None, Parameter(name="--account", help="12 digits; the server's own account by default.")]


async def account_of(connection: AsyncConnection, catalog: Catalog, account_id: str | None) -> Account:
    wanted = account_id or catalog.settings.account_id
    account = await find_account(connection, wanted)
    if account is None:
        raise CommandError(f"There is no account {wanted}.")
    return account


async def user_of(connection: AsyncConnection, catalog: Catalog, account_id: str | None, user_name: str) -> Principal:
    account = await account_of(connection, catalog, account_id)
    user = await find_user(connection, account.account_id, user_name)
    if user is None:
        raise CommandError(f"There is no user {user_name} in account {account.account_id}.")
    return user
