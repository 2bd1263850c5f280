"""The plot of recall against queries/s: the API at several recall targets, raw SQL at several ef_search."""

from scripts.benchmarks.ground_truth import ground_truth, score
from scripts.benchmarks.measuring import Measurement
from scripts.benchmarks.raw_sql import sql_searching
from scripts.benchmarks.report import Point
from scripts.benchmarks.run import Run
from scripts.benchmarks.vector_index import VectorIndex

TOP_K = 10
RECALL_TARGETS = (0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995)
EF_SEARCH = (20, 40, 80, 120, 160, 240, 320, 480, 640)
API, RAW_SQL = "API at recall target", "raw SQL at ef_search"


def recall_sweep(run: Run) -> None:
    index, clients = run.index, run.options.clients
    queries = len(index.dataset.queries)
    truth = ground_truth(index.dataset, TOP_K)

    detail = run.report.detail(
        f"Recall and speed, top 10, {clients} clients", "by", "setting", "recall@10", "queries/s"
    )

    def add(curve: str, setting: float, measured: Measurement) -> None:
        recall = score(truth, measured.found).recall
        detail.rows.append((curve, f"{setting:g}", recall, measured.per_second))
        run.report.points.append(Point(curve, {"setting": setting, "recall": recall, "queries/s": measured.per_second}))

    for recall_target in RECALL_TARGETS:
        with run.deployment.another_server(RECALL_TARGET=str(recall_target)) as server:
            there = VectorIndex(server.api, index.name, index.dataset, index.table)
            what = f"{API} {recall_target}"
            add(API, recall_target, run.asked_by(clients, there.searching(there.queries(TOP_K)), queries, what))
    for ef_search in EF_SEARCH:
        searching = sql_searching(run.deployment.connect, index, TOP_K, ef_search)
        add(RAW_SQL, ef_search, run.asked_by(clients, searching, queries, f"{RAW_SQL} {ef_search}"))
