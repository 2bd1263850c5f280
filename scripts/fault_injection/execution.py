"""Experiments one behind the other, each in a folder of its own that is gone afterwards."""

import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.fault_injection.catalogue import Experiment
from scripts.fault_injection.options import Options
from scripts.fault_injection.trial import Judgement, NotHere, Result, Trial
from scripts.testbed.errors import ScriptError
from scripts.testbed.progress import Step, Steps
from scripts.testbed.server import open_folder


def perform_all(experiments: Iterable[Experiment], steps: Steps, options: Options) -> Iterator[Result]:
    for experiment in experiments:
        with steps.step(experiment.name) as step:
            result = perform(experiment, step, options)
        steps.announce(f"{experiment.name}: {result.verdict}, {result.seconds:.0f} s")
        yield result


def perform(experiment: Experiment, step: Step, options: Options) -> Result:
    """One that breaks off has failed, and does not take the others with it."""
    result, started = Result(experiment.name, experiment.what), time.monotonic()
    try:
        with open_folder() as folder, _kept_logs(folder, options.logs and options.logs / experiment.name):
            experiment.run(Trial(result, folder, step, seed=options.seed, short=options.short))
    except NotHere as error:
        result.not_run = str(error)
    except Exception as error:  # noqa: BLE001 - told, and the next experiment may well do
        if not isinstance(error, ScriptError):
            traceback.print_exc(file=sys.stderr)
        what = " ".join(f"{type(error).__name__}: {error}".split())
        result.judgements.append(Judgement("runs to its end", passed=False, found=what))
    result.seconds = time.monotonic() - started
    return result


@contextmanager
def _kept_logs(folder: Path, kept: Path | None) -> Iterator[None]:
    try:
        yield
    finally:
        for log in folder.rglob("*.log*") if kept else ():
            copy = (kept or folder) / log.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(log, copy)
