"""`pgs3vectors sql`: psql on the database of the server, with the views of a bucket at hand."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import psycopg
from cyclopts import Parameter
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.arns import Account, IndexArn, VectorBucketArn
from app.cli.connection import database_url
from app.cli.iam.owners import OfAccount
from app.cli.output import CommandError
from app.database.embedded_binaries import binaries
from app.database.link import linked
from app.database.view_names import ViewName, find_view
from app.errors import NotFoundException
from app.settings import Settings

Arguments = Annotated[
    str,
    Parameter(
        name="--psql-arguments",
        allow_leading_hyphen=True,
        help="First a bucket or bucket/index, if one is meant; what follows goes to psql.",
    ),
]


def sql(*arguments: Arguments, account: OfAccount = None) -> None:
    """Open psql on the database of the server.

    The views of a bucket need no schema then, and that of an index is :view, as in SELECT count(*) FROM :view;
    """
    settings = Settings.from_environment(os.environ)
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    passed = arguments[1:] if name else arguments
    with database_url(settings) as url:
        view = view_named(url, name, Account(account or settings.account_id, settings.region)) if name else None
        if view and not passed and sys.stdin.isatty():
            sys.stderr.write(f"{name} is {view.quoted}{' and :view' if view.view else ''} here.\n")
        sys.exit(run([str(psql(settings)), *on(linked(url), view), *passed], url))


def view_named(url: str, name: str, home: Account) -> ViewName:
    bucket, _, index = name.partition("/")
    arn = VectorBucketArn(home, bucket)
    with psycopg.connect(linked(url)) as connection:
        try:
            return find_view(connection, IndexArn(arn, index) if index else arn)
        except (NotFoundException, psycopg.errors.UndefinedTable):
            what = "index" if index else "bucket"
            raise CommandError(f"There is no {what} {name} in account {home.account_id}.") from None


def psql(settings: Settings) -> Path:
    """That of the embedded PostgreSQL for its own server, and for others where there is none on the machine."""
    if settings.database_url and (found := shutil.which("psql")):
        return Path(found)
    return binaries(settings.data_dir, None) / "psql"


def on(url: str, view: ViewName | None) -> list[str]:
    """Without the password, which every user of the machine would see in the list of processes."""
    named = {name: str(value) for name, value in conninfo_to_dict(url).items() if name != "password"}
    if view is not None:
        named["options"] = f'{named.get("options", "")} -c search_path="{view.schema}",public'
    return ["--dbname", make_conninfo(**named), *(["--set", f"view={view.quoted}"] if view and view.view else [])]


def run(command: list[str], url: str) -> int:
    """Control-C is for psql."""
    password = conninfo_to_dict(url).get("password")
    environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - psql
