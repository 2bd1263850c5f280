"""What a run has found: the figures for the table, details for those who want them all, and points for the plots."""

import json
import sys
from typing import Any

import msgspec
from msgspec import Struct, field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from scripts.benchmarks.targets import Figure, Target

STYLES = {"met": "green", "missed": "red", "at its limit": "yellow", "not measured": "red"}


class Detail(Struct):
    """A table of its own, below the figures."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]] = field(default_factory=list)


class Point(Struct, frozen=True):
    """One measurement of a curve; where it lies on the axes is the plot's business."""

    curve: str
    values: dict[str, float]


class Report(Struct):
    context: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Scenarios that broke off; a target that was missed is a result."""

    def detail(self, title: str, *columns: str) -> Detail:
        detail = Detail(title, columns)
        self.details.append(detail)
        return detail


def show(report: Report, console: Console) -> None:
    for detail in report.details:
        console.print(detail_table(detail))
    console.print(figure_table(report))


def write_json(report: Report) -> None:
    document = msgspec.to_builtins(report)
    for row, figure in zip(document["figures"], report.figures, strict=True):
        row["verdict"] = figure.verdict
    json.dump(document, sys.stdout, indent=1)
    print()


def figure_table(report: Report) -> Table:
    title = ", ".join(f"{name} {value}" for name, value in report.context.items())
    table = Table("what", "measured", "target", "verdict", "note", title=title, title_justify="left")
    table.columns[1].justify = "right"
    scenario = ""
    for figure in report.figures:
        if figure.scenario != scenario:
            scenario = figure.scenario
            table.add_section()
            table.add_row(f"[bold]{scenario}")
        style = STYLES.get(figure.verdict, "")
        verdict = f"[{style}]{figure.verdict}" if style else figure.verdict
        note = "; ".join(part for part in (figure.limit, figure.note) if part)
        table.add_row(f"  {escape(figure.what)}", measured(figure), target(figure.target), verdict, escape(note))
    return table


def detail_table(detail: Detail) -> Table:
    table = Table(*detail.columns, title=detail.title, title_justify="left")
    for row in detail.rows:
        table.add_row(*(number(cell) if isinstance(cell, float) else escape(str(cell)) for cell in row))
    return table


def measured(figure: Figure) -> str:
    return "" if figure.value is None else f"{number(figure.value)} {figure.unit}".rstrip()


def target(target: Target | None) -> str:
    return f"{target.sign} {number(target.number)}" if target else ""


def number(value: float) -> str:
    """Short, and never so rounded that a missed target looks met."""
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.4g}"
