"""`scripts/faults`: experiments that break what serves, while signed clients write, read and keep a ledger."""

import os
import signal
import sys
from collections.abc import Iterable

import structlog
from cyclopts import App
from rich.console import Console

from scripts.fault_injection.catalogue import EXPERIMENTS, GROUPS, Experiment
from scripts.fault_injection.execution import perform_all
from scripts.fault_injection.options import DEFAULTS, Options
from scripts.fault_injection.report import markdown, show, summary, write_json
from scripts.fault_injection.trial import Result
from scripts.testbed.progress import shown_steps

WIDTH = 200

app = App(name="faults", version_flags=[])


@app.default
def faults(options: Options = DEFAULTS) -> None:
    """Break things under load, and judge what clients see."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and PostgreSQL are stopped as well
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for JSON
    experiments = chosen(options.only)
    results: list[Result] = []
    with shown_steps() as steps:
        interrupted = collect(perform_all(experiments, steps, options), results)
    write_json(results) if options.json else show(results, console())
    if options.report:
        options.report.write_text(markdown(results, context(options.seed)))
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


def collect(everything: Iterable[Result], results: list[Result]) -> bool:
    """Whether it was interrupted; what was found until then is shown."""
    try:
        results.extend(everything)
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
