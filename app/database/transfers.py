"""How far an import or an export has come: noted with what it has written, so that the next one goes on behind it."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import JSONB, insert

from app.database.catalog import metadata, vector_indexes
from app.database.connection import Connection
from app.database.statements import compiled

transfers = sa.Table(
    "transfers",
    metadata,
    sa.Column("vector_index_id", sa.ForeignKey(vector_indexes.c.id), primary_key=True),
    sa.Column("peer", sa.Text, primary_key=True),
    sa.Column("progress", JSONB),
    sa.Column("update_time", sa.DateTime(timezone=True)),
)

_C = transfers.c


class Transfer(Struct, frozen=True):
    """Between an index and a peer, which is a file in the state that it was in, or an index of another endpoint."""

    vector_index_id: int
    peer: str


async def progress_of(connection: Connection, transfer: Transfer) -> Any:
    """What was noted last; None where nothing of it has been done, or all."""
    noted = sa.select(_C.progress).where(*_is(transfer))
    rows = await connection.run(compiled(noted))
    return rows[0].progress if rows else None


async def note_progress(connection: Connection, transfer: Transfer, progress: Any) -> None:
    new = insert(transfers).values(
        vector_index_id=transfer.vector_index_id,
        peer=transfer.peer,
        progress=sa.literal(progress, JSONB),
        update_time=sa.func.now(),
    )
    replaced = {"progress": new.excluded.progress, "update_time": new.excluded.update_time}
    await connection.run(
        compiled(new.on_conflict_do_update(index_elements=[_C.vector_index_id, _C.peer], set_=replaced))
    )


async def forget(connection: Connection, transfer: Transfer) -> None:
    await connection.run(compiled(sa.delete(transfers).where(*_is(transfer))))


async def forget_others(connection: Connection, transfer: Transfer) -> None:
    """Which are overtaken: going on with one of them would pass over what this one changes."""
    others = _C.vector_index_id == transfer.vector_index_id, _C.peer != transfer.peer
    await connection.run(compiled(sa.delete(transfers).where(*others)))


def _is(transfer: Transfer) -> tuple[sa.ColumnElement[bool], ...]:
    return _C.vector_index_id == transfer.vector_index_id, _C.peer == transfer.peer
