from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, create_engine, make_url, text

from app.filters.nodes import RangeKey
from app.filters.range_conditions import range_value
from tests.filters.documents import RANGED_KEYS, documents


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[Connection]:
    """To an empty table `documents (id, metadata)` whose indexes the planner prefers."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE documents (id int NOT NULL, metadata jsonb NOT NULL)"))
        connection.execute(text("CREATE INDEX gin ON documents USING gin (metadata jsonb_path_ops)"))
        for number, of in enumerate(RANGED_KEYS):
            create_range_index(connection, f"range_{number}", of)
        connection.execute(text("SET enable_seqscan = off"))
        yield connection
    engine.dispose()


def create_range_index(connection: Connection, name: str, of: RangeKey) -> None:
    value = range_value(sa.column("metadata", documents.c.metadata.type), of).compile(connection)
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    psycopg.ClientCursor(driver).execute(f"CREATE INDEX {name} ON documents (({value}))".encode(), value.params)
