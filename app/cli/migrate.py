"""`pgs3vectors migrate`: brings the catalog to this version, apart from the server that is then served from it."""

import os

from app.cli.connection import database_url, prepare_database
from app.cli.output import say
from app.database.migrations import newest_revision
from app.logs import configure_logs
from app.settings import Settings


def migrate() -> None:
    """Bring the catalog to the newest revision that this version knows.

    `serve` does so by itself where its role owns the catalog.  Where it does not, run this first, with the URL of the
    owner in PGS3VECTORS_DATABASE_URL.
    """
    settings = Settings.from_environment(os.environ)
    configure_logs(settings)
    with database_url(settings) as url:
        prepare_database(url)
    say(f"The catalog is at revision {newest_revision()}.")
