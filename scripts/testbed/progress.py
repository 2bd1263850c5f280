"""What the run is doing: bars on a terminal, now and then a line elsewhere; always on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

LINE_SECONDS = 30
# Bars are drawn on the cores that are being measured.
REFRESHED_PER_SECOND = 2


class Step:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._next_line = time.monotonic() + LINE_SECONDS

    def advance(self, by: float = 1) -> None:
        self._progress.advance(self._task, by)
        self._print_now_and_then()

    def say(self, what: str) -> None:
        self._progress.update(self._task, description=what)
        self._print_now_and_then()

    def _print_now_and_then(self) -> None:
        console = self._progress.console
        if console.is_terminal or time.monotonic() < self._next_line:
            return
        task = next(task for task in self._progress.tasks if task.id == self._task)
        done = f": {task.completed:,.0f} of {task.total:,.0f}" if task.total else ""
        console.print(f"  {task.description}{done}", highlight=False)
        self._next_line = time.monotonic() + LINE_SECONDS


class Steps:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def announce(self, what: str) -> None:
        self._progress.console.print(what, highlight=False)

    @contextmanager
    def step(self, what: str, total: float | None = None) -> Iterator[Step]:
        task = self._progress.add_task(what, total=total)
        try:
            yield Step(self._progress, task)
        finally:
            self._progress.remove_task(task)


@contextmanager
def shown_steps() -> Iterator[Steps]:
    columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=REFRESHED_PER_SECOND) as progress:
        yield Steps(progress)


@contextmanager
def quiet_steps() -> Iterator[Steps]:
    """For tests, which have a progress of their own."""
    with Progress(disable=True, console=Console(quiet=True)) as progress:
        yield Steps(progress)
