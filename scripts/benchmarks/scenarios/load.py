"""Loading from empty: how fast writes are acknowledged, what searches take meanwhile, and whether any row is missed.

Two clients put batches of 500, made and signed before the clock starts.  A third searches all the time and must find
min(topK, rows acknowledged before it asked); a fourth takes one vector of each batch as soon as it is acknowledged, and
both GetVectors and QueryVectors must have it.
"""

import time
from contextlib import closing
from queue import Empty, SimpleQueue
from threading import Event, Lock

import msgspec
import numpy as np
from msgspec import Struct

from scripts.benchmarks.ground_truth import TIE, ground_truth, score
from scripts.benchmarks.measuring import percentile
from scripts.benchmarks.run import Run
from scripts.benchmarks.sizes import report_sizes
from scripts.benchmarks.targets import LOADED_PER_SECOND, LOADING_TO_IDLE, NONE_AT_ALL, RECALL_AT_10
from scripts.benchmarks.vector_index import LOADING_CLIENTS, QueryOutput, VectorIndex
from scripts.testbed.api import Body
from scripts.testbed.progress import Step
from scripts.testbed.side_by_side import Job, side_by_side

TOP_K = 10
RECALL_SECONDS = 6
NEIGHBOURS = 5  # of a vector itself, since others may be equal to it


class Batch(Struct, frozen=True):
    rows: int
    put: bytes
    sampled: int
    """One of its rows."""
    get: bytes
    query: bytes


class VectorData(Struct):
    float32: list[float]


class GotVector(Struct):
    key: str
    data: VectorData


class GetOutput(Struct):
    vectors: list[GotVector]


class Search(Struct, frozen=True):
    acknowledged: int
    """Vectors, before it asked."""
    milliseconds: float
    answer: Body


def load(run: Run) -> None:
    index = run.new_index("loaded", run.dataset)
    batches = _batches(run, index)
    with run.steps.step("loading", len(index.dataset)) as step:
        loading = _Loading(index, batches, index.queries(TOP_K), step)
        started = time.perf_counter()
        puts: list[Job[float]] = [loading.put] * LOADING_CLIENTS
        ended, _ = side_by_side(puts, beside=[loading.search, loading.check])
    seconds = max(ended) - started
    run.figure("acknowledged", len(index.dataset) / seconds, "vectors/s", LOADED_PER_SECOND, note=f"{seconds:.1f} s")
    run.figure(
        "acknowledged, but not read or found at once", loading.missed, "vectors", NONE_AT_ALL, note=loading.checks
    )
    _report_recall(run, index)
    _report_build(run, index, max(ended))
    _report_searches(run, index, loading.searches)
    run.index = index


def _batches(run: Run, index: VectorIndex) -> list[Batch]:
    random = np.random.default_rng(run.options.seed)
    data, batches = index.dataset, []
    with run.steps.step("signing batches", len(data)) as step:
        for rows in data.batches():
            sampled = int(random.integers(rows.start, rows.stop))
            get = index.request("GetVectors", keys=[data.keys[sampled]], returnData=True)
            vector = {"float32": data.vectors[sampled].tolist()}
            query = index.request("QueryVectors", topK=NEIGHBOURS, queryVector=vector, returnDistance=True)
            batches.append(Batch(rows.stop - rows.start, index.put(rows), sampled, get, query))
            step.advance(rows.stop - rows.start)
    return batches


