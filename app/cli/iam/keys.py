"""`pgs3vectors iam key` and `pgs3vectors iam session`."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from app import unique_ids
from app.access_keys import (
    account_key,
    hash_token,
    new_secret,
    seal_secret,
)
from app.audit import Change
from app.cli.audit import audit
from app.cli.connection import Catalog, opened_catalog
from app.cli.iam.owners import OfAccount, account_of, user_of
from app.cli.output import CommandError, Json, say, show, show_one
from app.database.access_keys import (
    NewAccessKey,
    delete_access_key,
    insert_access_key,
    list_access_keys,
    update_access_key,
)
from app.policy.principals import root_user

key = App(name="key", help="Access keys: two a user, and two a root user.")
session = App(name="session", help="Temporary credentials.")

UserName = Annotated[str | None, Parameter(help="Without it, the root user of the account.")]
Seconds = Annotated[int, Parameter(validator=Number(gte=900, lte=129_600), help="900 to 129600 seconds.")]


@key.command
async def create(user_name: UserName = None, *, account: OfAccount = None, json: Json = False) -> None:
    """Create an access key; its secret is shown this once."""
    async with opened_catalog() as catalog:
        shown = await create_key(catalog, account, user_name)
    show_one(shown, json=json)


@session.command(name="create")
async def create_session(
    user_name: str, *, account: OfAccount = None, seconds: Seconds = 3600, json: Json = False
) -> None:
    """Create temporary credentials of a user; secret and session token are shown this once."""
    async with opened_catalog() as catalog:
        shown = await create_key(catalog, account, user_name, timedelta(seconds=seconds))
    show_one(shown, json=json)


@key.command(name="list")
async def list_(*, account: OfAccount = None, json: Json = False) -> None:
    """List the access keys of an account, and when they were last used (to the minute)."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        keys = await list_access_keys(connection, (await account_of(connection, catalog, account)).account_id)
    show([msgspec.structs.asdict(k) | {"user_name": k.user_name or "(root)"} for k in keys], json=json)


@key.command
async def deactivate(access_key_id: str) -> None:
    """Refuse an access key from the next request on."""
    await set_status(access_key_id, "Inactive")


@key.command
async def activate(access_key_id: str) -> None:
    """Accept an access key again."""
    await set_status(access_key_id, "Active")


@key.command
async def delete(access_key_id: str) -> None:
    """Delete an access key, or end a session."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        if not await delete_access_key(connection, access_key_id):
            raise CommandError(f"There is no access key {access_key_id}.")
    audit(catalog.settings, Change("iam:DeleteAccessKey", None, {"accessKeyId": access_key_id}))
    say(f"Access key {access_key_id} deleted.")


async def set_status(access_key_id: str, status: str) -> None:
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        if not await update_access_key(connection, access_key_id, status):
            raise CommandError(f"There is no access key {access_key_id}.")
    audit(catalog.settings, Change("iam:UpdateAccessKey", None, {"accessKeyId": access_key_id, "status": status}))
    say(f"Access key {access_key_id} is {status.lower()}.")


async def create_key(
    catalog: Catalog, account: str | None, user_name: str | None, lifetime: timedelta | None = None
) -> dict[str, str]:
    """What is shown, under the names of AWS's credentials."""
    secret, token = new_secret(), secrets.token_urlsafe(96) if lifetime else None
    access_key_id = unique_ids.new_id(unique_ids.TEMPORARY_ACCESS_KEY if lifetime else unique_ids.ACCESS_KEY)
    expiration = datetime.now(UTC).replace(microsecond=0) + lifetime if lifetime else None
    async with catalog.database.transaction() as connection:
        owning = await account_of(connection, catalog, account)
        owner = root_user(owning.account_id)
        if user_name is not None:
            owner = await user_of(connection, catalog, account, user_name)
        data_key = account_key(catalog.keys, owning.account_id, owning.data_key)
        new = NewAccessKey(
            access_key_id=access_key_id,
            principal=owner,
            sealed_secret=seal_secret(data_key, access_key_id, owner, secret),
            token_hash=hash_token(token) if token else None,
            expiration_time=expiration,
        )
        if not await insert_access_key(connection, new):
            raise CommandError(f"{owner.arn} has two access keys already; delete one first.")
    audit_key(catalog, new, lifetime)
    shown = {"AccessKeyId": access_key_id, "SecretAccessKey": secret}
    if token and expiration:
        shown |= {"SessionToken": token, "Expiration": expiration.isoformat()}
    return shown


def audit_key(catalog: Catalog, new: NewAccessKey, lifetime: timedelta | None) -> None:
    """The id, which is no secret."""
    owner, expiration = new.principal, new.expiration_time
    parameters = {"userName": owner.user_name or None}
    if lifetime is None or expiration is None:
        action, created = "iam:CreateAccessKey", {"accessKey": {"accessKeyId": new.access_key_id, "status": "Active"}}
    else:
        parameters |= {"durationSeconds": str(round(lifetime.total_seconds()))}
        told = {"accessKeyId": new.access_key_id, "expiration": expiration.isoformat()}
        action, created = "sts:GetSessionToken", {"credentials": told}
    resource = owner.arn if owner.user_name else None
    audit(catalog.settings, Change(action, owner.account_id, parameters, resource=resource, response=created))
