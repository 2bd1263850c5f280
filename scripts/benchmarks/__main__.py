"""`scripts/bench`: one command for each benchmark."""

from auth import auth
from cyclopts import App

app = App(name="bench", help="Measure the server.", version_flags=[])
app.command(auth)
app()
