from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pgvector import Vector

from app.arns import IndexArn
from app.cli.recall.report import Report, change, remarks, verdict
from app.database.catalog import Graph, Index
from app.database.nearest import Search
from app.database.recall import Measured, Recall, ladder
from app.database.strategy import Approximate, Exact
from app.index_modes import IndexMode
from tests.cli.indexes import Indexes, indexes_at, store
from tests.cli.test_iam import HOME
from tests.database.conftest import BUCKET, Library


async def make(library: Library) -> None:
    movies = await library.create_index(8, name="movies")
    await store(library, movies, 400)
    await library.build_graph(movies)
    await store(library, movies, 20, 400)
    await store(library, await library.create_index(8, name="small"), 10)
    await library.create_index(8, name="empty")
    planes = await library.create_index(8, "euclidean", name="planes")
    await store(library, planes, 50)
    await library.build_graph(planes)


@pytest.fixture(scope="module")
def indexes(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with indexes_at(copied_database(), make) as indexes:
        yield indexes


def test_recall_is_measured_around_what_is_in_force(indexes: Indexes) -> None:
    told = indexes.command.json("recall", "media/movies", "--samples", "30")
    assert [measured["ef_search"] for measured in told["measured"]] == ladder(160)
    assert told["measured"][-1]["recall"] == 1
    assert told["in_force"]["ef_search"] == 160
    assert (told["index"], told["top_k"], told["queries"], told["are_stored"]) == ("media/movies", 10, 30, True)
    assert (told["vectors"], told["tail"], told["target"]) == (420, 20, 0.98)
    assert told["change"] is None


def test_people_read_a_table_and_what_to_do(indexes: Indexes) -> None:
    text = indexes.command("recall", "media/movies", "--samples", "30")
    table, sentences = text.split("\n\n")
    heading, *lines = table.splitlines()
    assert heading.split() == ["ef", "search", "recall@10", "p50", "ms"]
    assert len(lines) == len(ladder(160)) + 1
    assert [line for line in lines if "in force, by the recall target 0.98" in line] == [lines[1]]
    assert "--queries FILE.jsonl" in sentences
    assert sentences.endswith("nothing needs to change.\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["media/small"], "no graph has been built: the index is small, or its graph is on the way"),
        (["media/movies", "--filter", '{"n": 7}'], "the filter is first: at most 900 matches"),
    ],
)
def test_exact_searches_need_no_change(indexes: Indexes, arguments: list[str], why: str) -> None:
    said = indexes.command("recall", *arguments)
    assert said == f"Searches are exact ({why}): their recall is 1, and nothing needs to change.\n"
    assert indexes.command.json("recall", *arguments)["measured"] == []


