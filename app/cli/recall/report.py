"""What was measured, what is to be thought of it, and what to change."""

from typing import Any

from msgspec import Struct

from app.cli.output import Row, say, show
from app.database.graphs import is_draft
from app.database.nearest import Search
from app.database.recall import Recall, target_for
from app.database.strategy import MAX_EF_SEARCH, Exact, Strategy

# With more than one in so many vectors outside of the graphs, recall says less of the graphs.
LONG_TAIL = 10


class Report(Struct, frozen=True):
    search: Search
    """One of those that were measured, which differ in their vectors only."""
    strategy: Strategy
    matches: int | None
    queries: int
    are_stored: bool
    vectors: int
    tail: int
    target: float
    """To be reached; not always the one in force."""
    recall: Recall | None
    """None where searches are exact."""


def show_report(report: Report, index: str, of_account: str) -> None:
    if report.recall is not None:
        show(rows(report, report.recall), json=False)
        say("")
    for line in [*remarks(report), verdict(report)]:
        say(line)
    if command := change(report, index, of_account):
        say(f"  {command}")


def document(report: Report, index: str, of_account: str) -> dict[str, Any]:
    recall = report.recall
    return {
        "index": index,
        "top_k": report.search.top_k,
        "queries": report.queries,
        "are_stored": report.are_stored,
        "vectors": report.vectors,
        "tail": report.tail,
        "strategy": report.strategy,
        "recall_target": report.search.recall_target,
        "target": report.target,
        "exact_p50_ms": recall and recall.exact_p50_ms,
        "in_force": recall and recall.in_force,
        "measured": recall.measured if recall else [],
        "remarks": remarks(report),
        "verdict": verdict(report),
        "change": change(report, index, of_account),
    }


def rows(report: Report, recall: Recall) -> list[Row]:
    name = f"recall@{report.search.top_k}"
    in_force = f"in force, by the recall target {report.search.recall_target}"
    exact = {"ef_search": "exact", name: "1", "p50_ms": f"{recall.exact_p50_ms:.1f}", "": ""}
    return [
        *(
            {
                "ef_search": m.ef_search,
                name: f"{m.recall:.4f} +- {m.margin:.4f}",
                "p50_ms": f"{m.p50_ms:.1f}",
                "": in_force if m is recall.in_force else "",
            }
            for m in recall.measured
        ),
        exact,
    ]


def remarks(report: Report) -> list[str]:
    """What keeps the figures from being the whole truth."""
    if report.recall is None:
        return []
    said = []
    if report.are_stored:
        said.append(
            "Stored vectors were the queries: they are found a little more easily than what people ask for. Real"
            " queries can be given as --queries FILE.jsonl, a JSON array of numbers on each line."
        )
    if report.tail * LONG_TAIL > report.vectors:
        said.append(
            f"{report.tail} of {report.vectors} vectors are in no graph yet and are all looked at, themselves or by"
            " their codes, at a price that grows with them: measure again when pgs3vectors index status shows a short"
            " tail."
        )
    if any(map(is_draft, report.search.index.graphs)):
        said.append("Graphs are built better when no more vectors come: measure again then.")
    return said


def verdict(report: Report) -> str:
    recall, target = report.recall, report.target
    if recall is None:
        why = f" ({report.strategy.why})" if isinstance(report.strategy, Exact) else ""
        return f"Searches are exact{why}: their recall is 1, and nothing needs to change."
    if recall.in_force.recall >= target:
        return f"The recall of {target} is reached: nothing needs to change."
    if not recall.misses(target):
        return f"The recall of {target} is reached as far as {report.queries} queries tell: nothing needs to change."
    if recall.more(target) is None:
        return f"The recall of {target} is missed, and no ef_search up to {MAX_EF_SEARCH} reaches it."
    return f"The recall of {target} is missed. This reaches it on this data; measure it again with --target {target}:"


def change(report: Report, index: str, of_account: str) -> str | None:
    """The command that asks for the smallest recall target, of those tried, with which the target is reached."""
    recall, target = report.recall, report.target
    if recall is None or not recall.misses(target) or (more := recall.more(target)) is None:
        return None
    recall_target = target_for(report.search, report.matches, more.ef_search)
    return f"pgs3vectors index set {index} --recall-target {recall_target}{of_account}"
