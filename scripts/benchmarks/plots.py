"""The curves of a run as PNG: recall against queries/s, and latency against selectivity."""

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from scripts.benchmarks.report import Point, Report


def draw(report: Report, directory: Path) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    title = ", ".join(f"{name} {value}" for name, value in report.context.items())
    drawn = []
    if recalls := [point for point in report.points if "recall" in point.values]:
        drawn.append(_saved(directory / "recall.png", title, lambda axes: _recall(axes, recalls)))
    if filtered := [point for point in report.points if "share" in point.values]:
        drawn.append(_saved(directory / "selectivity.png", title, lambda axes: _selectivity(axes, filtered)))
    return drawn


def _saved(file: Path, title: str, draw_on: Callable[[Axes], None]) -> Path:
    figure = Figure(figsize=(8, 5), layout="constrained")  # not pyplot's, which would look for a screen
    axes = figure.add_subplot(title=title)
    axes.grid(visible=True, which="both", alpha=0.3)
    draw_on(axes)
    axes.legend()
    figure.savefig(file, dpi=120)
    return file


def _recall(axes: Axes, points: Sequence[Point]) -> None:
    for curve, those in groupby(points, key=lambda point: point.curve):
        values = [point.values for point in those]
        recalls, rates = [value["recall"] for value in values], [value["queries/s"] for value in values]
        axes.plot(recalls, rates, marker="o", label=curve)
        for value in values:
            axes.annotate(f"{value['setting']:g}", (value["recall"], value["queries/s"]), fontsize=7)
    axes.set_xlabel("recall@10")
    axes.set_ylabel("queries/s")
    axes.set_ylim(bottom=0)


def _selectivity(axes: Axes, points: Sequence[Point]) -> None:
    for curve, those in groupby(points, key=lambda point: point.curve):
        values = sorted((point.values["share"], point.values["p50"]) for point in those)
        axes.plot(*zip(*values, strict=True), marker="o", label=curve)
    axes.axhline(points[0].values["unfiltered"], color="black", linestyle="dashed", label="unfiltered")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("share of the rows that match")
    axes.set_ylabel("p50, ms")
