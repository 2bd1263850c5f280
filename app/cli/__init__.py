"""The command `pgs3vectors`."""

import sys

import psycopg
from cyclopts import App

from app.cli.serve import PortTaken, serve
from app.database.embedded_binaries import EmbeddedError
from app.database.floors import UnsupportedDatabase
from app.settings import InvalidSetting

EXPECTED = (InvalidSetting, UnsupportedDatabase, EmbeddedError, PortTaken, psycopg.OperationalError)

app = App(name="pgs3vectors", help="The Amazon S3 Vectors API on PostgreSQL.", version_flags=[])
app.command(serve)


def main() -> None:
    """What the operator can mend is told in one line."""
    try:
        app()
    except EXPECTED as error:
        sys.exit(f"pgs3vectors: {' '.join(str(error).split())}")
