import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from app.cli.index.status import making
from app.database.index_status import Progress
from tests.cli.indexes import Indexes, indexes_at, store
from tests.cli.test_iam import HOME, NOBODY, TENANT, deployed
from tests.database.conftest import Library

MOVIES, SMALL, WAITING = 1, 2, 3


async def make(library: Library) -> None:
    movies = await library.create_index(8, name="movies")
    await store(library, movies, 300)
    await library.build_graph(movies, 0, 201)
    await store(library, await library.create_index(8, name="small"), 10)
    await library.create_index(8, name="waiting")


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        indexes.command("iam", "account", "create", TENANT)
        yield indexes


@pytest.fixture
def clean(indexes: Indexes) -> Iterator[Indexes]:
    """Only `movies` has graphs, and no index has a range index, before and after."""
    yield indexes
    indexes.sql(f"DELETE FROM s3_vectors.hnsw_graphs WHERE vector_index_id <> {MOVIES}")
    indexes.sql("DELETE FROM s3_vectors.range_indexes")


def test_all_indexes_of_an_account_have_a_row_each(indexes: Indexes) -> None:
    indexes.sql("VACUUM ANALYZE vectors.index_2")
    rows = indexes.command.json("index", "status")
    assert [(row["index"], row["estimated_vectors"], row["tail"], row["graph_state"]) for row in rows] == [
        ("media/movies", 300, 100, "ready"),
        ("media/small", 10, 10, "none: small"),
        ("media/waiting", 0, 0, "none: small"),
    ]
    heading, *lines = indexes.command("index", "status").splitlines()
    assert re.split(r"\s{2,}", heading.strip()) == [
        *("index", "estimated vectors", "tail", "graph state"),
        *("ef construction", "table", "graphs", "recall target"),
    ]
    assert re.split(r"\s{2,}", lines[1].strip())[:5] == ["media/small", "10", "10", "none: small", "-"]
    assert indexes.command.json("index", "status", "--account", TENANT) == []


def test_a_named_index_is_counted_and_shows_its_parts(indexes: Indexes) -> None:
    document = indexes.command.json("index", "status", "media/movies")
    [graph] = document.pop("graphs")
    assert document.pop("table_bytes") > 0
    assert document.pop("graph_bytes") == graph.pop("bytes") > 0
    assert document == {
        "index": "media/movies",
        "vectors": 300,
        "tail": 100,
        "graph_state": "ready",
        "ef_construction": [400],
        "recall_target": 0.98,
        "has_own_recall_target": False,
        "codes": [],
        "range_indexes": [],
        "text_searches": [],
    }
    assert (graph["first_position"], graph["end_position"], graph["vectors"], graph["state"]) == (0, 201, 200, "ready")
    summary, graphs = indexes.command("index", "status", "media/movies").split("\nGraphs\n")
    assert "recall target    0.98 (the setting)" in summary
    assert graphs.splitlines()[1].startswith("0 to 200   200      400 ")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"state": "'building'"}, "interrupted: no server is running to go on"),
        (
            {
                "state": "'failed'",
                "attempts": "3",
                "error": "'53100: disk full'",
                "retry_time": "'2030-01-02 03:04:05Z'",
            },
            "failed 3 times, again when a server is running: 53100: disk full",
        ),
        ({"state": "'retired'"}, "none: small"),
    ],
)
def test_a_graph_that_is_not_ready_says_why(clean: Indexes, columns: dict[str, str], expected: str) -> None:
    insert_graph(clean, **columns)
    assert clean.command.json("index", "status", "media/waiting")["graph_state"] == expected


def test_with_a_server_a_failed_graph_has_its_next_attempt(copied_database: Callable[[], str]) -> None:
    with deployed(copied_database()) as deployment:
        key = deployment.command.json("iam", "key", "create")
        client = deployment.client(key)
        client.create_vector_bucket(vectorBucketName="media")
        index = {"vectorBucketName": "media", "indexName": "waiting"}
        client.create_index(**index, dataType="float32", dimension=2, distanceMetric="cosine")
        indexes = Indexes(deployment.url, deployment.command)
        insert_graph(
            indexes,
            vector_index_id="1",
            state="'failed'",
            error="'53100: disk full'",
            retry_time="'2130-01-02 03:04:05Z'",
        )
        state = deployment.command.json("index", "status", "media/waiting")["graph_state"]
        assert state == "failed 1 times, again 2130-01-02 03:04:05 UTC: 53100: disk full"
        indexes.sql("UPDATE s3_vectors.hnsw_graphs SET state = 'building'")
        state = deployment.command.json("index", "status", "media/waiting")["graph_state"]
        assert state == "building: about to begin or to end"


