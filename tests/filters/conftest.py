from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, make_url, text


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[Connection]:
    """To an empty table `documents (id, metadata)` whose GIN index the planner prefers."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE documents (id int NOT NULL, metadata jsonb NOT NULL)"))
        connection.execute(text("CREATE INDEX gin ON documents USING gin (metadata jsonb_path_ops)"))
        connection.execute(text("SET enable_seqscan = off"))
        yield connection
    engine.dispose()
