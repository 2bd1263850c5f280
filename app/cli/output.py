"""What commands print: a table for people, or JSON for programs."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

Json = Annotated[bool, Parameter(negative="", help="Print JSON instead of a table.")]
Row = dict[str, Any]


class CommandError(Exception):
    """What the operator asked for cannot be done; the text says why."""


def show(rows: Sequence[Row], *, json: bool) -> None:
    """Every row has the same columns."""
    if json:
        write_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in rows[0] if rows else ():
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row.values()))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 400, markup=False, emoji=False)
    console.print(table)


def show_one(row: Row, *, json: bool) -> None:
    if json:
        write_json(row)
        return
    width = max(map(len, row))
    for name, value in row.items():
        say(f"{name.replace('_', ' '):{width}}  {_text(value)}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def write_json(value: Any) -> None:
    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case dict():
            return ", ".join(f"{name}={text}" for name, text in value.items()) or "-"
        case _:
            return str(value)
