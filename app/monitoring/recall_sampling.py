"""Recall, estimated all the time: now and then a few stored vectors are searched for both exactly and as for clients.

It costs the database at most a hundredth of one core, whatever is stored: a round ends when it has taken that share of
the time between two, and the next goes on with the indexes that it did not come to.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from statistics import fmean

import psycopg
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.arns import IndexArn
from app.database import catalog
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.engine import Database
from app.database.nearest import Search
from app.database.recall import recall_in_force
from app.database.sampling import sample
from app.database.statements import compiled
from app.errors import S3VectorsError
from app.monitoring.database_metrics import MAX_INDEXES, NAMES
from app.settings import Settings

SHARE_OF_TIME = 0.01
# Rounds of few searches, many rounds kept: the estimate is of some hours.
SEARCHES, KEPT, TOP_K = 3, 100, 10
# Of fewer searches chance decides which index is the worst.
ENOUGH = 12

log = structlog.get_logger()


class RecallSampling(Collector):
    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._recalls: dict[IndexArn, deque[float]] = {}
        self._done: set[int] = set()
        self._searches = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while self._settings.recall_sampling_seconds:
            await asyncio.sleep(self._settings.recall_sampling_seconds)
            try:
                await self.round()
            except (S3VectorsError, psycopg.Error) as error:
                log.warning("recall_not_sampled", error=type(error).__name__)

    async def round(self) -> None:
        """At least one index, and no more than there is time for."""
        end = time.monotonic() + SHARE_OF_TIME * self._settings.recall_sampling_seconds
        async with self._database.connection() as connection:
            rows = await connection.run(compiled(catalog.all_indexes()))
            indexes = [catalog.index_of_row(row, self._settings.region) for row in rows]
            self._forget_all_but({index.arn for index in indexes})
            for index in self._due([index for index in indexes if index.graphs or index.codes]):
                await self._sample(connection, index)
                if time.monotonic() >= end:
                    break

    def _forget_all_but(self, arns: set[IndexArn]) -> None:
        self._recalls = {arn: recalls for arn, recalls in self._recalls.items() if arn in arns}

    def _due(self, indexes: list[Index]) -> Iterator[Index]:
        """In a random order, each once before any comes again."""
        due = [index for index in indexes if index.id not in self._done]
        if not due:
            self._done.clear()
            due = indexes
        random.shuffle(due)
        for index in due:
            self._done.add(index.id)
            yield index

    async def _sample(self, connection: Connection, index: Index) -> None:
        """An index that is deleted meanwhile, or too large to be searched exactly, is left out."""
        try:
            vectors = await sample(connection, index, SEARCHES, random.getrandbits(32))
            recalls = self._recalls.setdefault(index.arn, deque(maxlen=KEPT))
            for vector in vectors.values():
                search = Search(
                    index=index,
                    vector=vector,
                    top_k=TOP_K,
                    filter=None,
                    return_metadata=False,
                    recall_target=index.recall_target or self._settings.recall_target,
                )
                recalls.append(await recall_in_force(connection, search))
                self._searches += 1
        except (psycopg.errors.UndefinedTable, psycopg.errors.QueryCanceled) as error:
            log.info("recall_not_sampled", index=str(index.arn), error=type(error).__name__)

    def collect(self) -> Iterator[Metric]:
        searches = CounterMetricFamily("pgs3vectors_recall_samples", "Searches that were run both ways.")
        searches.add_metric([], self._searches)
        yield searches
        estimates = {arn: fmean(recalls) for arn, recalls in self._recalls.items() if len(recalls) >= ENOUGH}
        if estimates:
            mean, lowest = fmean(estimates.values()), min(estimates.values())
            yield GaugeMetricFamily("pgs3vectors_recall", "Estimated, the mean of all indexes with graphs.", value=mean)
            yield GaugeMetricFamily("pgs3vectors_recall_lowest", "Estimated, of the worst index.", value=lowest)
        if self._settings.metrics_per_index:
            family = GaugeMetricFamily("pgs3vectors_one_index_recall", "Estimated.", labels=NAMES)
            for arn, recall in list(estimates.items())[:MAX_INDEXES]:
                bucket = arn.bucket
                family.add_metric([bucket.account.account_id, bucket.vector_bucket_name, arn.index_name], recall)
            yield family
