"""`scripts/faults`: experiments that break what serves, while signed clients write, read and keep a ledger."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import structlog
from cyclopts import App, Parameter
from rich.console import Console

from scripts.fault_injection.catalogue import EXPERIMENTS, GROUPS, Experiment
from scripts.fault_injection.execution import perform_all
from scripts.fault_injection.report import markdown, show, summary, write_json
from scripts.fault_injection.trial import Result
from scripts.testbed.progress import Steps, shown_steps

WIDTH = 200

app = App(name="faults", version_flags=[])


@app.default
def faults(
    *,
    only: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    seed: int = 1,
    short: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    report: Path | None = None,
) -> None:
    """Break things under load, and judge what clients see.

    Parameters
    ----------
    only
        Names of experiments or of groups of them; without it, all.
    seed
        What is drawn by chance is the same for the same seed.
    short
        As few repetitions as in the test suite.
    json
        Print JSON instead of a table.
    report
        Write a page in Markdown too.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and PostgreSQL are stopped as well
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for JSON
    experiments = chosen(only)
    results: list[Result] = []
    with shown_steps() as steps:
        interrupted = run(experiments, steps, results, seed=seed, short=short)
    write_json(results) if json else show(results, console())
    if report:
        report.write_text(markdown(results, context(seed)))
    if interrupted:
        sys.exit("faults: interrupted")
    if failed := [result.experiment for result in results if result.verdict == "failed"]:
        sys.exit(f"faults: {summary(results)}: {', '.join(failed)}")


def chosen(names: tuple[str, ...]) -> list[Experiment]:
    unknown = [name for name in names if name not in EXPERIMENTS and name not in GROUPS]
    if unknown:
        known = "\n".join(f"  {group}: {', '.join(e.name for e in members)}" for group, members in GROUPS.items())
        sys.exit(f"faults: there is no {', '.join(unknown)}; these there are:\n{known}")
    return [
        experiment
        for group, members in GROUPS.items()
        for experiment in members
        if not names or group in names or experiment.name in names
    ]


def run(experiments: list[Experiment], steps: Steps, results: list[Result], *, seed: int, short: bool) -> bool:
    """Whether it was interrupted; what was found until then is shown."""
    try:
        results.extend(perform_all(experiments, steps, seed=seed, short=short))
    except KeyboardInterrupt:
        return True
    return False


def context(seed: int) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"One run with seed {seed} on {os.cpu_count()} cores and {memory:.0f} GiB of memory:"


def console() -> Console:
    """Outside of a terminal nobody turns the page sideways."""
    return Console() if sys.stdout.isatty() else Console(width=WIDTH)


app()
