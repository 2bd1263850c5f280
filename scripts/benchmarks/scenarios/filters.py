"""Filters of each kind that match few, some, most and nearly all rows: complete, near enough, and how fast.

What a range index could answer comes first and twice: the first few on keys that nobody has filtered yet, then again
when the server has had the occasion to build what it wants for them.  In the end ranges whose bounds are others for
each query, as where time goes on: the server has seen the key, and not the filter.
"""

import json
from statistics import median

from msgspec import Struct

from scripts.benchmarks.filter_choice import ChosenFilter, Kind, choose_filters
from scripts.benchmarks.ground_truth import Score, ground_truth, score
from scripts.benchmarks.predicates import Condition
from scripts.benchmarks.report import Point
from scripts.benchmarks.run import Run
from scripts.benchmarks.targets import FILTERED_TO_UNFILTERED, NONE_AT_ALL, RECALL_AT_10, Target
from scripts.benchmarks.vector_index import VectorIndex

TOP_K = 10
QUERIES = 100
FIRST_FEW = 5
WARM_UP = 50
UNFILTERED_BETWEEN = 20
MOST_CHARACTERS = 100
COLD = "at first"
MOVING = "range, other bounds each time"
ANSWERED: tuple[Kind, ...] = ("equality", "$in", "range", "and")
COLUMNS = (
    "filter",
    "wanted",
    "share",
    "matches",
    "complete answers",
    "recall@10",
    "p50, ms",
    "to unfiltered",
    "condition",
)


class FilterRun(Struct, frozen=True):
    label: str
    filter: ChosenFilter
    score: Score
    p50: float


def filters(run: Run) -> None:
    index = run.index
    with run.steps.step("choosing filters"):
        chosen = choose_filters(index.dataset.metadata, run.options.non_filterable, run.options.seed)
    unfiltered: list[float] = []
    answered = [one for one in chosen if one.kind in ANSWERED]
    ranges = [one for one in chosen if one.kind == "range"]
    with run.steps.step("filters", len(answered) + len(chosen) + len(ranges)) as step:

        def measured(label: str, one: ChosenFilter, conditions: list[Condition]) -> FilterRun:
            step.say(f"{label}, {one.share:.2%} of the rows")
            unfiltered.append(run.each_once(index, index.queries(TOP_K, first=UNFILTERED_BETWEEN)).p50)
            done = _measured(run, index, label, one, conditions)
            step.advance()
            return done

        cold = [measured(f"{one.kind}, {COLD}", one, [one.condition] * FIRST_FEW) for one in answered]
        _warm_up(run, index, answered)
        warm = [measured(one.kind, one, [one.condition] * QUERIES) for one in chosen]
        moving = [measured(MOVING, one, _with_other_bounds(one.condition)) for one in ranges]
    _report(run, cold, warm, moving, median(unfiltered))


def _with_other_bounds(condition: Condition) -> list[Condition]:
    """By so little that no row's number lies between."""
    [(key, tests)] = condition.items()
    shares = [number * 2**-50 for number in range(QUERIES)]
    return [{key: {sign: bound - abs(bound) * share for sign, bound in tests.items()}} for share in shares]


def _measured(run: Run, index: VectorIndex, label: str, chosen: ChosenFilter, conditions: list[Condition]) -> FilterRun:
    """One query with each condition, of which all match the same rows."""
    asked_with = zip(range(len(index.dataset.queries)), conditions, strict=False)
    requests = [index.query(query, TOP_K, condition) for query, condition in asked_with]
    truth = ground_truth(index.dataset, TOP_K, queries=len(requests), mask=chosen.mask)
    asked = run.each_once(index, requests, run.options.seconds)
    return FilterRun(label, chosen, score(truth, asked.found), asked.p50)


def _warm_up(run: Run, index: VectorIndex, answered: list[ChosenFilter]) -> None:
    """As many queries for each as make a server think that it will see more of them."""
    for one in answered:
        run.each_once(
            index, [index.query(i % len(index.dataset.queries), TOP_K, one.condition) for i in range(WARM_UP)]
        )
    if answered:
        run.settle(index)


def _report(run: Run, cold: list[FilterRun], warm: list[FilterRun], moving: list[FilterRun], unfiltered: float) -> None:
    run.figure("unfiltered p50, 1 client, between the filters", unfiltered, "ms")
    ranges = [one for one in warm if one.label == "range"]
    others = [one for one in warm if one.label != "range"]
    asked_again = ("equality, list, $in, and/or", others), ("range, key filtered before", ranges)
    for what, those in (*asked_again, (MOVING, moving), (COLD, cold)):
        # The first few have no target for their time.
        _report_group(run, what, those, unfiltered, None if what == COLD else FILTERED_TO_UNFILTERED)
    detail = run.report.detail("Filters, top 10, 1 client", *COLUMNS)
    for one in (*cold, *warm, *moving):
        scored, chosen = one.score, one.filter
        shares = f"{chosen.wanted:.2%}", f"{chosen.share:.2%}"
        complete = f"{scored.answers - scored.incomplete} of {scored.answers}"
        times = one.p50, one.p50 / unfiltered
        detail.rows.append((one.label, *shares, chosen.matches, complete, scored.recall, *times, _text(chosen)))
        run.report.points.append(Point(one.label, {"share": chosen.share, "p50": one.p50, "unfiltered": unfiltered}))


def _report_group(run: Run, what: str, those: list[FilterRun], unfiltered: float, target: Target | None) -> None:
    if not those:
        run.figure(what, None, note="the metadata has nothing that could be filtered so")
        return
    incomplete, answers = sum(one.score.incomplete for one in those), sum(one.score.answers for one in those)
    run.figure(f"{what}: without min(topK, matches)", incomplete, "answers", NONE_AT_ALL, note=f"of {answers}")
    worst = min(those, key=lambda one: one.score.recall)
    run.figure(f"{what}: worst recall@10", worst.score.recall, "", RECALL_AT_10, note=_named(worst))
    slowest = max(those, key=lambda one: one.p50)
    run.figure(f"{what}: worst p50, to unfiltered", slowest.p50 / unfiltered, "x", target, note=_named(slowest))


def _named(one: FilterRun) -> str:
    return f"{one.filter.kind}, {one.filter.share:.2%} of the rows; p50 {one.p50:.2f} ms"


def _text(chosen: ChosenFilter) -> str:
    """Long lists of values are cut off."""
    text = json.dumps(chosen.condition)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]} ..."
