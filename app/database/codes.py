"""Short codes of vectors that no graph holds yet: a search looks at all of them in a fraction of the time.

    CREATE TABLE vectors.codes_42_7 (
        first_position bigint NOT NULL, last_position bigint NOT NULL,
        code_1 bit(1152), ..., code_8 bit(1152),
        positions bigint[] NOT NULL
    );

A code has some planes of one bit for each dimension: whether its component is above a threshold.  So two codes differ
in as many bits as there are thresholds between their components, which is near to the distance of the vectors.  The
thresholds of a dimension lie around its mean, as far apart as its deviation asks for (Max, "Quantizing for minimum
distortion", 1960).  The nearest by their codes are then measured exactly.

Eight codes are a row, because PostgreSQL needs as long for a row as for what is computed of a code.  Rows are only ever
added, of the vectors that have their positions then: what is deleted or replaced later keeps its code, which leads to
no vector any more.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from pgvector import Vector
from sqlalchemy.dialects.postgresql import ARRAY, BIT
from sqlalchemy.types import NullType

from app.database.catalog import Codes, Index, vector_codes
from app.database.ddl import ddl
from app.database.graphs import Positions, end_of, held, within
from app.database.statements import Statement, compiled
from app.database.vector_table import table_of
from app.shapes import DistanceMetric

BLOCK = 8
# So many at least: distances of vectors of any length need more than those of unit vectors.
BITS = {DistanceMetric.COSINE: 1_152, DistanceMetric.EUCLIDEAN: 1_920}
MIN_PLANES, MAX_PLANES = 2, 8
# Eight of them fit a page, which PLAIN columns must.
MAX_BITS = 7_680

# Between thresholds, in standard deviations: by how many thresholds there are, the least error for normal numbers.
_STEPS = 0.0, 0.0, 1.224, 0.9957, 0.8430, 0.7334, 0.6508, 0.5860, 0.5338

Thresholds = npt.NDArray[np.float32]
"""A row for each plane."""


def planes_of(dimension: int, metric: DistanceMetric) -> int:
    wanted = min(MAX_PLANES, max(MIN_PLANES, -(-BITS[metric] // dimension)))
    return min(wanted, MAX_BITS // dimension)


def thresholds_of(vectors: npt.NDArray[np.float32], planes: int) -> Thresholds:
    """Of vectors as `_quantized` takes them, a row each."""
    mean, deviation = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    steps = (np.arange(planes) - (planes - 1) / 2) * _STEPS[planes]
    return np.asarray(mean + steps[:, None] * deviation, dtype=np.float32)


def codes_table(index_id: int, codes_id: int, bits: int) -> sa.Table:
    return sa.Table(
        f"codes_{index_id}_{codes_id}",
        sa.MetaData(schema="vectors"),
        sa.Column("first_position", sa.BigInteger, nullable=False),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        *(sa.Column(f"code_{i}", BIT(bits)) for i in range(1, BLOCK + 1)),
        sa.Column("positions", ARRAY(sa.BigInteger), nullable=False),
    )


def create_codes(index: Index, codes_id: int, planes: int) -> list[Statement]:
    """PLAIN, since a row is large enough for TOAST; without statistics, since ANALYZE would sort codes for nobody."""
    table = codes_table(index.id, codes_id, planes * index.dimension)
    columns = [column.name for column in table.c if not isinstance(column.type, sa.BigInteger)]
    stored = ", ".join(f"ALTER {name} SET STORAGE PLAIN, ALTER {name} SET STATISTICS 0" for name in columns)
    return [compiled(sa.schema.CreateTable(table)), compiled(ddl(f"ALTER TABLE {table.fullname} {stored}"))]


def drop_codes(index_id: int, codes_id: int) -> sa.DDL:
    return ddl("DROP TABLE IF EXISTS vectors.codes_%(index)s_%(id)s", index=index_id, id=codes_id)


def add_codes(index: Index, codes_id: int, thresholds: Sequence[Vector], positions: Positions) -> Statement:
    """One row that says how many.

    Thresholds are parameters here: those of a row would be read anew for each vector.
    """
    table, given = table_of(index), [sa.bindparam(f"plane_{i}", type_=NullType()) for i in range(len(thresholds))]
    # OFFSET keeps the planner from writing the operand out for each plane.
    operand = _quantized(table.c.embedding, index.distance_metric).label("operand")
    held_by_codes = sa.select(table.c.position, operand).where(_held(index, positions))
    operands = held_by_codes.offset(sa.literal_column("0")).subquery("operands")
    block: sa.ColumnElement[int] = sa.literal_column(f"(row_number() OVER () - 1) / {BLOCK}")
    coded = sa.select(
        operands.c.position, _code(operands.c.operand, index.dimension, given).label("code"), block.label("block")
    ).subquery("coded")
    # Both take the rows in the same order, whichever that is.
    codes, its_positions = sa.func.array_agg(coded.c.code, type_=ARRAY(BIT)), sa.func.array_agg(coded.c.position)
    blocks = sa.select(
        sa.func.min(coded.c.position),
        sa.func.max(coded.c.position),
        *(codes[_place(i)] for i in range(BLOCK)),
        its_positions,
    ).group_by(coded.c.block)
    into = codes_table(index.id, codes_id, len(thresholds) * index.dimension)
    added = sa.insert(into).from_select([column.name for column in into.c], blocks)
    codes_of = added.returning(sa.func.cardinality(into.c.positions).label("codes")).cte("added")
    statement = compiled(sa.select(sa.func.coalesce(sa.func.sum(codes_of.c.codes), 0).label("codes")))
    planes = {bound.key: plane for bound, plane in zip(given, thresholds, strict=True)}
    return Statement(statement.text, statement.values | planes)


def sampled(index: Index, positions: Positions, share: int) -> Statement:
    """One of so many vectors, for `thresholds_of`: by chance, since positions may be regular, or mostly empty."""
    table = table_of(index)
    operand = _quantized(table.c.embedding, index.distance_metric).label("vector")
    chosen = sa.func.hashint8(table.c.position) % sa.literal_column(str(share)) == sa.literal_column("0")
    return compiled(sa.select(operand).where(_held(index, positions), chosen))


class Coded(Struct, frozen=True):
    """What the text of a search depends on; the positions themselves change every moment while vectors are put."""

    index_id: int
    id: int
    planes: int
    is_behind_graphs: bool
    """Whether there is nothing between the last graph and the first code."""
    candidates: int
    """So many are measured exactly."""


FIRST = sa.cast(sa.bindparam("first_coded", type_=NullType()), sa.BigInteger)
END = sa.cast(sa.bindparam("end_coded", type_=NullType()), sa.BigInteger)


def nearest_positions(coded: Coded, query: Any, dimension: int, metric: DistanceMetric) -> sa.ScalarSelect[Any]:
    """From FIRST up to, not including, END, by their codes.

    Those are in the blocks whose own nearest are the nearest, as many as are wanted: so only these are looked at code
    by code.  Of what is as near, the newest comes first: a vector that is put again and again leaves many codes.
    """
    table = codes_table(coded.index_id, coded.id, coded.planes * dimension)
    thresholds = [vector_codes.c.thresholds[_place(plane)] for plane in range(coded.planes)]
    of_query = sa.select(_code(_quantized(query, metric), dimension, thresholds).label("code"))
    # A scalar, which costs each row a look at a parameter; as a row to join with it took a fourteenth more.
    asked = of_query.where(vector_codes.c.id == sa.literal_column(str(coded.id))).cte("asked")
    code = sa.select(asked.c.code).scalar_subquery()
    limit: sa.ColumnElement[int] = sa.literal_column(str(coded.candidates))

    def differences(block: Any) -> list[sa.ColumnElement[float]]:
        return [sa.func.hamming_distance(block.c[f"code_{i}"], code) for i in range(1, BLOCK + 1)]

    block = table.alias("block")
    nearest_blocks: sa.ScalarSelect[Any] = (
        sa.select(sa.literal_column("block.ctid"))
        .where(block.c.first_position < END, block.c.last_position >= FIRST)
        .order_by(sa.func.least(*differences(block)), block.c.first_position.desc())
        .limit(limit)
        .scalar_subquery()
    )
    near = table.alias("near")
    values = sa.values(sa.column("position", sa.BigInteger), sa.column("difference", sa.Double), name="coded")
    codes = values.data([(near.c.positions[_place(i)], d) for i, d in enumerate(differences(near))]).lateral()
    nearest = (
        sa.select(codes.c.position)
        .select_from(near.join(codes, sa.true()))
        .where(sa.literal_column("near.ctid") == sa.func.any(sa.func.array(nearest_blocks)))
        .where(codes.c.position >= FIRST)
        .order_by(codes.c.difference, codes.c.position.desc())
        .limit(limit)
    )
    return nearest.scalar_subquery()


def usable(index: Index) -> Codes | None:
    """The codes of an index as far as no graph holds the same vectors."""
    codes, held_by_graphs = index.codes, end_of(index.graphs)
    if codes is None or codes.end <= held_by_graphs:
        return None
    return replace(codes, first=max(codes.first, held_by_graphs))


def _place(index: int) -> sa.ColumnElement[int]:
    """Arrays begin with 1."""
    return sa.literal_column(str(index + 1))


def _code(operand: Any, dimension: int, thresholds: Sequence[Any]) -> sa.ColumnElement[Any]:
    """The same for a column and for a query."""
    planes: list[sa.ColumnElement[Any]] = [sa.func.binary_quantize(operand - threshold) for threshold in thresholds]
    return sa.cast(reduce(lambda bits, plane: bits.op("||")(plane), planes), BIT(len(planes) * dimension))


def _quantized(embedding: Any, metric: DistanceMetric) -> sa.ColumnElement[Any]:
    """Unit vectors, where the cosine does not know how long they are."""
    return embedding if metric is DistanceMetric.EUCLIDEAN else sa.func.l2_normalize(embedding)


def _held(index: Index, positions: Positions) -> sa.ColumnElement[bool]:
    """As of graphs: whatever is left out must be told by its size, so that a search knows when it may be near."""
    table = table_of(index)
    fitting = held(table, index.distance_metric)
    return within(table, positions) if fitting is None else sa.and_(within(table, positions), fitting)
