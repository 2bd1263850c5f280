from collections.abc import Callable, Iterator

import pytest

from tests.cli.indexes import Indexes, indexes_at, store
from tests.cli.test_iam import HOME
from tests.database.conftest import Library

GRAPHS = 2


async def make(library: Library) -> None:
    movies = await library.create_index(8, name="movies")
    await store(library, movies, 3_000)
    await library.build_graph(movies, 0, 1_001)
    await library.build_graph(movies, 1_001, 2_901)
    await store(library, await library.create_index(8, "euclidean", name="small"), 10)
    await library.create_index(2_001, name="empty")


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        yield indexes


def test_a_search_through_graphs_is_explained(indexes: Indexes) -> None:
    told = indexes.command.json("explain", "media/movies")
    sql, plan = told.pop("sql"), str(told.pop("plan"))
    assert told.pop("query_vector").startswith("that of k")
    assert told.pop("parameters")["$1"].endswith(", ...], 8 numbers")
    assert told == {
        "index": "media/movies",
        "strategy": "approximate, with hnsw.ef_search = 160",
        "why": "top 10 with a recall target of 0.98; what comes short of top 10 is searched again, in the end exactly",
        "estimated_matches": None,
        "graphs": 2,
        "tail": 100,
        "coded": 0,
    }
    assert sql.count("<=>") == GRAPHS
    assert "%(" not in sql
    assert plan.count("'Index Name': 'hnsw_1_") == GRAPHS
    assert "enable_sort" in plan  # the session is that of the server
    assert "Actual Rows" not in plan


def test_options_are_those_of_the_query(indexes: Indexes) -> None:
    plain = indexes.command.json("explain", "media/movies", "--top-k", "100")
    assert "hnsw.ef_search = 254" in plain["strategy"]
    assert "metadata" not in plain["sql"]
    assert "metadata" in indexes.command.json("explain", "media/movies", "--metadata")["sql"]
    indexes.command("index", "set", "media/movies", "--recall-target", "0.99")
    assert "hnsw.ef_search = 320" in indexes.command.json("explain", "media/movies")["strategy"]
    indexes.command("index", "set", "media/movies", "--recall-target", "default")


@pytest.mark.parametrize(
    ("document", "strategy", "why"),
    [
        ('{"n": 7}', "exact", "the filter is first: at most 1577 matches"),
        (
            '{"n": {"$gte": 3}}',
            "approximate, with hnsw.ef_search = 160, hnsw.iterative_scan = relaxed_order",
            "up to 1577 matches the filter would be first",
        ),
    ],
)
def test_the_estimate_decides_about_filtered_searches(indexes: Indexes, document: str, strategy: str, why: str) -> None:
    told = indexes.command.json("explain", "media/movies", "--filter", document)
    assert told["strategy"] == strategy
    assert why in told["why"]
    assert (told["estimated_matches"] > 2_004) == strategy.startswith("approximate")
    assert any('$."n"' in str(value) for value in told["parameters"].values())


@pytest.mark.parametrize("name", ["small", "empty"])
def test_without_a_graph_searches_are_exact(indexes: Indexes, name: str) -> None:
    told = indexes.command.json("explain", f"media/{name}", "--filter", '{"n": {"$gt": 1}}')
    assert (told["strategy"], told["graphs"]) == ("exact", 0)
    assert told["why"] == "no graph has been built: the index is small, or its graph is on the way"
    assert told["estimated_matches"] >= 1
    assert told["query_vector"].startswith("ones, because none is stored" if name == "empty" else "that of k")


def test_people_read_sql_parameters_and_plan(indexes: Indexes) -> None:
    text = indexes.command("explain", "media/movies", "--analyze", "--filter", '{"n": {"$gte": 3}}')
    summary, sql, parameters, plan = text.split("\n\n")
    assert "approximate, with hnsw.ef_search = 160, hnsw.iterative_scan = relaxed_order\n" in summary
    assert sql.startswith("SELECT ")
    assert parameters.splitlines()[1] == '$2  $."n" >= 3'
    assert "Index Scan using hnsw_1_1 on index_1" in plan
    assert "actual time=" in plan
    assert "Buffers: " in plan
    assert ",...]'::halfvec(8)" in plan
    assert max(line.count(",") for line in plan.splitlines()) < 8 * GRAPHS


def test_no_parameter_fills_the_screen(indexes: Indexes) -> None:
    document = f'{{"n": {{"$in": {list(range(1000, 1100))}}}}}'
    text = indexes.command("explain", "media/movies", "--filter", document)
    parameters = text.split("\n\n")[2]
    assert max(map(len, parameters.splitlines())) < 300
    assert parameters.count("characters)") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["media/nope"], f"There is no index media/nope in account {HOME}."),
        (["media"], "An index is named as bucket/index, not as media."),
        (["media/movies", "--filter", "{"], "--filter is not JSON: Input data was truncated."),
        (["media/movies", "--filter", "{}"], "Invalid filter"),
        (["media/movies", "--filter", '{"n": {"$near": 1}}'], "Invalid filter"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(indexes: Indexes, arguments: list[str], expected: str) -> None:
    assert indexes.command.refusal("explain", *arguments) == expected


@pytest.mark.parametrize("top_k", ["0", "10001", "ten"])
def test_top_k_is_that_of_the_api(indexes: Indexes, top_k: str) -> None:
    done = indexes.command.run("explain", "media/movies", "--top-k", top_k)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--top-k" in done.stderr