def test_queries_may_come_from_a_file(indexes: Indexes, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text("[1, 2, 3, 4, 5, 6, 7, 8]\n\n[1e2, 0, 0, 0, 0, 0, 0, -1.5]\n")
    told = indexes.command.json("recall", "media/movies", "--queries", str(file))
    assert (told["queries"], told["are_stored"], told["remarks"]) == (2, False, [])


def test_a_query_too_long_for_the_graphs_is_not_measured(indexes: Indexes, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text("[70000, 2, 3, 4, 5, 6, 7, 8]\n[1, 0, 0, 0, 0, 0, 0, 0]\n")
    assert indexes.command.json("recall", "media/planes", "--queries", str(file))["queries"] == 1


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{}", " is not a JSON array of numbers."),
        ("[1, 2", " is not a JSON array of numbers."),
        ('["NaN"]', " is not a JSON array of numbers."),
        ("[1, 2]", ": vector must have length 8, but has length 2."),
        ("[0, 0, 0, 0, 0, 0, 0, 0]", ": cosine distance does not support vectors with zero norm."),
        ("[1e39, 0, 0, 0, 0, 0, 0, 0]", ": vector contains NaNs or Infs."),
    ],
)
def test_a_wrong_query_is_named_by_its_line(indexes: Indexes, tmp_path: Path, line: str, fault: str) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text(f"[1, 2, 3, 4, 5, 6, 7, 8]\n{line}\n")
    told = indexes.command.refusal("recall", "media/movies", "--queries", str(file))
    assert told == f"{file}, line 2{fault}"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["media/nope"], f"There is no index media/nope in account {HOME}."),
        (["media/empty"], "There is no vector to search media/empty for."),
        (["media/movies", "--queries", "/dev/null"], "There is no vector to search media/movies for."),
        (["media/movies", "--queries", "/nope"], "Cannot read /nope: No such file or directory."),
        (["media/movies", "--filter", "{}"], "Invalid filter"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(indexes: Indexes, arguments: list[str], expected: str) -> None:
    assert indexes.command.refusal("recall", *arguments) == expected


def reported(measured: dict[int, float], target: float = 0.98, **changed: Any) -> Report:
    """Of a search with ef_search 160 in force; each figure is known to a hundredth."""
    graphs = (Graph(1, 0, 60_001, changed.pop("ef_construction", 400), 60_000),)
    index = Index(
        id=1,
        arn=IndexArn(BUCKET, "movies"),
        creation_time=None,  # type: ignore[arg-type]
        dimension=2,
        distance_metric="cosine",  # type: ignore[arg-type]
        non_filterable_metadata_keys=None,
        encryption=None,  # type: ignore[arg-type]
        tags={},
        data_key=None,
        recall_target=None,
        index_mode=IndexMode.ENHANCED,
        graphs=graphs,
        ranged_keys=frozenset(),
    )
    rungs = [Measured(ef_search, recall, 0.01, 1.0) for ef_search, recall in measured.items()]
    in_force = next(rung for rung in rungs if rung.ef_search == 160)
    values: dict[str, Any] = {
        "search": Search(index, Vector([1.0, 1.0]), 10, None, return_metadata=False, recall_target=0.98),
        "strategy": Approximate(160),
        "matches": None,
        "queries": 200,
        "are_stored": False,
        "vectors": 60_000,
        "tail": 0,
        "target": target,
        "recall": Recall(70.0, in_force, rungs),
    }
    return Report(**(values | changed))


COMMAND = "pgs3vectors index set media/movies --recall-target {} --account 1"


@pytest.mark.parametrize(
    ("measured", "said", "command"),
    [
        ({80: 0.97, 160: 0.98, 240: 0.99}, "The recall of 0.98 is reached: nothing needs to change.", None),
        (
            {80: 0.96, 160: 0.972, 240: 0.99},
            "The recall of 0.98 is reached as far as 200 queries tell: nothing needs to change.",
            None,
        ),
        ({80: 0.9, 160: 0.95, 240: 0.97, 320: 0.98}, "The recall of 0.98 is missed. This", COMMAND.format(0.99)),
        # A smaller value that reached it, by chance, is nothing to go for.
        ({80: 0.99, 160: 0.95, 240: 0.985, 320: 0.98}, "The recall of 0.98 is missed. This", COMMAND.format(0.987)),
        (
            {80: 0.8, 160: 0.9, 1000: 0.97},
            "The recall of 0.98 is missed, and no ef_search up to 1000 reaches it.",
            None,
        ),
    ],
)
def test_the_verdict_follows_from_what_was_measured(measured: dict[int, float], said: str, command: str | None) -> None:
    report = reported(measured)
    assert verdict(report).startswith(said)
    assert change(report, "media/movies", " --account 1") == command


def test_a_filter_that_half_of_the_vectors_match_is_part_of_the_advice() -> None:
    """Its searches have 1.75 times the ef_search of others."""
    report = reported({160: 0.9, 320: 0.99}, matches=20_000)
    assert change(report, "media/movies", "") == "pgs3vectors index set media/movies --recall-target 0.983"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"are_stored": True}, ["Stored vectors were the queries"]),
        ({"tail": 6_000}, []),
        ({"tail": 6_001}, ["6001 of 60000 vectors are in no graph yet"]),
        ({"ef_construction": 64}, ["Graphs are built better"]),
        ({"recall": None, "strategy": Exact("so"), "are_stored": True, "tail": 60_000}, []),
    ],
)
def test_remarks_say_what_the_figures_do_not(changed: dict[str, Any], said: list[str]) -> None:
    found = remarks(reported({160: 0.99}, **changed))
    assert [text.startswith(beginning) for text, beginning in zip(found, said, strict=True)] == [True] * len(said)
