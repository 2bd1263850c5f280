import numpy as np
import pytest
from psycopg.errors import ReadOnlySqlTransaction

from app.database import exporting
from app.database.engine import Database
from app.database.exporting import Extent, snapshot
from app.database.vector_table import delete, table_of
from tests.database.conftest import Library
from tests.database.test_graph_building import DIMENSION, VECTORS, put


@pytest.mark.parametrize("as_text", [True, False])
async def test_an_export_is_of_one_moment(
    library: Library, database: Database, monkeypatch: pytest.MonkeyPatch, *, as_text: bool
) -> None:
    monkeypatch.setattr(exporting, "ROWS", 30)
    index = await library.create_index(DIMENSION)
    await put(database, index, range(100))
    async with snapshot(database.url, index) as source:
        assert await source.extent() == Extent(rows=100, key_characters=4, metadata_bytes=2)
        await put(database, index, range(90, 200), VECTORS[::-1])
        async with database.connection() as connection:
            await delete(connection, index, ["k000"])
        rows = [row async for batch in source.rows(as_text=as_text) for row in batch]
    assert sorted(row.key for row in rows) == [f"k{i:03}" for i in range(100)]
    if not as_text:
        for row in rows:
            np.testing.assert_array_equal(row.embedding.to_numpy(), VECTORS[int(row.key[1:])])


async def test_an_export_writes_nothing(library: Library, database: Database) -> None:
    index = await library.create_index(DIMENSION)
    async with snapshot(database.url, index) as source:
        with pytest.raises(ReadOnlySqlTransaction):
            await source._connection.execute(f"DELETE FROM {table_of(index).fullname}")  # noqa: SLF001
