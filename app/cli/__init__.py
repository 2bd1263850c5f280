"""The command `pgs3vectors`."""

import sys

import psycopg
from cyclopts import App

from app.cli.doctor import doctor
from app.cli.explain import explain
from app.cli.iam import iam
from app.cli.index import index
from app.cli.kms import kms
from app.cli.migrate import migrate
from app.cli.output import CommandError
from app.cli.recall import recall
from app.cli.rotate_kek import rotate_kek
from app.cli.serve import PortTaken, serve
from app.cli.sql import sql
from app.cli.status import status
from app.cli.transfer.export import export
from app.cli.transfer.import_ import import_
from app.database.embedded_binaries import EmbeddedError
from app.database.floors import UnsupportedDatabase
from app.database.migrations import NotMigrated
from app.envelope import Unopenable
from app.errors import S3VectorsError
from app.interchange.batches import InvalidSource, MissingPackage
from app.settings import InvalidSetting

EXPECTED = (
    CommandError,
    EmbeddedError,
    InvalidSetting,
    NotMigrated,
    InvalidSource,
    MissingPackage,
    PortTaken,
    S3VectorsError,
    Unopenable,
    UnsupportedDatabase,
    psycopg.OperationalError,
)

app = App(name="pgs3vectors", help="The Amazon S3 Vectors API on PostgreSQL.", version_flags=[])
app.command(serve)
app.command(migrate)
app.command(iam)
app.command(kms)
app.command(index)
app.command(explain)
app.command(recall)
app.command(import_, name="import")
app.command(export)
app.command(status)
app.command(sql)
app.command(doctor)
app.command(rotate_kek)


def main() -> None:
    """What the operator can mend is told in one line."""
    try:
        check_arguments(sys.argv)
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except EXPECTED as error:
        sys.exit(f"pgs3vectors: {' '.join(str(error).split())}")


def check_arguments(arguments: list[str]) -> None:
    """Other bytes than text could neither be stored nor printed."""
    try:
        "".join(arguments).encode()
    except UnicodeEncodeError:
        raise CommandError("Arguments must be text in UTF-8.") from None
