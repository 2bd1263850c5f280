"""How commands reach the catalog: the database of the settings, or our own PostgreSQL, started if it is not running."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.embedded import EmbeddedPostgres
from app.database.engine import Database
from app.database.floors import check_versions
from app.database.kms_keys import KmsKey, find_kms_key
from app.database.link import linked
from app.database.migrations import migrate
from app.database.wrapped_keys import check_keys, ensure_account, nothing_is_wrapped
from app.envelope import KeyEncryptionKeys
from app.key_encryption_key import create_key_file, key_encryption_keys
from app.logs import configure_logs
from app.settings import Settings

STATEMENT_SECONDS = 60


class Catalog(Struct, frozen=True):
    """What a command works with."""

    settings: Settings
    database: Database
    keys: KeyEncryptionKeys

    async def kms_key(self, key_arn: str) -> KmsKey | None:
        async with self.database.transaction() as connection:
            return await find_kms_key(connection, key_arn)


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    if settings.database_url is not None:
        yield settings.database_url
    elif url := EmbeddedPostgres(settings.data_dir).running_url():
        yield url
    else:
        with EmbeddedPostgres(settings.data_dir) as postgres:
            yield postgres.url


@asynccontextmanager
async def opened_catalog(*, draws: bool = False) -> AsyncIterator[Catalog]:
    """Of the settings, migrated; where a command draws bars on the terminal, only warnings come between."""
    settings = Settings.from_environment(os.environ)
    is_drawn_on = draws and sys.stderr.isatty() and settings.log_level in {"debug", "info"}
    configure_logs(replace(settings, log_level="warning") if is_drawn_on else settings)
    with database_url(settings) as url:
        prepare_database(url)
        async with catalog_at(url, settings) as catalog:
            yield catalog


@asynccontextmanager
async def catalog_at(url: str, settings: Settings) -> AsyncIterator[Catalog]:
    """With the account of the settings, and with keys that are proved to open what is there."""
    database = Database(url, pool_size=1, statement_timeout_seconds=STATEMENT_SECONDS)
    await database.open()
    try:
        async with database.transaction() as connection:
            keys = await prepare_keys(connection, settings)
        yield Catalog(settings, database, keys)
    finally:
        await database.close()


def prepare_database(url: str) -> None:
    """Versions checked, the catalog at its newest revision."""
    with psycopg.connect(linked(url)) as connection:
        check_versions(connection)
    migrate(url)


async def prepare_keys(connection: AsyncConnection, settings: Settings) -> KeyEncryptionKeys:
    """On an empty database there may be a new key-encryption key; on any other it must be the right one."""
    if await nothing_is_wrapped(connection):
        create_key_file(settings)
    keys = key_encryption_keys(settings)
    await ensure_account(connection, keys, settings.account_id, "home")
    await check_keys(connection, keys)
    return keys
