"""What the database holds and builds: read now and then, and told from memory, so that no scrape waits for it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from math import inf

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.database.engine import Database
from app.database.statistics import Builds, Statistics, TableStatistics, read_statistics
from app.errors import S3VectorsError

INTERVAL_SECONDS = 30
# Where there are so many tables that it takes long, it is done less often.
MOST_OF_TIME = 0.05
READ_SECONDS = 10

# With a gauge for each index, only for the greatest of them.
MAX_INDEXES = 1_000

NAMES = ("account_id", "vector_bucket", "index")
STATES = {
    "graph": ("building", "ready", "failed", "retired"),
    "range_index": ("wanted", "building", "ready", "failed"),
    "text_search": ("building", "ready", "failed", "retired"),
}

log = structlog.get_logger()


class RowsRead:
    """PostgreSQL's counters added up, and never less, though tables are dropped and statistics are reset."""

    def __init__(self) -> None:
        self.scanned = self.fetched = 0
        self._seen: dict[int, tuple[int, int]] = {}

    def see(self, tables: Iterable[TableStatistics]) -> None:
        seen = {table.id: (table.rows_scanned, table.rows_fetched) for table in tables}
        for table_id, (scanned, fetched) in seen.items():
            before = self._seen.get(table_id, (0, 0))
            self.scanned += increase(before[0], scanned)
            self.fetched += increase(before[1], fetched)
        self._seen = seen


def increase(before: int, now: int) -> int:
    return now - before if now >= before else now


class DatabaseMetrics(Collector):
    def __init__(self, database: Database, *, per_index: bool) -> None:
        self._database = database
        self._per_index = per_index
        self._statistics: Statistics | None = None
        self._read_at = -inf
        self._failures = 0
        self._rows_read = RowsRead()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            started = time.monotonic()
            await self.read()
            await asyncio.sleep(max(INTERVAL_SECONDS, (time.monotonic() - started) / MOST_OF_TIME))

    async def read(self) -> None:
        """What could not be read stays as it was; the metrics tell how old it is."""
        try:
            async with asyncio.timeout(READ_SECONDS), self._database.connection() as connection:
                self._statistics = await read_statistics(connection)
        except (S3VectorsError, TimeoutError) as error:
            self._failures += 1
            log.warning("statistics_not_read", error=type(error).__name__)
        else:
            self._read_at = time.monotonic()
            self._rows_read.see(self._statistics.tables)

    def collect(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            "pgs3vectors_statistics_failures", "How often what the database holds could not be read."
        )
        failures.add_metric([], self._failures)
        yield failures
        if self._statistics is None:
            return
        yield gauge(
            "pgs3vectors_statistics_age_seconds",
            "How long ago what the database holds was read.",
            time.monotonic() - self._read_at,
        )
        yield from contents(self._statistics)
        yield builds(self._statistics.builds)
        rows = CounterMetricFamily(
            "pgs3vectors_rows_read", "Rows that PostgreSQL read, in sequence or by way of an index.", labels=["access"]
        )
        rows.add_metric(["sequential"], self._rows_read.scanned)
        rows.add_metric(["index"], self._rows_read.fetched)
        yield rows
        if self._per_index:
            yield from each_index(self._statistics)


def contents(statistics: Statistics) -> Iterator[Metric]:
    tables = statistics.tables
    live = [table for table in tables if not table.is_deleted]
    yield gauge("pgs3vectors_vector_buckets", "Vector buckets of all accounts.", statistics.vector_buckets)
    yield gauge("pgs3vectors_vector_indexes", "Vector indexes of all accounts.", len(live))
    yield gauge(
        "pgs3vectors_deleted_indexes", "Deleted indexes whose table is still to be dropped.", len(tables) - len(live)
    )
    yield gauge("pgs3vectors_stored_vectors", "Estimated.", sum(t.vectors for t in live))
    yield gauge("pgs3vectors_tail_vectors", "Estimated, of those that no graph holds yet.", sum(map(tail, live)))
    yield gauge(
        "pgs3vectors_dead_rows", "Of deleted and replaced vectors, before VACUUM.", sum(t.dead_rows for t in live)
    )
    yield gauge("pgs3vectors_table_bytes", "Of the tables of vectors.", sum(t.table_bytes for t in tables))
    yield gauge("pgs3vectors_invalid_indexes", "Left by builds that broke off.", sum(t.invalid_indexes for t in tables))
    bytes_ = GaugeMetricFamily(
        "pgs3vectors_index_bytes", "Of the indexes of those tables, and of tables of codes and texts.", labels=["kind"]
    )
    bytes_.add_metric(["graph"], sum(table.graph_bytes for table in tables))
    bytes_.add_metric(["codes"], sum(table.code_bytes for table in tables))
    bytes_.add_metric(["text"], sum(table.text_bytes for table in tables))
    bytes_.add_metric(["other"], sum(table.other_index_bytes for table in tables))
    yield bytes_


def builds(found: Iterable[Builds]) -> Metric:
    numbers = {(build.kind, build.state): build.number for build in found}
    family = GaugeMetricFamily(
        "pgs3vectors_builds", "Graphs, range indexes and text searches by state.", labels=["kind", "state"]
    )
    for kind, states in STATES.items():
        for state in states:
            family.add_metric([kind, state], numbers.get((kind, state), 0))
    return family


def each_index(statistics: Statistics) -> Iterator[Metric]:
    greatest = nlargest(MAX_INDEXES, statistics.tables, key=lambda table: table.vectors)
    families: dict[str, tuple[str, Callable[[TableStatistics], int]]] = {
        "stored_vectors": ("Estimated.", lambda table: table.vectors),
        "tail_vectors": ("Estimated, of those that no graph holds yet.", tail),
        "dead_rows": ("Of deleted and replaced vectors, before VACUUM.", lambda table: table.dead_rows),
        "table_bytes": ("Of the table.", lambda table: table.table_bytes),
        "graph_bytes": ("Of its graphs.", lambda table: table.graph_bytes),
    }
    for name, (documentation, value) in families.items():
        family = GaugeMetricFamily(f"pgs3vectors_one_index_{name}", documentation, labels=NAMES)
        for table in greatest:
            family.add_metric(names(table), value(table))
        yield family


def names(table: TableStatistics) -> tuple[str, str, str]:
    return table.account_id, table.vector_bucket_name, table.index_name


def tail(table: TableStatistics) -> int:
    return max(0, table.vectors - table.vectors_in_graphs)


def gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
