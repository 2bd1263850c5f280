"""`pgs3vectors index`: how indexes stand, and what an operator may change about each."""

from cyclopts import App

from app.cli.index.changes import drop_range, set_
from app.cli.index.status import status

index = App(name="index", help="How indexes stand, and what may be changed about each.")
index.command(status)
index.command(set_, name="set")
index.command(drop_range)
