"""Accounts, users and their clients, made by the code behind `pgs3vectors iam`."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from msgspec import Struct

from app.cli.connection import Catalog, catalog_at
from app.cli.iam.keys import create_key
from app.cli.iam.owners import user_of
from app.database.identity import delete_user, insert_user, put_policy
from app.database.wrapped_keys import ensure_account
from app.settings import Settings

T = TypeVar("T")
EVERYTHING = {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}


class Identities(Struct, frozen=True):
    settings: Settings

    def account(self) -> str:
        account_id = f"{random.randrange(10**12):012}"  # noqa: S311 - no secret

        async def create(catalog: Catalog) -> None:
            async with catalog.database.transaction() as connection:
                await ensure_account(connection, catalog.keys, account_id, "test")

        self._run(create)
        return account_id

    def user(self, account: str, name: str, *statements: dict[str, Any], **tags: str) -> dict[str, str]:
        """An access key, as boto3 takes it, of a new user with one policy of these statements."""

        async def create(catalog: Catalog) -> dict[str, str]:
            async with catalog.database.transaction() as connection:
                await insert_user(connection, account, name, tags)
            return await create_key(catalog, account, name)

        key = self._run(create)
        if statements:
            self.put_policy(account, name, *statements)
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def session(self, account: str, name: str, *statements: dict[str, Any]) -> dict[str, str]:
        """Temporary credentials, as boto3 takes them, of a new user."""
        self.user(account, name, *statements)
        key = self._run(lambda catalog: create_key(catalog, account, name, timedelta(hours=1)))
        names = {"aws_access_key_id": "AccessKeyId", "aws_secret_access_key": "SecretAccessKey"}
        return {ours: key[theirs] for ours, theirs in (names | {"aws_session_token": "SessionToken"}).items()}

    def put_policy(self, account: str, name: str, *statements: dict[str, Any]) -> None:
        async def put(catalog: Catalog) -> None:
            async with catalog.database.transaction() as connection:
                user = await user_of(connection, catalog, account, name)
                await put_policy(connection, user.user_id, "test", policy(*statements))

        self._run(put)

    def delete_user(self, account: str, name: str) -> None:
        async def delete(catalog: Catalog) -> None:
            async with catalog.database.transaction() as connection:
                await delete_user(connection, (await user_of(connection, catalog, account, name)).user_id)

        self._run(delete)

    def root(self, account: str) -> dict[str, str]:
        key = self._run(lambda catalog: create_key(catalog, account, None))
        return {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}

    def _run(self, function: Callable[[Catalog], Awaitable[T]]) -> T:
        async def run() -> T:
            async with catalog_at(self.settings.database_url or "", self.settings) as catalog:
                return await function(catalog)

        return asyncio.run(run())


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(actions: str | list[str], resource: str | list[str], **elements: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource, **elements}


def deny(actions: str | list[str], resource: str | list[str], **elements: Any) -> dict[str, Any]:
    return {**allow(actions, resource, **elements), "Effect": "Deny"}


def client(endpoint: str, service: str = "s3vectors", **credentials: str) -> Any:
    """No hidden retries, and bad input reaches the server."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        **credentials,
    )
