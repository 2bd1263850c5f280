"""Top 10 of everything: recall, speed and processor time through the API, and raw SQL at the same recall beside it.

Rounds of both alternate, with connections of their own, and ratios are medians of rounds.
"""

from collections.abc import Callable
from contextlib import closing
from statistics import median

from msgspec import Struct

from scripts.benchmarks.ground_truth import Truth, ground_truth, score
from scripts.benchmarks.measuring import Client, Measurement, ask_each_once
from scripts.benchmarks.metering import CLIENT, POSTGRES, WORKERS, Meter
from scripts.benchmarks.raw_sql import MAX_EF_SEARCH, sql_searching
from scripts.benchmarks.run import Run
from scripts.benchmarks.targets import HTTP_BEHIND_SQL_MS, HTTP_TO_SQL, NONE_AT_ALL, RECALL_AT_10
from scripts.benchmarks.vector_index import VectorIndex

TOP_K = 10

Connect = Callable[[], Client]


class Round(Struct, frozen=True):
    measured: Measurement
    seconds: dict[str, float]
    """Of processor time, by whom."""

    def milliseconds(self, whose: str) -> float:
        """For each request."""
        return self.seconds[whose] / len(self.measured.answers) * 1000


def unfiltered(run: Run) -> None:
    index = run.index
    requests = index.queries(TOP_K)
    truth = ground_truth(index.dataset, TOP_K)
    with run.steps.step("recall of the API"):
        scored = score(truth, run.each_once(index, requests).found)
    run.figure("recall@10", scored.recall, "", RECALL_AT_10)
    run.figure(
        "answers without min(topK, rows)", scored.incomplete, "answers", NONE_AT_ALL, note=f"of {scored.answers}"
    )
    ef_search, recall = equal_recall(run, index, truth, scored.recall)
    run.figure("raw SQL of no less recall: ef_search", ef_search, note=f"recall {recall:.4f}")
    http, sql = index.searching(requests), sql_searching(run.deployment.connect, index, TOP_K, ef_search)
    for clients in (1, run.options.clients):
        rounds = [
            (_round(run, clients, http, "API"), _round(run, clients, sql, "raw SQL")) for _ in range(run.options.rounds)
        ]
        _report(run, clients, rounds)


def equal_recall(run: Run, index: VectorIndex, truth: Truth, wanted: float) -> tuple[int, float]:
    """The least ef_search of raw SQL whose recall is no less, and that recall; the greatest, if none is enough."""

    def recall(ef_search: int) -> float:
        with closing(sql_searching(run.deployment.connect, index, TOP_K, ef_search)()) as client:
            return score(truth, ask_each_once(client, range(len(index.dataset.queries))).found).recall

    low, high = TOP_K, MAX_EF_SEARCH
    with run.steps.step("finding the ef_search of raw SQL"):
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if recall(middle) >= wanted else (middle + 1, high)
        return low, recall(low)


def _round(run: Run, clients: int, connect: Connect, what: str) -> Round:
    meter = Meter(run.deployment)
    measured = run.asked_by(clients, connect, len(run.index.dataset.queries), what, meter)
    return Round(measured, meter.seconds)


def _report(run: Run, clients: int, rounds: list[tuple[Round, Round]]) -> None:
    http, sql = [http for http, _ in rounds], [sql for _, sql in rounds]
    by = "1 client" if clients == 1 else f"{clients} clients"
    for what, those in (("API", http), ("raw SQL", sql)):
        rate = median(one.measured.per_second for one in those)
        everything = _together([one.measured for one in those])
        p50, p95, p99 = (everything.percentile(percent) for percent in (50, 95, 99))
        run.figure(f"{what}, {by}", rate, "queries/s", note=f"p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f} ms")
    if clients == 1:
        behind = median(one.measured.p50 - other.measured.p50 for one, other in rounds)
        run.figure("API behind raw SQL, p50, 1 client", behind, "ms", HTTP_BEHIND_SQL_MS)
    else:
        ratio = median(one.measured.per_second / other.measured.per_second for one, other in rounds)
        run.figure(f"API to raw SQL, queries/s, {by}", ratio, "x", HTTP_TO_SQL)
        _report_processor(run, http, sql)


def _together(measurements: list[Measurement]) -> Measurement:
    answers = [answer for one in measurements for answer in one.answers]
    return Measurement(answers, sum(one.seconds for one in measurements))


def _report_processor(run: Run, http: list[Round], sql: list[Round]) -> None:
    for what, rounds, whose in (
        ("a request: workers", http, WORKERS),
        ("a request: PostgreSQL", http, POSTGRES),
        ("a query in raw SQL: PostgreSQL", sql, POSTGRES),
    ):
        milliseconds = median(one.milliseconds(whose) for one in rounds)
        client = f"this client {median(one.milliseconds(CLIENT) for one in rounds):.2f} ms"
        # PostgreSQL on another machine uses no processor time of this one.
        run.figure(f"processor time of {what}", milliseconds or None, "ms", note=client)