@pytest.mark.parametrize(
    ("held", "per_cent"),
    [
        (f"LOCK TABLE vectors.index_{SMALL} IN ROW EXCLUSIVE MODE", None),
        ("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1", 0),
    ],
    ids=["a write before the build", "a snapshot behind it"],
)
def test_a_build_says_which_transaction_it_waits_for(clean: Indexes, held: str, per_cent: int | None) -> None:
    insert_graph(clean, vector_index_id=str(SMALL), state="'building'")
    [(graph_id,)] = clean.sql("SELECT id FROM s3_vectors.hnsw_graphs WHERE state = 'building'")
    build = (
        f"CREATE INDEX CONCURRENTLY hnsw_{SMALL}_{graph_id} ON vectors.index_{SMALL}"
        " USING hnsw (embedding vector_cosine_ops)"
    )
    with psycopg.connect(clean.url, application_name="reports") as other:
        pid = other.info.backend_pid
        other.execute(held.encode())
        building = threading.Thread(target=clean.sql, args=[build])
        building.start()
        try:
            while not clean.sql(f"SELECT 1 FROM pg_stat_progress_create_index WHERE current_locker_pid = {pid}"):
                time.sleep(0.01)
            document = clean.command.json("index", "status", "media/small")
            text = clean.command("index", "status", "media/small")
        finally:
            other.rollback()
            building.join()
    progress = document["graphs"][0]["progress"]
    assert (progress["waits_for"]["pid"], repr(progress["per_cent"])) == (pid, repr(per_cent))
    waiting, _, since = document["graph_state"].partition(" that began ")
    assert waiting == f"building: waits for the transaction of pid {pid} (reports, idle in transaction)"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", since)
    assert document["graph_state"] in text


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress("initializing", None, None), ": initializing"),
        (Progress("building index: loading tuples", 43, None), " 43 %: loading tuples"),
    ],
)
def test_a_build_says_how_far_it_is(progress: Progress, expected: str) -> None:
    assert making(progress) == expected


def insert_graph(indexes: Indexes, **columns: str) -> None:
    values = {
        "vector_index_id": str(WAITING),
        "first_position": "0",
        "end_position": "100",
        "ef_construction": "64",
        **columns,
    }
    indexes.sql(f"INSERT INTO s3_vectors.hnsw_graphs ({', '.join(values)}) VALUES ({', '.join(values.values())})")


def test_a_recall_target_is_set_and_taken_back(indexes: Indexes) -> None:
    before = generation(indexes)
    said = indexes.command("index", "set", "media/small", "--recall-target", "0.99")
    assert said == "media/small has the recall target 0.99.\n"
    assert generation(indexes) > before
    shown = indexes.command.json("index", "status", "media/small")
    assert (shown["recall_target"], shown["has_own_recall_target"]) == (0.99, True)
    assert "recall target    0.99 (its own)" in indexes.command("index", "status", "media/small")
    said = indexes.command("index", "set", "media/small", "--recall-target", "default")
    assert said == "media/small has the recall target of PGS3VECTORS_RECALL_TARGET, here 0.98.\n"
    assert not indexes.command.json("index", "status", "media/small")["has_own_recall_target"]


def generation(indexes: Indexes) -> Any:
    """What servers compare before each request."""
    return indexes.sql("SELECT indexes FROM s3_vectors.catalog_generation")[0][0]


@pytest.mark.parametrize("key", ["year", "it's", "ключ"])
def test_a_range_index_is_shown_and_dropped(clean: Indexes, key: str) -> None:
    quoted = key.replace("'", "''")
    clean.sql(
        "INSERT INTO s3_vectors.range_indexes (vector_index_id, key, state, attempts, error, retry_time)"
        f" VALUES ({SMALL}, '{quoted}', 'ready', 1, NULL, NULL), ({SMALL}, 'other', 'failed', 2, 'full', now())"
    )
    clean.sql(
        "INSERT INTO s3_vectors.range_indexes (vector_index_id, key, value_type, state)"
        f" VALUES ({SMALL}, '{quoted}', 'string', 'wanted')"
    )
    [(range_id,)] = clean.sql(
        f"SELECT id FROM s3_vectors.range_indexes WHERE key = '{quoted}' AND value_type = 'number'"
    )
    name = f"vectors.range_{SMALL}_{range_id}"
    clean.sql(f"CREATE INDEX {name.partition('.')[2]} ON vectors.index_{SMALL} ((metadata -> '{quoted}'))")
    parts = clean.command.json("index", "status", "media/small")["range_indexes"]
    assert {part["state"] for part in parts if part["value_type"] == "string"} == {"wanted"}
    shown = {part["key"]: part for part in parts if part["value_type"] == "number"}
    assert (shown[key]["state"], shown[key]["bytes"] > 0) == ("ready", True)
    assert (shown["other"]["state"], shown["other"]["bytes"], shown["other"]["error"]) == ("failed", None, "full")
    text = clean.command("index", "status", "media/small").split("\nRange indexes\n")[1]
    assert key in text
    assert "failed 2 times, again when a server is running: full" in text
    said = clean.command("index", "drop-range", "media/small", key)
    assert said == f"media/small has no range index of {key} any more.\n"
    assert clean.sql(f"SELECT to_regclass('{name}')") == [(None,)]
    assert clean.sql("SELECT key FROM s3_vectors.range_indexes") == [("other",)]
    assert (
        clean.command.refusal("index", "drop-range", "media/small", key) == f"media/small has no range index of {key}."
    )


