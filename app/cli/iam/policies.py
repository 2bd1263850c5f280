"""`pgs3vectors iam policy`: what a user may do."""

import re
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from app.audit import Change
from app.cli.audit import audit
from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount, user_of
from app.cli.output import CommandError, Json, say, show
from app.database.identity import delete_policy, find_policies, put_policy
from app.policy.document import parse_policy
from app.policy.errors import InvalidPolicy

POLICY_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)
MAX_POLICIES = 20
Document = Annotated[Path, Parameter(help="A file with the policy as JSON, such as /dev/stdin.")]

policy = App(name="policy", help="Identity policies.")


@policy.command
async def put(user_name: str, policy_name: str, document: Document, *, account: OfAccount = None) -> None:
    """Give a user a policy, or replace the one of that name."""
    if not POLICY_NAME.fullmatch(policy_name):
        raise CommandError("A policy's name has up to 128 letters, digits and +=,.@_-")
    text = read(document)
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        user = await user_of(connection, catalog, account, user_name)
        if len({policy_name, *await find_policies(connection, user.user_id)}) > MAX_POLICIES:
            raise CommandError(f"A user has at most {MAX_POLICIES} policies.")
        await put_policy(connection, user.user_id, policy_name, text)
    parameters = {"userName": user_name, "policyName": policy_name, "policyDocument": text}
    audit(catalog.settings, Change("iam:PutUserPolicy", user.account_id, parameters, resource=user.arn))
    say(f"{user.arn} has the policy {policy_name}.")


@policy.command(name="list")
async def list_(user_name: str, *, account: OfAccount = None, json: Json = False) -> None:
    """List the policies of a user."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        user = await user_of(connection, catalog, account, user_name)
        policies = await find_policies(connection, user.user_id)
    show([{"policy_name": name, "statements": statements(text)} for name, text in policies.items()], json=json)


@policy.command
async def get(user_name: str, policy_name: str, *, account: OfAccount = None) -> None:
    """Print a policy as it was put."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        user = await user_of(connection, catalog, account, user_name)
        policies = await find_policies(connection, user.user_id)
    if policy_name not in policies:
        raise CommandError(f"{user.arn} has no policy {policy_name}.")
    say(policies[policy_name])


@policy.command
async def delete(user_name: str, policy_name: str, *, account: OfAccount = None) -> None:
    """Take a policy from a user."""
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        user = await user_of(connection, catalog, account, user_name)
        if not await delete_policy(connection, user.user_id, policy_name):
            raise CommandError(f"{user.arn} has no policy {policy_name}.")
    parameters = {"userName": user_name, "policyName": policy_name}
    audit(catalog.settings, Change("iam:DeleteUserPolicy", user.account_id, parameters, resource=user.arn))
    say(f"{user.arn} no longer has the policy {policy_name}.")


def statements(text: str) -> int | None:
    """None of a policy that somebody broke in SQL, and that denies everything."""
    try:
        return len(parse_policy(text, "identity").statements)
    except InvalidPolicy:
        return None


def read(document: Path) -> str:
    """Checked by the code that reads it for every request."""
    try:
        text = document.read_text()
        parse_policy(text, "identity")
    except OSError as error:
        raise CommandError(f"Cannot read {document}: {error.strerror}.") from error
    except (InvalidPolicy, UnicodeDecodeError) as error:
        raise CommandError(f"Invalid policy: {error}") from error
    return text
