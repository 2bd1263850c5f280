"""Two indexes with vectors of the same clusters, few and many: p50 in alternating rounds, builds, sizes and memory."""

import time
from statistics import median
from threading import Event
from typing import Literal

from msgspec import Struct

from scripts.benchmarks.datasets import Dataset
from scripts.benchmarks.ground_truth import ground_truth, score
from scripts.benchmarks.run import Run
from scripts.benchmarks.settling import Settled
from scripts.benchmarks.sizes import report_sizes
from scripts.benchmarks.targets import GROWN_TO_SMALL, NONE_AT_ALL, RECALL_AT_10
from scripts.benchmarks.vector_index import VectorIndex, copy_in, fill
from scripts.testbed.processes import proportional_mib
from scripts.testbed.side_by_side import side_by_side

LoadedBy = Literal["api", "copy"]

TOP_K = 10
SAMPLED_EVERY_SECONDS = 2


class Built(Struct, frozen=True):
    settled: Settled
    peak_mib: float
    """Of PostgreSQL, all processes together."""


def growing(run: Run, *, from_rows: int, loaded_by: LoadedBy) -> None:
    few = _grown(run, "few", run.dataset.first(from_rows), loaded_by)
    many = _grown(run, "many", run.dataset, loaded_by)
    asked = {index.name: index.queries(TOP_K) for index in (few, many)}
    rounds = [
        [run.asked_by(1, i.searching(asked[i.name]), len(asked[i.name]), i.name).p50 for i in (few, many)]
        for _ in range(run.options.rounds)
    ]
    for index, p50s in zip((few, many), zip(*rounds, strict=True), strict=True):
        run.figure(f"{len(index.dataset):,} vectors: p50, 1 client", median(p50s), "ms")
    ratio = median(large / small for small, large in rounds)
    run.figure(f"p50 of {len(many.dataset):,} to p50 of {len(few.dataset):,}", ratio, "x", GROWN_TO_SMALL)


def _grown(run: Run, name: str, dataset: Dataset, loaded_by: LoadedBy) -> VectorIndex:
    index, what = run.new_index(name, dataset), f"{len(dataset):,} vectors"
    if loaded_by == "api":
        rate = fill(index, run.steps)
    else:
        rate = copy_in(run.connection, index, run.options.non_filterable, run.steps)
    run.figure(f"{what}: loaded by {loaded_by}", rate, "vectors/s")
    built = _built(run, index)
    note = f"{built.settled.hnsw_indexes} HNSW index(es)"
    run.figure(f"{what}: HNSW built after the last vector", built.settled.built_after, "s", note=note)
    run.figure(f"{what}: PostgreSQL, most memory meanwhile", built.peak_mib, "MiB")
    report_sizes(run, index, f"{what}: ")
    with run.steps.step(f"recall of {what}"):
        scored = score(ground_truth(dataset, TOP_K), run.each_once(index, index.queries(TOP_K)).found)
    run.figure(f"{what}: recall@10", scored.recall, "", RECALL_AT_10)
    run.figure(f"{what}: answers without 10 rows", scored.incomplete, "answers", NONE_AT_ALL)
    return index


def _built(run: Run, index: VectorIndex) -> Built:
    def watch(stopping: Event) -> float:
        peak = 0.0
        while not stopping.is_set():
            peak = max(peak, proportional_mib(run.deployment.postgres))
            time.sleep(SAMPLED_EVERY_SECONDS)
        return peak

    [settled], [peak] = side_by_side([lambda _: run.settle(index)], beside=[watch])
    return Built(settled, peak)
