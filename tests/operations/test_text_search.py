"""Full-text and hybrid search as a client meets it."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

FILMS = {
    "alien": ("A crew in space meets a deadly creature", [1.0, 0.0]),
    "solaris": ("A psychologist visits a space station above an ocean", [0.9, 0.1]),
    "jaws": ("A deadly shark hunts swimmers in the ocean", [0.0, 1.0]),
    "heat": ("A crew of thieves and a detective", [0.1, 0.9]),
}
Films = dict[str, str]


def vector(key: str, text: str, numbers: list[float], **metadata: Any) -> dict[str, Any]:
    return {"key": key, "data": {"float32": numbers}, "metadata": {"plot": text, **metadata}}


VECTORS = [vector(key, text, numbers, long=len(text) > 40) for key, (text, numbers) in FILMS.items()]


def searchable(*keys: str, **members: Any) -> dict[str, Any]:
    return {"textSearchConfigurations": [{"metadataKey": key, **members} for key in keys]}


def asking(**texts: str) -> list[dict[str, str]]:
    return [{"metadataKey": key, "text": text} for key, text in texts.items()]


def keys(answer: dict[str, Any]) -> list[str]:
    return [found["key"] for found in answer["vectors"]]


@pytest.fixture
def films(s3vectors: Any, create_index: Callable[..., Films]) -> Films:
    index = create_index("films", metadataConfiguration=searchable("plot", language="en"))
    s3vectors.put_vectors(**index, vectors=VECTORS)
    return index


def status(s3vectors: Any, index: Films) -> list[dict[str, str]]:
    configured: dict[str, Any] = s3vectors.get_index(**index)["index"].get("metadataConfiguration", {})
    searches: list[dict[str, str]] = configured.get("textSearchConfigurations", [])
    return searches


def wait_until_active(s3vectors: Any, index: Films) -> None:
    for _ in range(600):
        if all(search["status"] == "ACTIVE" for search in status(s3vectors, index)):
            return
        time.sleep(0.05)
    pytest.fail("still BUILDING after half a minute")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deadly creatures", ["alien", "jaws"]),
        ("CREW", ["heat", "alien"]),
        ("ocean station", ["solaris", "jaws"]),
        ("spaceship", []),
        ("the of a", []),
        ("!?", []),
    ],
)
def test_texts_are_found_by_their_words(s3vectors: Any, films: Films, text: str, expected: list[str]) -> None:
    answer = s3vectors.query_vectors(**films, topK=10, queryTexts=asking(plot=text))
    assert (keys(answer), answer["distanceMetric"]) == (expected, "euclidean")


def test_scores_come_where_they_are_asked_for(s3vectors: Any, films: Films) -> None:
    query = {"topK": 10, "queryTexts": asking(plot="space")}
    assert all(set(found) == {"key"} for found in s3vectors.query_vectors(**films, **query)["vectors"])
    for found in s3vectors.query_vectors(**films, **query, returnScores=True, returnDistance=True)["vectors"]:
        assert found.keys() == {"key", "scores"}
        [score] = found["scores"].pop("bm25Scores")
        assert found["scores"] == {}
        assert (score["metadataKey"], score["score"] > 0) == ("plot", True)


def test_a_hybrid_search_fuses_both_rankings(s3vectors: Any, films: Films) -> None:
    answer = s3vectors.query_vectors(
        **films,
        topK=10,
        queryTexts=asking(plot="ocean"),
        queryVector={"float32": [1, 0]},
        returnScores=True,
        returnDistance=True,
        returnMetadata=True,
    )
    assert keys(answer) == ["solaris", "jaws", "alien", "heat"]
    ranks = {"solaris": [2, 2], "jaws": [4, 1], "alien": [1], "heat": [3]}
    for found in answer["vectors"]:
        assert found["scores"]["fused"] == pytest.approx(sum(1 / (60 + rank) for rank in ranks[found["key"]]))
        assert found["scores"]["vectorDistance"] == found["distance"]
        assert ("bm25Scores" in found["scores"]) == (len(ranks[found["key"]]) == 2)
        assert found["metadata"]["plot"] == FILMS[found["key"]][0]


def test_a_search_for_vectors_alone_has_no_scores(s3vectors: Any, films: Films) -> None:
    answer = s3vectors.query_vectors(**films, topK=1, queryVector={"float32": [1, 0]}, returnScores=True)
    assert answer["vectors"] == [{"key": "alien"}]


@pytest.mark.parametrize("by_vector", [{}, {"queryVector": {"float32": [1, 0]}}], ids=["texts", "hybrid"])
def test_filters_apply(s3vectors: Any, films: Films, by_vector: dict[str, Any]) -> None:
    answer = s3vectors.query_vectors(
        **films, topK=10, queryTexts=asking(plot="crew ocean"), filter={"long": True}, **by_vector
    )
    assert set(keys(answer)) == {"solaris", "jaws"}


def test_several_keys_are_searched_together(s3vectors: Any, create_index: Callable[..., Films]) -> None:
    index = create_index("films", metadataConfiguration=searchable("plot", "title"))
    s3vectors.put_vectors(
        **index,
        vectors=[
            vector("both", "a deadly ocean", [1, 1], title="ocean"),
            vector("title", "a quiet forest", [1, 1], title="ocean"),
            vector("none", "a quiet forest", [1, 1], title="forest"),
        ],
    )
    texts = asking(plot="deadly", title="ocean")
    answer = s3vectors.query_vectors(**index, topK=10, queryTexts=texts, returnScores=True)
    assert keys(answer) == ["both", "title"]
    named = [[score["metadataKey"] for score in found["scores"]["bm25Scores"]] for found in answer["vectors"]]
    assert named == [["plot", "title"], ["title"]]


def test_what_is_written_counts_at_once_and_what_is_deleted_no_longer(s3vectors: Any, films: Films) -> None:
    query = {**films, "topK": 10, "queryTexts": asking(plot="volcano")}
    s3vectors.put_vectors(**films, vectors=[vector("new", "A volcano", [1, 1]), vector("heat", "Volcanoes", [1, 1])])
    assert keys(s3vectors.query_vectors(**query)) == ["heat", "new"]
    s3vectors.put_vectors(**films, vectors=[{"key": "heat", "data": {"float32": [1, 1]}}])
    assert keys(s3vectors.query_vectors(**query)) == ["new"]
    s3vectors.delete_vectors(**films, keys=["new"])
    assert keys(s3vectors.query_vectors(**query)) == []


def test_a_key_becomes_searchable_of_an_index_that_is_full(s3vectors: Any, index: Films) -> None:
    s3vectors.put_vectors(**index, vectors=[vector(f"k{i:04}", "one film of many", [i, i]) for i in range(500)])
    s3vectors.put_vectors(**index, vectors=[vector(f"m{i:04}", "another film", [i, i]) for i in range(300)])
    assert s3vectors.update_metadata_configuration(**index, add=searchable("plot"))["indexArn"].endswith("idx")
    s3vectors.put_vectors(**index, vectors=[vector("k0001", "rewritten meanwhile", [1, 1])])
    wait_until_active(s3vectors, index)
    assert status(s3vectors, index) == [{"metadataKey": "plot", "status": "ACTIVE"}]
    pages = s3vectors.get_paginator("query_vectors").paginate(**index, topK=1000, queryTexts=asking(plot="film"))
    found = [found["key"] for page in pages for found in page["vectors"]]
    assert len(found) == len(set(found)) == 799
    assert keys(s3vectors.query_vectors(**index, topK=5, queryTexts=asking(plot="meanwhile"))) == ["k0001"]


def test_pages_of_a_hybrid_search_have_their_scores(s3vectors: Any, films: Films) -> None:
    s3vectors.put_vectors(**films, vectors=[vector(f"k{i:04}", "film " * (i % 7 + 1), [i, i]) for i in range(250)])
    query = {**films, "topK": 230, "queryTexts": asking(plot="film"), "queryVector": {"float32": [0, 0]}}
    pages = list(s3vectors.get_paginator("query_vectors").paginate(**query, returnScores=True))
    assert [len(page["vectors"]) for page in pages] == [100, 100, 30]
    fused = [found["scores"]["fused"] for page in pages for found in page["vectors"]]
    assert fused == sorted(fused, reverse=True)


def test_a_key_is_no_longer_searchable_once_it_was_deleted(s3vectors: Any, films: Films) -> None:
    s3vectors.update_metadata_configuration(**films, delete={"textSearchConfigurations": [{"metadataKey": "plot"}]})
    assert status(s3vectors, films) == []
    with pytest.raises(ClientError, match="has no text search configuration"):
        s3vectors.query_vectors(**films, topK=1, queryTexts=asking(plot="crew"))
    s3vectors.put_vectors(**films, vectors=VECTORS)
    s3vectors.update_metadata_configuration(**films, add=searchable("plot", language="de"))
    wait_until_active(s3vectors, films)
    assert status(s3vectors, films) == [{"metadataKey": "plot", "language": "de", "status": "ACTIVE"}]
    assert keys(s3vectors.query_vectors(**films, topK=1, queryTexts=asking(plot="thieves"))) == ["heat"]


def test_texts_under_non_filterable_keys_are_found_too(s3vectors: Any, create_index: Callable[..., Films]) -> None:
    configuration = {"nonFilterableMetadataKeys": ["plot"], **searchable("plot")}
    index = create_index("films", metadataConfiguration=configuration)
    s3vectors.put_vectors(**index, vectors=VECTORS)
    assert keys(s3vectors.query_vectors(**index, topK=10, queryTexts=asking(plot="shark"))) == ["jaws"]
    told = s3vectors.get_index(**index)["index"]["metadataConfiguration"]
    assert told["nonFilterableMetadataKeys"] == ["plot"]


QUERIES: list[tuple[dict[str, Any], str | None, str]] = [
    ({}, "queryVector", "Must specify queryVector, queryTexts, or both"),
    ({"queryTexts": asking(title="x")}, "queryTexts[0].metadataKey", "has no text search configuration"),
    ({"queryTexts": asking(plot="x") * 2}, "queryTexts", "must appear at most once"),
    ({"queryTexts": asking(plot="x" * 1025)}, "/queryTexts/0/text", "length between 1 and 1024"),
    ({"queryTexts": [{"metadataKey": f"k{i}", "text": "x"} for i in range(11)]}, "/queryTexts", "between 1 and 10"),
    ({"queryTexts": asking(plot="x"), "filter": {"a": {"$no": 1}}}, "filter", "Invalid filter"),
    ({"queryTexts": asking(plot="x"), "queryVector": {"float32": [1]}}, "vector", "length 2"),
]


@pytest.mark.parametrize(("members", "path", "message"), QUERIES, ids=str)
def test_a_query_that_breaks_a_rule_is_refused(
    s3vectors: Any, films: Films, members: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(ClientError) as raised:
        s3vectors.query_vectors(**films, topK=1, **members)
    assert_refused(raised.value, path, message)


def assert_refused(error: ClientError, path: str, message: str) -> None:
    response: Any = error.response
    assert response["Error"]["Code"] == "ValidationException"
    assert response["fieldList"][0]["path"] == path
    assert message in response["fieldList"][0]["message"]


UPDATES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "add", "either add or delete but not both"),
    ({"add": searchable("a"), "delete": searchable("b")}, "add", "either add or delete but not both"),
    ({"add": searchable("a", "a")}, "add.textSearchConfigurations", "must not appear more than once"),
    ({"add": searchable("a", language="xx")}, "/add/textSearchConfigurations/0/language", "enum value set: [en, fr"),
    ({"add": searchable("a" * 64)}, "/add/textSearchConfigurations/0/metadataKey", "length between 1 and 63"),
    ({"add": searchable(*map(str, range(11)))}, "/add/textSearchConfigurations", "length between 0 and 10"),
    ({"add": searchable(*map(str, range(10)))}, "add.textSearchConfigurations", "at most 10"),
    ({"add": searchable("a\0")}, "add.textSearchConfigurations[0].metadataKey", "null character"),
    ({"delete": searchable("a")}, "delete.textSearchConfigurations[0].metadataKey", "has no text search"),
    ({"delete": searchable("a", "a")}, "delete.textSearchConfigurations", "must not appear more than once"),
]


@pytest.mark.parametrize(("members", "path", "message"), UPDATES, ids=str)
def test_an_update_that_breaks_a_rule_is_refused(
    s3vectors: Any, films: Films, members: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(ClientError) as raised:
        s3vectors.update_metadata_configuration(**films, **members)
    assert_refused(raised.value, path, message)
    assert status(s3vectors, films) == [{"metadataKey": "plot", "language": "en", "status": "ACTIVE"}]


def test_a_key_that_is_searchable_already_is_a_conflict(s3vectors: Any, films: Films) -> None:
    with pytest.raises(s3vectors.exceptions.ConflictException):
        s3vectors.update_metadata_configuration(**films, add=searchable("plot"))


def test_an_update_without_keys_changes_nothing(s3vectors: Any, films: Films) -> None:
    s3vectors.update_metadata_configuration(**films, add={"textSearchConfigurations": []})
    assert len(status(s3vectors, films)) == 1