def test_text_searches_are_shown_with_how_far_they_have_come(clean: Indexes) -> None:
    clean.sql(
        "INSERT INTO s3_vectors.text_search_configurations"
        " (vector_index_id, metadata_key, language, analyzer_version, state, built_up_to, attempts, error, retry_time)"
        f" VALUES ({SMALL}, 'title', 'de', 1, 'active', NULL, 0, NULL, NULL),"
        f" ({SMALL}, 'plot', NULL, 1, 'building', 'k17', 0, NULL, NULL),"
        f" ({SMALL}, 'body', NULL, 1, 'building', NULL, 2, 'full', now()),"
        f" ({SMALL}, 'gone', NULL, 1, 'deleted', NULL, 0, NULL, NULL)"
    )
    [(title_id,)] = clean.sql("SELECT id FROM s3_vectors.text_search_configurations WHERE metadata_key = 'title'")
    clean.sql(f"INSERT INTO s3_vectors.text_statistics VALUES ({title_id}, 9, 90), ({title_id}, -2, -8)")
    try:
        shown = clean.command.json("index", "status", "media/small")["text_searches"]
        text = clean.command("index", "status", "media/small").split("\nText searches\n")[1]
    finally:
        clean.sql("DELETE FROM s3_vectors.text_search_configurations")
    assert [(s["metadata_key"], s["language"], s["state"], s["documents"]) for s in shown] == [
        ("title", "de", "active", 7),
        ("plot", None, "building", 0),
        ("body", None, "building", 0),
    ]
    assert re.split(r"\s{2,}", text.splitlines()[1].strip()) == ["title", "de", "7", "0 B", "active"]
    assert "interrupted: no server is running to go on" in text
    assert "failed 2 times, again when a server is running: full" in text


def test_a_range_index_in_use_is_no_longer_used_by_anybody_else(clean: Indexes) -> None:
    clean.sql(f"INSERT INTO s3_vectors.range_indexes (vector_index_id, key, state) VALUES ({SMALL}, 'year', 'ready')")
    [(range_id,)] = clean.sql("SELECT id FROM s3_vectors.range_indexes")
    clean.sql(f"CREATE INDEX range_{SMALL}_{range_id} ON vectors.index_{SMALL} ((metadata -> 'year'))")
    with psycopg.connect(clean.url) as other:
        other.execute(f"LOCK TABLE vectors.index_{SMALL} IN ACCESS SHARE MODE".encode())
        done = clean.command.run("index", "drop-range", "media/small", "year")
    assert done.returncode == 1
    assert done.stdout == "media/small: no search uses the range index of year any more.\n"
    assert done.stderr == (
        "pgs3vectors: Other transactions hold the table, so a server drops the rest of it when it starts.\n"
    )
    assert clean.sql("SELECT 1 FROM s3_vectors.range_indexes") == []
    clean.sql(f"DROP INDEX vectors.range_{SMALL}_{range_id}")


TARGET = "--recall-target must be a share, 0.5 to 0.999; or default."


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("status nope", "An index is named as bucket/index, not as nope."),
        ("status media/nope", f"There is no index media/nope in account {HOME}."),
        ("status media/Mo'vies/2", f"There is no index media/Mo'vies/2 in account {HOME}."),
        (f"status media/movies --account {TENANT}", f"There is no index media/movies in account {TENANT}."),
        (f"status --account {NOBODY}", f"There is no account {NOBODY}."),
        ("set media/nope --recall-target 0.9", f"There is no index media/nope in account {HOME}."),
        ("set media/movies --recall-target 0.49", TARGET),
        ("set media/movies --recall-target 1", TARGET),
        ("set media/movies --recall-target nan", TARGET),
        ("set media/movies --recall-target high", TARGET),
        ("drop-range media/nope year", f"There is no index media/nope in account {HOME}."),
        ("drop-range media/movies year", "media/movies has no range index of year."),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(indexes: Indexes, arguments: str, expected: str) -> None:
    assert indexes.command.refusal("index", *arguments.split()) == expected
