"""What a query of several pages has found, ranked once: every page comes from the same order, whatever is written.

A row of the catalog, so that any worker goes on with it, also after a restart; and cut into pages, so that a page costs
one look-up.  It holds keys and what was found of each, no metadata: that is read when the page goes out.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from app.database.catalog import INDEX_NOT_FOUND, Index, metadata, vector_indexes
from app.database.connection import Connection
from app.database.statements import compiled
from app.errors import NotFoundException, ValidationException
from app.limits import MAX_QUERY_PAGE, MAX_RANKING_BYTES_OF_ONE, MAX_RANKINGS_OF_ONE

# Of a token, each page's own: so long may a client take over a page.
LIFETIME = timedelta(minutes=10)
# Of a ranking, begun again only when a token might outlive it: who pages fast writes nothing.
KEPT = 2 * LIFETIME

# Deleted at a time.
EXPIRED_BATCH = 200

query_rankings = sa.Table(
    "query_rankings",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("vector_index_id", sa.ForeignKey(vector_indexes.c.id)),
    sa.Column("user_id", sa.Text),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("expiry", sa.DateTime(timezone=True)),
)

query_ranking_pages = sa.Table(
    "query_ranking_pages",
    metadata,
    sa.Column("query_ranking_id", sa.ForeignKey(query_rankings.c.id), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("ranking", JSON),
)

_RANKING, _PAGE = query_rankings.c, query_ranking_pages.c


class Ranking(Struct, frozen=True, omit_defaults=True):
    """Of a query or of one page of it: lists that run beside each other, those of scores where they were asked for."""

    keys: list[str]
    distances: list[float | None]
    """None of what only texts have found."""
    fused: list[float] | None = None
    bm25: list[list[float | None]] | None = None
    """A list for each text that was searched for, in the order of the request."""

    def pages(self) -> Iterator["Ranking"]:
        for first in range(0, len(self.keys), MAX_QUERY_PAGE):
            place = slice(first, first + MAX_QUERY_PAGE)
            yield Ranking(
                self.keys[place],
                self.distances[place],
                None if self.fused is None else self.fused[place],
                None if self.bm25 is None else [scores[place] for scores in self.bm25],
            )


class Cursor(Struct, frozen=True, array_like=True):
    """Where a client goes on."""

    ranking_id: int
    number: int
    pages: int
    """That the ranking has."""

    @property
    def next(self) -> "Cursor | None":
        following = self.number + 1
        return Cursor(self.ranking_id, following, self.pages) if following < self.pages else None


async def store(connection: Connection, index: Index, user_id: str, pages: Sequence[Ranking]) -> Cursor:
    """The cursor of the first page.

    What a user keeps is bounded: where it becomes too many, or too large, the rankings that would expire first go.
    Raises NotFoundException of an index that is deleted meanwhile.
    """
    texts = [_encode(page).decode() for page in pages]
    size = sum(len(text.encode()) for text in texts)
    values = {"index_id": index.id, "user_id": user_id, "bytes": size, "pages": texts, "kept": KEPT}
    rows = await connection.run(_STORE, values)
    if not rows:
        raise NotFoundException(INDEX_NOT_FOUND)
    return Cursor(rows[0].query_ranking_id, 0, len(pages))


async def find_page(connection: Connection, cursor: Cursor) -> Ranking:
    """Raises ValidationException of a ranking that is gone."""
    rows = await connection.run(_FIND, {"id": cursor.ranking_id, "number": cursor.number, "lifetime": LIFETIME})
    if not rows:
        raise ValidationException.at("nextToken", "Invalid nextToken")
    if not rows[0].outlives_a_token:
        await connection.run(_RENEW, {"id": cursor.ranking_id, "kept": KEPT})
    return _decode(rows[0].ranking)


async def forget_expired_rankings(connection: AsyncConnection) -> bool:
    """Some of them; whether there may be more."""
    expired = sa.select(_RANKING.id).where(_RANKING.expiry <= sa.func.now()).order_by(_RANKING.expiry)
    locked = expired.limit(EXPIRED_BATCH).with_for_update(skip_locked=True)
    deleted = await connection.execute(sa.delete(query_rankings).where(_RANKING.id.in_(locked)))
    return deleted.rowcount == EXPIRED_BATCH


def _store() -> sa.Insert:
    """One statement, therefore one transaction."""
    user_id, size = sa.bindparam("user_id", type_=sa.Text), sa.bindparam("bytes", type_=sa.BigInteger)
    index = sa.select(vector_indexes.c.id, user_id, size, _from_now("kept")).where(
        vector_indexes.c.id == sa.bindparam("index_id", type_=sa.BigInteger), vector_indexes.c.deletion_time.is_(None)
    )
    columns = ["vector_index_id", "user_id", "bytes", "expiry"]
    ranking = sa.insert(query_rankings).from_select(columns, index).returning(_RANKING.id).cte("ranking")
    texts = sa.cast(sa.bindparam("pages", type_=NullType()), ARRAY(sa.Text))
    page = sa.func.unnest(texts).table_valued("ranking", with_ordinality="place").render_derived(name="page")
    rows = sa.select(ranking.c.id, page.c.place - 1, sa.cast(page.c.ranking, JSON)).join_from(ranking, page, sa.true())
    pages = sa.insert(query_ranking_pages).from_select(["query_ranking_id", "number", "ranking"], rows)
    return pages.add_cte(_surplus(user_id, size).cte("surplus")).returning(_PAGE.query_ranking_id)


def _surplus(user_id: sa.ColumnElement[str], size: sa.ColumnElement[int]) -> sa.Delete:
    """Without waiting for whoever deletes the same, which two might do for each other."""
    last_first = [_RANKING.expiry.desc(), _RANKING.id.desc()]
    kept = (
        sa.select(
            _RANKING.id,
            sa.func.row_number().over(order_by=last_first).label("number"),
            sa.func.sum(_RANKING.bytes).over(order_by=last_first).label("bytes"),
        )
        .where(_RANKING.user_id == user_id)
        .subquery("kept")
    )
    is_surplus = sa.or_(kept.c.number >= MAX_RANKINGS_OF_ONE, kept.c.bytes + size > MAX_RANKING_BYTES_OF_ONE)
    locked = sa.select(_RANKING.id).where(_RANKING.id.in_(sa.select(kept.c.id).where(is_surplus)))
    return sa.delete(query_rankings).where(_RANKING.id.in_(locked.with_for_update(skip_locked=True)))


def _find() -> sa.Select[str, bool]:
    outlives = _RANKING.expiry >= _from_now("lifetime")
    return (
        sa.select(sa.cast(_PAGE.ranking, sa.Text).label("ranking"), outlives.label("outlives_a_token"))
        .join(query_rankings)
        .where(
            _RANKING.id == sa.bindparam("id", type_=sa.BigInteger),
            _PAGE.number == sa.bindparam("number", type_=sa.Integer),
            _RANKING.expiry > sa.func.now(),
        )
    )


def _renew() -> sa.Update:
    renewed = sa.update(query_rankings).values(expiry=_from_now("kept"))
    return renewed.where(_RANKING.id == sa.bindparam("id", type_=sa.BigInteger))


def _from_now(name: str) -> sa.ColumnElement[datetime]:
    return sa.func.now() + sa.bindparam(name, type_=sa.Interval)


_STORE, _FIND, _RENEW = compiled(_store()), compiled(_find()), compiled(_renew())
_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(Ranking).decode
