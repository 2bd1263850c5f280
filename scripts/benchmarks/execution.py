"""One run from beginning to end: the scenarios in their order on one deployment, then what they have found."""

import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import psycopg
import structlog
from rich.console import Console

from app.database.embedded_binaries import EmbeddedError
from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.deployment import deployed
from scripts.benchmarks.plots import draw
from scripts.benchmarks.report import Report, show, write_json
from scripts.benchmarks.run import Options, Run
from scripts.testbed.errors import ScriptError
from scripts.testbed.progress import Steps, shown_steps
from scripts.testbed.server import open_folder

WIDTH = 160

Scenario = Callable[[Run], None]
MakeDataset = Callable[[Path, Steps], Dataset]
"""In a folder that lives as long as the run."""


def execute(options: Options, make_dataset: MakeDataset, scenarios: Iterable[tuple[str, Scenario]]) -> None:
    """Ends the process with 1 if a scenario broke off; a missed target is a result."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server and PostgreSQL are stopped as well
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for JSON
    try:
        report = _perform_all(options, make_dataset, scenarios)
    except (ScriptError, EmbeddedError, psycopg.OperationalError) as error:
        sys.exit(f"bench: {' '.join(str(error).split())}")
    write_json(report) if options.json else show(report, console())
    if options.plots:
        for file in draw(report, options.plots):
            print(f"bench: {file}", file=sys.stderr)
    if report.failures:
        sys.exit(f"bench: these broke off: {', '.join(report.failures)}")


def console() -> Console:
    """Outside of a terminal nobody turns the page sideways."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


def _perform_all(options: Options, make_dataset: MakeDataset, scenarios: Iterable[tuple[str, Scenario]]) -> Report:
    """Control-C ends the run; what was measured until then is shown."""
    with shown_steps() as steps, open_folder() as folder:
        dataset = make_dataset(folder, steps)
        with (
            deployed(folder, options.database_url, options.workers) as deployment,
            closing(Run(deployment, options, dataset, steps)) as run,
        ):
            try:
                for name, scenario in scenarios:
                    _perform(run, name, scenario)
            except KeyboardInterrupt:
                run.report.failures.append(f"{run.scenario} (interrupted)")
            return run.report


def _perform(run: Run, name: str, scenario: Scenario) -> None:
    """One that breaks off does not take the others with it."""
    run.scenario, started = name, time.monotonic()
    run.steps.announce(f"{name} ...")
    try:
        scenario(run)
    except Exception as error:  # noqa: BLE001 - told, and the next scenario may well do
        if not isinstance(error, ScriptError):
            traceback.print_exc()
        for line in run.deployment.server.last_words:
            print(f"  server: {line}", file=sys.stderr)
        run.figure("broke off", None, note=" ".join(str(error).split()) or type(error).__name__)
        run.report.failures.append(name)
    run.steps.announce(f"{name}: {time.monotonic() - started:.0f} s")
