"""Bars for long work: on a terminal, on standard error, and nowhere else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

REFRESHED_PER_SECOND = 4


def note(line: str) -> None:
    """Beside what a command prints."""
    sys.stderr.write(f"{line}\n")


class Step:
    def __init__(self, advance: Callable[[float], None], complete: Callable[[float, str], None]) -> None:
        self.advance = advance
        self.complete = complete
        """So much in all, and what is being done now."""


@contextmanager
def step(what: str, total: float | None, done: int = 0) -> Iterator[Step]:
    """Gone when it is over; without a total nobody knows how long it takes."""
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    console = Console(stderr=True)
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
        refresh_per_second=REFRESHED_PER_SECOND,
    ) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield Step(
            lambda by: progress.advance(task, by),
            lambda completed, now: progress.update(task, completed=completed, description=now),
        )
