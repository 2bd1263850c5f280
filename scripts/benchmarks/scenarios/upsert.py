"""Every key is put again with another vector: the rate, and whether searches then find what is new and not what was."""

import time

from scripts.benchmarks.ground_truth import ground_truth, score
from scripts.benchmarks.putting import put_all, signed_batches
from scripts.benchmarks.run import Run
from scripts.benchmarks.targets import NONE_AT_ALL, RECALL_AT_10, UPSERTED_PER_SECOND
from scripts.benchmarks.vector_index import VectorIndex

TOP_K = 10


def upsert(run: Run) -> None:
    index = run.index
    index.dataset = index.dataset.with_vectors_moved()
    requests = signed_batches(run, index)
    started, ended = put_all(run, index, requests, "putting all keys again")
    rate, seconds = len(index.dataset) / (ended - started), ended - started
    run.figure("acknowledged", rate, "vectors/s", UPSERTED_PER_SECOND, note=f"{seconds:.1f} s")
    _report_recall(run, index, "right afterwards")
    waited_before = time.perf_counter() - ended
    settled = run.settle(index)
    if settled.hnsw_indexes:
        note = f"{settled.hnsw_indexes} HNSW index(es)"
        run.figure("HNSW built after the last vector", waited_before + settled.built_after, "s", note=note)
    _report_recall(run, index, "once settled")


def _report_recall(run: Run, index: VectorIndex, when: str) -> None:
    truth = ground_truth(index.dataset, TOP_K)
    with run.steps.step(f"recall {when}"):
        asked = run.each_once(index, index.queries(TOP_K))
    scored = score(truth, asked.found)
    run.figure(f"recall@10 {when}", scored.recall, "", RECALL_AT_10, note=f"p50 {asked.p50:.2f} ms")
    run.figure(f"answers without min(topK, rows) {when}", scored.incomplete, "answers", NONE_AT_ALL)
