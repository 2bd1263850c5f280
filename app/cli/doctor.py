"""`pgs3vectors doctor`: what is wrong with a deployment, and what to change; nothing is changed by looking."""

import asyncio
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg

from app.cli.connection import database_url
from app.cli.output import Json, show, write_json
from app.database.build_failures import reason
from app.database.diagnosis import contents, server
from app.database.diagnosis.finding import Finding, State
from app.database.engine import Database
from app.database.link import linked
from app.database.wrapped_keys import check_keys, nothing_is_wrapped
from app.envelope import KeyEncryptionKeys, Unopenable
from app.key_encryption_key import NoKeyEncryptionKey, key_encryption_keys, key_file
from app.logs import configure_logs
from app.settings import Settings, variable

Look = Callable[[], Iterable[Finding]]

GIB = 1024**3
LITTLE_DISK_SHARE, LITTLE_DISK_BYTES, NO_DISK_BYTES = 0.1, 2 * GIB, GIB // 4
STATEMENT_SECONDS = 10


def doctor(*, json: Json = False) -> None:
    """Look for what is wrong with the database and the settings, and say what to change.

    The exit code is 1 where there is an error, and 0 where there are warnings at most.
    """
    settings = Settings.from_environment(os.environ)
    configure_logs(settings)
    findings = list(diagnosis(settings))
    rows = [{"state": f.state.value, "what": f.what, "found": f.found, "change": f.change} for f in findings]
    if json:
        write_json(rows)
    else:
        show([row | {"change": row["change"] or ""} for row in rows], json=False)
    if any(finding.state is State.ERROR for finding in findings):
        sys.exit(1)


def diagnosis(settings: Settings) -> Iterator[Finding]:
    is_embedded = settings.database_url is None
    if is_embedded and not (settings.data_dir / "pgdata").exists():
        yield Finding.error("database", f"there is none in {settings.data_dir}", "Start `serve`, which makes one.")
        return
    try:
        with (
            database_url(settings) as url,
            closing(psycopg.connect(linked(url), autocommit=True)) as connection,
        ):
            yield Finding.ok("database", f"{connection.info.dbname} at {connection.info.host or 'a local socket'}")
            yield from of_database(settings, connection, url, is_embedded=is_embedded)
    except psycopg.OperationalError as error:
        change = f"Look whether PostgreSQL runs and lets this host in, and at {variable('database_url')}."
        yield Finding.error("database", " ".join(str(error).split()), change)


def of_database(
    settings: Settings, connection: psycopg.Connection, url: str, *, is_embedded: bool
) -> Iterator[Finding]:
    load = server.Load(settings.workers, settings.pool_size)
    of_server: list[Callable[[psycopg.Connection], Iterable[Finding]]] = [
        server.versions,
        contents.encoding,
        contents.migrations,
        partial(contents.privileges, is_embedded=is_embedded),
        server.durability,
        server.memory,
        server.huge_pages,
        partial(server.connections, load=load),
        server.maintenance,
        server.clock,
    ]
    of_catalog = [contents.graphs, contents.text_searches, contents.deletions]
    looks: list[tuple[str, Look]] = [(name_of(look), partial(look, connection)) for look in of_server]
    if contents.is_migrated(connection):
        looks += [(name_of(look), partial(look, connection)) for look in of_catalog]
        looks.append(("key-encryption key", partial(of_keys, settings, url)))
    looks.append(("disk", partial(of_disk, connection, settings.data_dir if is_embedded else None)))
    for name, look in looks:
        yield from looked(name, look)


def looked(name: str, look: Look) -> Iterator[Finding]:
    """What cannot be looked at is told as well, and does not end the others."""
    try:
        yield from look()
    except psycopg.Error as error:
        yield Finding.warning(name, reason(error), "This could not be looked at.")


def name_of(look: Callable[..., Iterable[Finding]]) -> str:
    return str(look.func.__name__ if isinstance(look, partial) else look.__name__)


def of_keys(settings: Settings, url: str) -> Iterator[Finding]:
    what = "key-encryption key"
    if not any((settings.key_encryption_key, settings.key_encryption_key_command)):
        file = key_file(settings)
        if file.exists() and stat.S_IMODE(file.stat().st_mode) & 0o077:
            yield Finding.warning(what, f"others may read {file}", f"chmod 600 {file}")
    try:
        keys = key_encryption_keys(settings)
        is_needed = asyncio.run(opened(url, keys))
        current = keys.current if is_needed else "none is needed yet"
    except (NoKeyEncryptionKey, Unopenable) as error:
        yield Finding.error(what, str(error), "Give the server the key that this database was made with.")
        return
    yield Finding.ok(what, f"{current}, which opens what is there" if is_needed else current)


async def opened(url: str, keys: KeyEncryptionKeys) -> bool:
    """Whether there is anything to open; raises NoKeyEncryptionKey where it does not open."""
    database = Database(url, pool_size=1, statement_timeout_seconds=STATEMENT_SECONDS)
    await database.open()
    try:
        async with database.transaction() as connection:
            if await nothing_is_wrapped(connection):
                return False
            await check_keys(connection, keys)
            return True
    finally:
        await database.close()


def of_disk(connection: psycopg.Connection, data_dir: Path | None) -> Iterator[Finding]:
    """Where the database is on this machine, by a socket or by being our own."""
    if data_dir is None and not (connection.info.host or "/").startswith("/"):
        yield Finding.ok("disk", "not known: PostgreSQL may be on another machine")
        return
    folder = data_dir or Path(server.setting(connection, "data_directory"))
    if not folder.exists():
        yield Finding.ok("disk", f"not known: {folder} is not to be seen from here")
        return
    usage = shutil.disk_usage(folder)
    found = f"{usage.free / GIB:,.1f} GiB of {usage.total / GIB:,.1f} GiB are free at {folder}"
    if usage.free < NO_DISK_BYTES:
        yield Finding.error("disk", found, "Make room: PostgreSQL stops when it can write no more.")
    elif usage.free < min(LITTLE_DISK_BYTES, usage.total * LITTLE_DISK_SHARE):
        yield Finding.warning("disk", found, "Make room: building a graph anew takes as much as it has.")
    else:
        yield Finding.ok("disk", found)
