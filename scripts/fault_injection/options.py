"""What a run is told on the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    only: Annotated[
        tuple[str, ...],
        Parameter(help="Names of experiments or of groups; without it, all.", consume_multiple=True, negative=""),
    ] = ()
    seed: Annotated[int, Parameter(help="What is drawn by chance is the same for the same seed.")] = 1
    short: Annotated[bool, Parameter(help="As few repetitions as in the test suite.", negative="")] = False
    json: Annotated[bool, Parameter(help="Print JSON instead of a table.", negative="")] = False
    report: Annotated[Path | None, Parameter(help="Write a page in Markdown too.")] = None
    logs: Annotated[Path | None, Parameter(help="A folder for what servers and PostgreSQL log in each experiment.")] = (
        None
    )


DEFAULTS = Options()
