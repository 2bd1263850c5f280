"""`scripts/bench`: one command for each benchmark."""

from cyclopts import App

from scripts.benchmarks.auth import auth
from scripts.benchmarks.growth import growth
from scripts.benchmarks.importing import import_
from scripts.benchmarks.search import search
from scripts.benchmarks.text import text

app = App(name="bench", help="Measure the server.", version_flags=[])
app.default(search)
app.command(search)
app.command(growth)
app.command(import_, name="import")
app.command(text)
app.command(auth)
app()