class _Loading:
    """What the four clients know of each other."""

    def __init__(self, index: VectorIndex, batches: list[Batch], queries: list[bytes], step: Step) -> None:
        self._index = index
        self._batches = iter(batches)
        self._queries = queries
        self._step = step
        self._lock = Lock()
        self._acknowledged = 0
        self._unchecked: SimpleQueue[tuple[float, Batch]] = SimpleQueue()
        self._lags: list[float] = []
        self.missed = 0
        self.searches: list[Search] = []

    @property
    def checks(self) -> str:
        return f"{len(self._lags)} checked, half of them within {percentile(self._lags, 50):.0f} ms"

    def put(self, stopping: Event) -> float:
        """When its last batch was acknowledged."""
        with closing(self._index.api.connect()) as connection:
            while not stopping.is_set() and (batch := next(self._batches, None)):
                connection.exchange(batch.put)
                with self._lock:
                    self._acknowledged += batch.rows
                self._unchecked.put((time.perf_counter(), batch))
                self._step.advance(batch.rows)
        return time.perf_counter()

    def search(self, stopping: Event) -> None:
        with closing(self._index.api.connect()) as connection:
            while not stopping.is_set():
                before, started = self._acknowledged, time.perf_counter()
                answer = connection.exchange(self._queries[len(self.searches) % len(self._queries)])
                self.searches.append(Search(before, (time.perf_counter() - started) * 1000, answer))

    def check(self, stopping: Event) -> None:
        """To the end of what was acknowledged."""
        with closing(self._index.api.connect()) as connection:
            while not (stopping.is_set() and self._unchecked.empty()):
                try:
                    acknowledged, batch = self._unchecked.get(timeout=0.1)
                except Empty:
                    continue
                self._lags.append((time.perf_counter() - acknowledged) * 1000)
                got, found = connection.exchange(batch.get), connection.exchange(batch.query)
                self.missed += not (self._is_read(batch, got) and self._is_found(batch, found))

    def _is_read(self, batch: Batch, answer: Body) -> bool:
        vectors = msgspec.json.decode(answer, type=GetOutput).vectors
        stored = self._index.dataset.vectors[batch.sampled]
        return len(vectors) == 1 and bool((np.array(vectors[0].data.float32, np.float32) == stored).all())

    def _is_found(self, batch: Batch, answer: Body) -> bool:
        """It, or as many others as were asked for that are no farther."""
        vectors = msgspec.json.decode(answer, type=QueryOutput).vectors
        near = [vector.key for vector in vectors if abs(vector.distance) <= TIE]
        return self._index.dataset.keys[batch.sampled] in near or len(near) == NEIGHBOURS


def _report_recall(run: Run, index: VectorIndex) -> None:
    """As long as most is in no graph: a server believes that writing is over some ten seconds after it is."""
    truth = ground_truth(index.dataset, TOP_K)
    scored = score(truth, run.each_once(index, index.queries(TOP_K), RECALL_SECONDS).found)
    index_id = index.table.rpartition("_")[2]
    [(vectors, coded)] = run.connection.execute(_IN_NO_GRAPH, {"id": index_id, "table": index.table}).fetchall()
    note = f"{scored.answers} queries; {vectors:,} vectors in no graph, {coded:,} of them by their codes"
    run.figure("recall@10 as soon as it is over", scored.recall, "", RECALL_AT_10, note=note)


_IN_NO_GRAPH = """
WITH tail AS (
    SELECT coalesce(max(end_position), 1) AS first FROM s3_vectors.hnsw_graphs
    WHERE vector_index_id = %(id)s AND state = 'ready'
)
SELECT pg_sequence_last_value(format('%%s_position_seq', %(table)s::text)::regclass) + 1 - first,
    coalesce((SELECT end_position - greatest(first_position, first) FROM s3_vectors.vector_codes
        WHERE vector_index_id = %(id)s AND state = 'ready'), 0)
FROM tail
"""


def _report_build(run: Run, index: VectorIndex, loaded: float) -> None:
    waited_before = time.perf_counter() - loaded
    settled = run.settle(index)
    if settled.hnsw_indexes:
        seconds = waited_before + settled.built_after
        run.figure("HNSW built after the last vector", seconds, "s", note=f"{settled.hnsw_indexes} HNSW index(es)")
    else:
        run.figure("HNSW indexes", 0, note="search is exact: none pays for so few vectors")
    report_sizes(run, index)


def _report_searches(run: Run, index: VectorIndex, searches: list[Search]) -> None:
    lost = sum(_lost(search) for search in searches)
    run.figure("searches meanwhile that lost rows", lost, "answers", NONE_AT_ALL, note=f"of {len(searches)}")
    during = [search.milliseconds for search in searches]
    requests = index.queries(TOP_K)
    idle = run.asked_by(1, index.searching(requests), len(requests), "searching the idle server").percentile(95)
    run.figure("p50 of searches meanwhile", percentile(during, 50), "ms")
    busy = percentile(during, 95)
    run.figure("p95 of searches meanwhile", busy, "ms", note=f"idle {idle:.1f} ms")
    run.figure("p95 of searches meanwhile, to idle", busy / idle, "x", LOADING_TO_IDLE)


def _lost(search: Search) -> bool:
    """Vectors may be there before they are acknowledged, and none may come twice."""
    keys = {vector.key for vector in msgspec.json.decode(search.answer, type=QueryOutput).vectors}
    return not min(TOP_K, search.acknowledged) <= len(keys) <= TOP_K
