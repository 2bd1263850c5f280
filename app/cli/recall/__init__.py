"""`pgs3vectors recall`: what the graphs of an index miss, and what to change."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number
from pgvector import Vector
from rich.console import Console
from rich.progress import Progress

from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount
from app.cli.named_index import TOP_10, IndexName, SearchOptions, index_named
from app.cli.output import CommandError, Json, write_json
from app.cli.recall.queries import read_queries
from app.cli.recall.report import Report, document, show_report
from app.database.catalog import Index
from app.database.connection import Connection
from app.database.index_status import count, count_tail
from app.database.nearest import Search, strategy_of
from app.database.recall import Recall, most_searches, recall_of
from app.database.sampling import sample
from app.database.selectivity import Selectivity
from app.database.strategy import Approximate

Samples = Annotated[int, Parameter(validator=Number(gte=1, lte=100_000), help="So many stored vectors are queries.")]
Seed = Annotated[int, Parameter(help="Other seeds choose other vectors.")]
Queries = Annotated[
    Path | None, Parameter(help="A file of real queries instead: on each line a JSON array of numbers.")
]
Target = Annotated[
    float | None, Parameter(validator=Number(gt=0, lt=1), help="The recall to reach; by default the target in force.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Measuring:
    samples: Samples = 200
    seed: Seed = 0
    queries: Queries = None
    target: Target = None


DEFAULTS = Measuring()


async def recall(
    name: IndexName,
    *,
    options: SearchOptions = TOP_10,
    measuring: Measuring = DEFAULTS,
    account: OfAccount = None,
    json: Json = False,
) -> None:
    """Measure how many of the nearest vectors the graphs of an index find, and say what to change.

    Exact search tells which are the nearest; several values of hnsw.ef_search are tried.
    """
    async with opened_catalog() as catalog:
        async with catalog.database.transaction() as transaction:
            index = await index_named(transaction, catalog, account, name)
        async with catalog.database.connection() as connection:
            vectors = await query_vectors(connection, index, measuring)
            searches = [options.of(catalog, index, vector) for vector in vectors]
            if not searches:
                raise CommandError(f"There is no vector to search {name} for.")
            report = await report_on(connection, searches, measuring)
    of_account = "" if account is None else f" --account {account}"
    if json:
        write_json(document(report, name, of_account))
    else:
        show_report(report, name, of_account)


async def query_vectors(connection: Connection, index: Index, measuring: Measuring) -> list[Vector]:
    if measuring.queries is not None:
        return read_queries(measuring.queries, index)
    return list((await sample(connection, index, measuring.samples, measuring.seed)).values())


async def report_on(connection: Connection, searches: list[Search], measuring: Measuring) -> Report:
    """Where any search walks the graphs, those that do are measured: a single query may be too long for them."""
    selectivity = Selectivity()
    strategies = [await strategy_of(connection, search, selectivity) for search in searches]
    pairs = list(zip(searches, strategies, strict=True))
    walking = [(search, strategy) for search, strategy in pairs if isinstance(strategy, Approximate)]
    search, strategy = next(iter(walking), pairs[0])
    index, condition, target = search.index, search.filter, measuring.target or search.recall_target
    recall = None
    if isinstance(strategy, Approximate):
        recall = await with_progress(connection, [search for search, _ in walking], strategy.ef_search, target)
    return Report(
        search=search,
        strategy=strategy,
        matches=None if condition is None else await selectivity.matches(connection, index, condition),
        queries=len(walking),
        are_stored=measuring.queries is None,
        vectors=await count(connection, index),
        tail=await count_tail(connection, index),
        target=target,
        recall=recall,
    )


async def with_progress(connection: Connection, searches: list[Search], ef_search: int, target: float) -> Recall:
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Searching", total=most_searches(len(searches), ef_search))
        return await recall_of(connection, searches, ef_search, target, lambda: progress.advance(task))
