"""`pgs3vectors kms`: the keys that `aws:kms` names."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

from cyclopts import App, Parameter
from cyclopts.validators import Number

from app.audit import Change
from app.cli.audit import audit
from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount, account_of
from app.cli.output import CommandError, Json, say, show
from app.database.kms_keys import KeyState, insert_kms_key, list_kms_keys, update_kms_key
from app.kms import new_key_material

KEY_ARN = re.compile(r"arn:aws:kms:[a-z0-9-]+:([0-9]{12}):key/[A-Za-z0-9-]+")
Arn = Annotated[
    str | None, Parameter(name="--key-arn", help="An ARN that applications already name; else a new one is made.")
]
Days = Annotated[int, Parameter(validator=Number(gte=7, lte=30), help="7 to 30 days.")]

kms = App(name="kms", help="Keys for vector buckets and indexes under aws:kms.")


@kms.command
async def create(*, account: OfAccount = None, key_arn: Arn = None, description: str = "") -> None:
    """Register a key with new key material, and print its ARN."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        owner = (await account_of(connection, catalog, account)).account_id
        arn = key_arn or f"arn:aws:kms:{catalog.settings.region}:{owner}:key/{uuid4()}"
        match = KEY_ARN.fullmatch(arn)
        if match is None or match[1] != owner:
            raise CommandError(f"A key of account {owner} has an ARN as arn:aws:kms:REGION:{owner}:key/ID.")
        if not await insert_kms_key(connection, arn, owner, description, new_key_material(catalog.keys, arn)):
            raise CommandError(f"There is a key {arn} already.")
    audit(catalog.settings, Change("kms:CreateKey", owner, {"description": description}, resource=arn))
    say(arn)


@kms.command(name="list")
async def list_(*, account: OfAccount = None, json: Json = False) -> None:
    """List the keys of an account."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        keys = await list_kms_keys(connection, (await account_of(connection, catalog, account)).account_id)
    rows = [
        {
            "key_arn": k.key_arn,
            "key_state": str(k.key_state),
            "description": k.description,
            "creation_time": k.creation_time,
            "deletion_time": k.deletion_time,
        }
        for k in keys
    ]
    show(rows, json=json)


@kms.command
async def enable(key_arn: str) -> None:
    """Let a key be used again."""
    await change(key_arn, "kms:EnableKey", KeyState.ENABLED, only_from=(KeyState.ENABLED, KeyState.DISABLED))


@kms.command
async def disable(key_arn: str) -> None:
    """Refuse everything under a key from the next request on; what it encrypts cannot be read meanwhile."""
    await change(key_arn, "kms:DisableKey", KeyState.DISABLED, only_from=(KeyState.ENABLED, KeyState.DISABLED))


@kms.command
async def schedule_deletion(key_arn: str, *, days: Days = 30) -> None:
    """Destroy a key after some days: what it encrypts is lost then, but to backups that still hold the key."""
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
    await change(
        key_arn,
        "kms:ScheduleKeyDeletion",
        KeyState.PENDING_DELETION,
        only_from=(KeyState.ENABLED, KeyState.DISABLED),
        deletion_time=due,
    )


@kms.command
async def cancel_deletion(key_arn: str) -> None:
    """Keep a key that is to be destroyed; it is disabled then, as at AWS."""
    await change(key_arn, "kms:CancelKeyDeletion", KeyState.DISABLED, only_from=(KeyState.PENDING_DELETION,))


async def change(
    key_arn: str,
    action: str,
    state: KeyState,
    *,
    only_from: tuple[KeyState, ...],
    deletion_time: datetime | None = None,
) -> None:
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        if not await update_kms_key(connection, key_arn, only_from, key_state=state, deletion_time=deletion_time):
            raise CommandError(f"There is no key {key_arn} that is {' or '.join(only_from)}.")
    response = {"deletionDate": deletion_time.isoformat()} if deletion_time else None
    audit(
        catalog.settings, Change(action, key_arn.split(":")[4], {"keyId": key_arn}, resource=key_arn, response=response)
    )
    until = f", and is destroyed at {deletion_time:%Y-%m-%d %H:%M:%S} UTC" if deletion_time else ""
    say(f"{key_arn} is {state}{until}.")
