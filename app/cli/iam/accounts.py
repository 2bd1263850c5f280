"""`pgs3vectors iam account`."""

import re

from cyclopts import App

from app.audit import Change
from app.cli.audit import audit
from app.cli.connection import opened_catalog
from app.cli.iam.owners import account_of
from app.cli.output import CommandError, Json, say, show
from app.database.accounts import contents
from app.database.identity import delete_account, list_accounts
from app.database.wrapped_keys import ensure_account

account = App(name="account", help="Tenants: each owns its buckets, whose names are its own.")


@account.command
async def create(account_id: str, *, name: str = "") -> None:
    """Create an account of 12 digits."""
    if not re.fullmatch(r"[0-9]{12}", account_id):
        raise CommandError("An account has 12 digits.")
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        if not await ensure_account(connection, catalog.keys, account_id, name):
            raise CommandError(f"Account {account_id} exists already.")
    audit(catalog.settings, Change("organizations:CreateAccount", account_id, {"accountName": name}))
    say(f"Account {account_id} created. Its root user's access key: pgs3vectors iam key create --account {account_id}")


@account.command(name="list")
async def list_(*, json: Json = False) -> None:
    """List the accounts."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        accounts = await list_accounts(connection)
    show(
        [{"account_id": a.account_id, "name": a.account_name, "creation_time": a.creation_time} for a in accounts],
        json=json,
    )


@account.command
async def delete(account_id: str) -> None:
    """Delete an account that has neither users, access keys, KMS keys nor buckets."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        if account_id == catalog.settings.account_id:
            raise CommandError("The server's own account stays.")
        await account_of(connection, catalog, account_id)
        if holds := [what for what, count in (await contents(connection, account_id)).items() if count]:
            raise CommandError(f"Account {account_id} still has {', '.join(holds)}.")
        await delete_account(connection, account_id)
    audit(catalog.settings, Change("organizations:CloseAccount", account_id, {"accountId": account_id}))
    say(f"Account {account_id} deleted.")
