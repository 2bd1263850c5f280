"""`pgs3vectors iam user`."""

import re
from typing import Annotated

from cyclopts import App, Parameter

from app.audit import Change
from app.cli.audit import audit
from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount, account_of, user_of
from app.cli.output import CommandError, Json, say, show
from app.database.access_keys import list_access_keys
from app.database.identity import delete_user, find_policies, insert_user, list_users, update_user_tags

USER_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
Tag = Annotated[list[str] | None, Parameter(name="--tag", negative="", help="KEY=VALUE; may be repeated.")]

user = App(name="user", help="Who has access keys and policies.")


@user.command
async def create(user_name: str, *, account: OfAccount = None, tag: Tag = None) -> None:
    """Create a user, who may do nothing until a policy allows it."""
    if not USER_NAME.fullmatch(user_name):
        raise CommandError("A user's name has up to 64 letters, digits and +=,.@_-")
    tags = parse_tags(tag)
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        account_id = (await account_of(connection, catalog, account)).account_id
        if not await insert_user(connection, account_id, user_name, tags):
            raise CommandError(f"There is a user {user_name} in account {account_id} already.")
        created = await user_of(connection, catalog, account_id, user_name)
    parameters = {"userName": user_name, "tags": told_tags(tags)}
    audit(catalog.settings, Change("iam:CreateUser", account_id, parameters, resource=created.arn))
    say(created.arn)


@user.command(name="list")
async def list_(*, account: OfAccount = None, json: Json = False) -> None:
    """List the users of an account."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        users = await list_users(connection, (await account_of(connection, catalog, account)).account_id)
    rows = [{"user_name": u.user_name, "user_id": u.user_id, "arn": u.arn, "tags": dict(u.tags)} for u in users]
    show(rows, json=json)


@user.command(name="tag")
async def tag_(user_name: str, *, account: OfAccount = None, tag: Tag = None) -> None:
    """Replace the tags of a user, which policies know as aws:PrincipalTag."""
    tags = parse_tags(tag)
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        tagged = await user_of(connection, catalog, account, user_name)
        await update_user_tags(connection, tagged.user_id, tags)
    parameters = {"userName": user_name, "tags": told_tags(tags)}
    audit(catalog.settings, Change("iam:TagUser", tagged.account_id, parameters, resource=tagged.arn))
    say(f"{tagged.arn} has {len(tags)} tags.")


@user.command
async def delete(user_name: str, *, account: OfAccount = None, force: bool = False) -> None:
    """Delete a user, with --force also one who has access keys or policies.

    A successor of the same name is somebody else to every bucket policy.
    """
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        gone = await user_of(connection, catalog, account, user_name)
        keys = [k for k in await list_access_keys(connection, gone.account_id) if k.user_name == gone.user_name]
        policies = await find_policies(connection, gone.user_id)
        if (keys or policies) and not force:
            raise CommandError(
                f"{gone.arn} has {len(keys)} access keys and {len(policies)} policies; --force deletes them too."
            )
        await delete_user(connection, gone.user_id)
    audit(catalog.settings, Change("iam:DeleteUser", gone.account_id, {"userName": user_name}, resource=gone.arn))
    say(f"{gone.arn} deleted.")


def told_tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def parse_tags(given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    if not all(key and equals for key, equals, _ in pairs):
        raise CommandError("A tag is KEY=VALUE.")
    tags = {key: value for key, _, value in pairs}
    if len({key.lower() for key in tags}) < len(pairs):
        raise CommandError("The tags of a user must differ in more than their case.")
    return tags
