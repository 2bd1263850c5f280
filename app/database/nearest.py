"""The nearest vectors: exactly, or through the graphs; either way min(topK, matches) of them come back.

The graphs know the vectors of their ranges of positions.  Of a long tail behind them, codes tell which are worth being
measured; what has no code yet, the newest vectors above all, is measured in the same statement.  Whatever that leaves
short of topK is searched again, in the end exactly.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import hypot
from typing import Any, assert_never

import sqlalchemy as sa
from msgspec import Struct
from pgvector import Vector
from sqlalchemy.types import NullType

from app.database.catalog import Graph, Index
from app.database.codes import END, FIRST, Coded, nearest_positions, usable
from app.database.connection import Connection
from app.database.filter_conditions import FILTER, FILTERS, Use, conditions_of, filtered
from app.database.graphs import HALFVEC_MAX, Positions, end_of, gaps, held, operand, uncovered, within
from app.database.selectivity import Selectivity
from app.database.statements import Statement, compiled
from app.database.strategy import Approximate, Exact, Strategy, choose, more_thorough
from app.database.vector_table import metadata_columns, table_of
from app.filters.compile import are_values_indexed
from app.filters.jsonb import Condition
from app.filters.nodes import Node
from app.limits import MAX_QUERY_PAGE
from app.observation import current
from app.shapes import DistanceMetric

FLOAT32_MAX: sa.ColumnElement[float] = sa.literal_column("3.4028234663852886e38::float8")
QUERY: sa.ColumnElement[Any] = sa.bindparam("query", type_=NullType())
# The end of the codes is a parameter, of which a plan that is kept knows nothing: behind it the planner expects a third
# of the table, and would read all of it; between two positions a two-hundredth, for which it takes the index.
NEVER_GIVEN = 2**63 - 1


class Search(Struct, frozen=True):
    index: Index
    vector: Vector
    top_k: int
    filter: Node | None
    return_metadata: bool
    recall_target: float

    @property
    def norm(self) -> float:
        return hypot(*self.vector.to_list())

    @property
    def are_values_indexed(self) -> bool:
        return self.filter is not None and are_values_indexed(self.filter, self.index.ranged_keys)

    @property
    def coded(self) -> int:
        """Vectors whose codes are of use: where more than a page is wanted, all are measured."""
        codes = usable(self.index)
        return codes.number if codes and self.top_k <= MAX_QUERY_PAGE else 0

    @property
    def query(self) -> dict[str, Vector]:
        return {"query": self.vector}


class Form(Struct, frozen=True):
    """All that the text of a statement depends on."""

    table: sa.Table
    dimension: int
    metric: DistanceMetric
    graphs: tuple[Graph, ...]
    coded: Coded | None
    top_k: int
    return_metadata: bool
    filters: int
    """How many conditions, of which a row fulfils one at most; none where nothing is filtered."""


async def nearest(connection: Connection, search: Search, selectivity: Selectivity) -> list[Any]:
    """Rows of key, distance and, where asked for, metadata for `metadata_of`; ordered by distance, then key."""
    return await nearest_by(connection, search, await strategy_of(connection, search, selectivity))


async def nearest_by(connection: Connection, search: Search, strategy: Strategy) -> list[Any]:
    observe(search, strategy)
    rows = await _run(connection, search, await statement_by(connection, search, strategy))
    rows = rows[: search.top_k]
    if isinstance(strategy, Exact) or _complete(search, rows):
        return rows
    return await nearest_by(connection, search, more_thorough(strategy))


def observe(search: Search, strategy: Strategy) -> None:
    if (observation := current.get()) is None:
        return
    observation.strategies.append(strategy)
    if isinstance(strategy, Approximate):
        observation.candidates += strategy.ef_search * len(search.index.graphs) + strategy.candidates


async def statement_by(connection: Connection, search: Search, strategy: Strategy) -> Statement:
    """For this connection, whose session is set for it."""
    match strategy:
        case Approximate(ef_search, iterative, candidates):
            scan = "relaxed_order" if iterative else "off"
            await connection.use(hnsw__ef_search=ef_search, hnsw__iterative_scan=scan, **_reach(search.top_k))
            return approximate(search, candidates)
        case Exact(_, many):
            return exact(search, many=many)
        case unknown:
            assert_never(unknown)


def _reach(top_k: int) -> dict[str, int | None]:
    """How far a walk may go on, and in what memory: as the server is set, or enough for some thousand rows.

    Of 63,666 vectors, the 20,000 of pgvector's default held 0.900 of the nearest 10,000, and 100,000 all but 2 of them.
    """
    far = top_k > MAX_QUERY_PAGE
    return {"hnsw__max_scan_tuples": 100_000 if far else None, "hnsw__scan_mem_multiplier": 8 if far else None}


async def strategy_of(connection: Connection, search: Search, selectivity: Selectivity) -> Strategy:
    index = search.index
    if index.distance_metric is DistanceMetric.EUCLIDEAN and search.norm > HALFVEC_MAX:
        return Exact("the query vector does not fit the operand of the graphs")
    matches = None
    if search.filter is not None and (index.graphs or index.codes):
        matches = await selectivity.matches(connection, index, search.filter)
        selectivity.note(index, search.filter, matches)
        if (observation := current.get()) is not None:
            observation.matches = matches
    return strategy_by(search, matches)


def strategy_by(search: Search, matches: int | None) -> Strategy:
    return choose(
        search.index.graphs,
        matches,
        search.top_k,
        search.recall_target,
        coded=search.coded,
        are_values_indexed=search.are_values_indexed,
    )


def exact(search: Search, *, many: bool = False) -> Statement:
    conditions = _conditions(search, Use.PARTS if many else Use.FIRST)
    return filtered(_exact(_form(search, (), None, len(conditions))), conditions)


def approximate(search: Search, candidates: int = 0) -> Statement:
    index, codes = search.index, usable(search.index) if candidates else None
    conditions = _conditions(search, Use.ROW_BY_ROW)
    if codes is None:
        return filtered(_approximate(_form(search, index.graphs, None, len(conditions))), conditions)
    is_behind_graphs = codes.first == end_of(index.graphs)
    coded = Coded(index.id, codes.id, codes.planes, is_behind_graphs=is_behind_graphs, candidates=candidates)
    statement = _approximate(_form(search, index.graphs, coded, len(conditions)))
    positions = {"first_coded": codes.first, "end_coded": codes.end}
    return filtered(Statement(statement.text, statement.values | positions), conditions)


def _conditions(search: Search, use: Use) -> tuple[Statement, ...]:
    return () if search.filter is None else conditions_of(search.index, search.filter, use)


async def _run(connection: Connection, search: Search, statement: Statement) -> list[Any]:
    return await connection.run(statement, search.query, prepare=search.filter is None)


def _complete(search: Search, rows: list[Any]) -> bool:
    """Enough rows, and none that a graph leaves out for its size can be nearer than the last of them."""
    if len(rows) < search.top_k:
        return False
    if search.index.distance_metric is DistanceMetric.COSINE:
        return True
    nearest_left_out = HALFVEC_MAX - search.norm
    return bool(rows[-1].distance < nearest_left_out**2)


def _form(search: Search, graphs: tuple[Graph, ...], coded: Coded | None, filters: int) -> Form:
    index = search.index
    return Form(
        table=table_of(index),
        dimension=index.dimension,
        metric=index.distance_metric,
        graphs=graphs,
        coded=coded,
        top_k=asked_for(search.top_k),
        return_metadata=search.return_metadata,
        filters=filters,
    )


def asked_for(top_k: int) -> int:
    """Of pages, up to a quarter more than wanted: 27 texts of statements serve 9,900 values of topK."""
    if top_k <= MAX_QUERY_PAGE:
        return top_k
    step: int = 1 << (top_k - 1).bit_length() - 3
    return -(-top_k // step) * step


@lru_cache(maxsize=4096)
def _exact(form: Form) -> Statement:
    """The functions behind the operators: an index serves operators only, so the planner cannot choose HNSW here."""
    conditions: Sequence[Condition | None] = FILTERS[: form.filters] or [None]
    return compiled(_answer(form, _all_of([_measured(form, None, condition) for condition in conditions])))


@lru_cache(maxsize=4096)
def _approximate(form: Form) -> Statement:
    condition = FILTER if form.filters else None
    parts = [_walked(form, graph, condition) for graph in form.graphs]
    if form.coded is not None:
        parts.append(_looked_up(form, form.coded, condition))
    parts += [_measured(form, positions, condition) for positions in _unknown(form)]
    return compiled(_answer(form, _all_of(parts)))


def _unknown(form: Form) -> list[Positions]:
    """Of the vectors that no graph holds and that have no code."""
    if form.coded is None:
        return uncovered(form.graphs)
    between: list[Positions] = [] if form.coded.is_behind_graphs else [(end_of(form.graphs), FIRST)]
    return [*gaps(form.graphs), *between, (END, NEVER_GIVEN)]


def _all_of(parts: Sequence[sa.Select[Any]]) -> sa.Select[Any] | sa.CompoundSelect[Any]:
    return parts[0] if len(parts) == 1 else sa.union_all(*(sa.select(part.subquery()) for part in parts))


def _measured(form: Form, positions: Positions | None, condition: Condition | None) -> sa.Select[Any]:
    rows = _rows(form, condition)
    if positions is not None:
        rows = rows.where(within(form.table, positions))
    return rows.order_by(sa.literal_column("distance"), form.table.c.key).limit(_number(form.top_k))


def _walked(form: Form, graph: Graph, condition: Condition | None) -> sa.Select[Any]:
    """Candidates in the graph's order of the operand, which is lossy; the exact float32 distance orders them then."""
    operator = "<=>" if form.metric is DistanceMetric.COSINE else "<->"
    graph_order = operand(form.table.c.embedding, form.dimension, form.metric).op(operator)(
        operand(QUERY, form.dimension, form.metric)
    )
    rows = _rows(form, condition).where(within(form.table, (graph.first, graph.end)))
    if (fitting := held(form.table, form.metric)) is not None:  # without it the planner may not use the index
        rows = rows.where(fitting)
    return rows.order_by(graph_order).limit(_number(form.top_k + form.top_k // 5 + 3))


def _looked_up(form: Form, coded: Coded, condition: Condition | None) -> sa.Select[Any]:
    """An array, because positions that absorbed vectors share must come once, and no plan can read the whole table."""
    positions = nearest_positions(coded, QUERY, form.dimension, form.metric)
    rows = _rows(form, condition).where(form.table.c.position == sa.func.any(sa.func.array(positions)))
    return rows.order_by(sa.literal_column("distance"), form.table.c.key).limit(_number(form.top_k))


def _rows(form: Form, condition: Condition | None) -> sa.Select[Any]:
    columns = [column for column in form.table.c if form.return_metadata and "metadata" in column.name]
    rows = sa.select(form.table.c.key, *columns, _distance(form).label("distance"))
    return rows if condition is None else rows.where(condition)


def _answer(form: Form, chosen: sa.Select[Any] | sa.CompoundSelect[Any]) -> sa.Select[Any]:
    """Text is made of the chosen rows only, behind their LIMIT; distances are float32, as AWS's are."""
    found = chosen.subquery("found")
    ordered = sa.select(found).order_by(found.c.distance, found.c.key).limit(_number(form.top_k))
    rows = ordered.subquery("nearest")
    distance = sa.cast(sa.cast(rows.c.distance, sa.REAL), sa.Double)
    columns: list[sa.ColumnElement[Any]] = [rows.c.key, distance.label("distance")]
    if form.return_metadata:
        columns += metadata_columns(rows)
    return sa.select(*columns).order_by(rows.c.distance, rows.c.key)


def _distance(form: Form) -> sa.ColumnElement[float]:
    """Finite always, since JSON has no infinity: overflowing float32 sums end at its largest number."""
    embedding = form.table.c.embedding
    if form.metric is DistanceMetric.EUCLIDEAN:
        return sa.func.least(sa.func.vector_l2_squared_distance(embedding, QUERY), FLOAT32_MAX)
    # Norms beyond float32 give NaN; unit vectors, which PostgreSQL makes in double precision, do not.
    plain = sa.func.nullif(sa.func.cosine_distance(embedding, QUERY), sa.literal_column("'NaN'::float8"))
    unit = sa.func.cosine_distance(sa.func.l2_normalize(embedding), sa.func.l2_normalize(QUERY))
    return sa.func.coalesce(plain, unit)


def _number(number: int) -> sa.ColumnElement[int]:
    """Written as a literal: the planner of a prepared statement must know how few rows are wanted."""
    return sa.literal_column(str(number))
