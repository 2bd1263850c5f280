from base64 import b64encode
from collections.abc import Callable
from functools import partial
from os import urandom
from typing import Any

import pytest

from tests.conftest import open_directory
from tests.identities import Identities, allow, client, deny, policy
from tests.operations.conftest import CreateIndex
from tests.operations.vectors import keys, record, refusal
from tests.server_process import ServerProcess, running

Index = dict[str, str]
HOME = "000000000000"
ORIGIN = {"float32": [0.0, 0.0]}
EVEN = {"parity": "even"}
MOVIES = {"vectorBucketName": "media", "indexName": "movies"}
ROOT = {
    "ROOT_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "ROOT_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE",
    "LOG_LEVEL": "warning",
}


def name(i: int) -> str:
    return f"k{i:03}"


def vector(i: int, **metadata: Any) -> Any:
    """The i-th from the origin, at the distance i * i."""
    return record(name(i), [float(i), 0.0], i=i, parity="odd" if i % 2 else "even", **metadata)


@pytest.fixture
def line(s3vectors: Any, index: Index) -> Index:
    """An index of 350 vectors in a row."""
    s3vectors.put_vectors(**index, vectors=[vector(i) for i in range(350)])
    return index


def query(s3vectors: Any, index: Index, **members: Any) -> Any:
    return s3vectors.query_vectors(**{**index, "topK": 10_000, "queryVector": ORIGIN, **members})


def all_pages(s3vectors: Any, index: Index, **members: Any) -> list[Any]:
    paginator = s3vectors.get_paginator("query_vectors")
    return list(paginator.paginate(**{**index, "topK": 10_000, "queryVector": ORIGIN, **members}))


@pytest.mark.parametrize(
    ("top_k", "sizes"),
    [
        (1, [1]),
        (100, [100]),
        (101, [100, 1]),
        (199, [100, 99]),
        (200, [100, 100]),
        (300, [100, 100, 100]),
        (349, [100, 100, 100, 49]),
        (351, [100, 100, 100, 50]),
        (10_000, [100, 100, 100, 50]),
    ],
)
def test_pages_hold_a_hundred_vectors_and_together_the_nearest_of_all(
    s3vectors: Any, line: Index, top_k: int, sizes: list[int]
) -> None:
    pages = all_pages(s3vectors, line, topK=top_k)
    assert [len(page["vectors"]) for page in pages] == sizes
    assert [key for page in pages for key in keys(page)] == [name(i) for i in range(sum(sizes))]
    assert {page["distanceMetric"] for page in pages} == {"euclidean"}


@pytest.mark.parametrize("number", [0, 1, 99, 100])
def test_what_fits_into_a_page_has_no_token(s3vectors: Any, index: Index, number: int) -> None:
    if number:
        s3vectors.put_vectors(**index, vectors=[vector(i) for i in range(number)])
    page = query(s3vectors, index)
    assert (len(page["vectors"]), "nextToken" in page) == (number, False)


@pytest.mark.parametrize("document", [None, EVEN, {"i": {"$gte": 100}}], ids=["all", "equality", "range"])
@pytest.mark.parametrize("returned", [{}, {"returnDistance": True}, {"returnMetadata": True, "returnDistance": True}])
def test_every_page_has_what_was_asked_for_and_nothing_else(
    s3vectors: Any, line: Index, document: Any, returned: dict[str, bool]
) -> None:
    members = {} if document is None else {"filter": document}
    found = [v for page in all_pages(s3vectors, line, **members, **returned) for v in page["vectors"]]
    matching = [i for i in range(350) if document is None or (i % 2 == 0 if document is EVEN else i >= 100)]
    expected = []
    for i in matching:
        distance = {"distance": float(i * i)} if "returnDistance" in returned else {}
        metadata = {"metadata": vector(i)["metadata"]} if "returnMetadata" in returned else {}
        expected.append({"key": name(i), **distance, **metadata})
    assert found == expected


def put(i: int, embedding: list[float], **metadata: Any) -> Callable[[Any, Index], None]:
    def write(s3vectors: Any, index: Index) -> None:
        s3vectors.put_vectors(**index, vectors=[record(name(i), embedding, **metadata)])

    return write


def delete(*numbers: int) -> Callable[[Any, Index], None]:
    def write(s3vectors: Any, index: Index) -> None:
        s3vectors.delete_vectors(**index, keys=[name(i) for i in numbers])

    return write


def both(*writes: Callable[[Any, Index], None]) -> Callable[[Any, Index], None]:
    def write(s3vectors: Any, index: Index) -> None:
        for one in writes:
            one(s3vectors, index)

    return write


SECOND = [(i, float(i * i)) for i in range(200, 400, 2)]


@pytest.mark.parametrize(
    ("write", "gone", "added"),
    [
        pytest.param(put(999, [201.0, 0.0], parity="even"), [], {}, id="one more, where the page would be"),
        pytest.param(put(300, [300.0, 0.0], parity="even", n=1), [], {300: {"n": 1}}, id="the same embedding again"),
        pytest.param(put(300, [0.0, 0.0], parity="even"), [], {}, id="one moved to the front keeps its place"),
        pytest.param(put(0, [301.0, 0.0], parity="even"), [], {}, id="one moved from the page before comes no more"),
        pytest.param(put(300, [300.0, 0.0], parity="odd"), [300], {}, id="one that no longer matches"),
        pytest.param(put(301, [301.0, 0.0], parity="even"), [], {}, id="one that matches now"),
        pytest.param(delete(0, 2, 4), [], {}, id="some of the page before deleted"),
        pytest.param(delete(200, 300, 398), [200, 300, 398], {}, id="some of the page deleted"),
        pytest.param(
            both(delete(300), put(300, [9.0, 9.0], parity="even", n=2)), [], {300: {"n": 2}}, id="deleted, put again"
        ),
    ],
)
def test_a_page_is_of_the_ranking_whatever_is_written_before_it_is_read(
    s3vectors: Any,
    index: Index,
    write: Callable[[Any, Index], None],
    gone: list[int],
    added: dict[int, dict[str, Any]],
) -> None:
    s3vectors.put_vectors(**index, vectors=[vector(i) for i in range(400)])
    members = {"filter": EVEN, "returnMetadata": True, "returnDistance": True}
    first = query(s3vectors, index, **members)
    assert keys(first) == [name(i) for i in range(0, 200, 2)]
    write(s3vectors, index)
    second = query(s3vectors, index, **members, nextToken=first["nextToken"])
    assert [(v["key"], v["distance"]) for v in second["vectors"]] == [
        (name(i), distance) for i, distance in SECOND if i not in gone
    ]
    assert "nextToken" not in second
    metadata = {v["key"]: v["metadata"] for v in second["vectors"]}
    for i, more in added.items():
        assert metadata[name(i)] == {"parity": "even", **more}
    assert {document["parity"] for document in metadata.values()} == {"even"}


def test_a_page_of_which_nothing_is_left_is_empty_and_leads_on(s3vectors: Any, line: Index) -> None:
    first = query(s3vectors, line)
    delete(*range(100, 200))(s3vectors, line)
    second = query(s3vectors, line, nextToken=first["nextToken"])
    assert second["vectors"] == []
    third = query(s3vectors, line, nextToken=second["nextToken"])
    assert keys(third) == [name(i) for i in range(200, 300)]


def test_a_page_may_be_read_again(s3vectors: Any, line: Index) -> None:
    token = query(s3vectors, line)["nextToken"]
    assert len({tuple(keys(query(s3vectors, line, nextToken=token))) for _ in range(3)}) == 1


INVALID = (400, "ValidationException", "Invalid nextToken", [{"path": "nextToken", "message": "Invalid nextToken"}])
ASKED = {"filter": {"$and": [{"parity": "even"}, {"i": {"$gte": 0, "$lt": 1_000}}]}, "topK": 150}


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"queryVector": {"float32": [0.0, 1.0]}}, id="vector"),
        pytest.param({"filter": {"parity": "even"}}, id="filter"),
        pytest.param({"filter": None}, id="no filter"),
        pytest.param({"topK": 149}, id="topK"),
        pytest.param({"topK": 100}, id="topK of one page"),
        pytest.param({"returnMetadata": True}, id="returnMetadata"),
        pytest.param({"returnDistance": True}, id="returnDistance"),
    ],
)
def test_a_token_is_good_for_the_same_request_only(s3vectors: Any, line: Index, members: dict[str, Any]) -> None:
    token = query(s3vectors, line, **ASKED)["nextToken"]
    other = {**ASKED, **members, "nextToken": token}
    asked = {member: value for member, value in other.items() if value is not None}
    assert refusal(lambda: query(s3vectors, line, **asked)) == INVALID
    assert len(query(s3vectors, line, **ASKED, nextToken=token)["vectors"]) == 50


def test_a_filter_is_the_same_in_any_order_of_its_keys(s3vectors: Any, line: Index) -> None:
    token = query(s3vectors, line, **ASKED)["nextToken"]
    turned = {"$and": [{"parity": "even"}, {"i": {"$lt": 1_000, "$gte": 0}}]}
    assert len(query(s3vectors, line, **ASKED | {"filter": turned}, nextToken=token)["vectors"]) == 50


def test_a_token_of_another_index_or_operation_or_none_is_refused(
    s3vectors: Any, line: Index, create_index: CreateIndex
) -> None:
    other = create_index("other")
    s3vectors.put_vectors(**other, vectors=[vector(i) for i in range(350)])
    token = query(s3vectors, line)["nextToken"]
    listing = s3vectors.list_vectors(**line, maxResults=1)["nextToken"]
    changed = ("A" if token[20] != "A" else "B").join([token[:20], token[21:]])
    assert refusal(lambda: query(s3vectors, other, nextToken=token)) == INVALID
    for bad in (listing, changed, token[:-4], "x", "x" * 4096):
        assert refusal(partial(query, s3vectors, line, nextToken=bad)) == INVALID


@pytest.mark.parametrize("token", ["", "x" * 4097], ids=["empty", "too long"])
def test_a_token_has_a_length(s3vectors: Any, line: Index, token: str) -> None:
    _, code, text, _ = refusal(lambda: query(s3vectors, line, nextToken=token))
    assert code == "ValidationException"
    assert text.endswith(
        "at '/nextToken' failed to satisfy constraint: Member must have length between 1 and 4096, inclusive"
    )


def test_a_token_does_not_outlive_its_index(s3vectors: Any, line: Index, create_index: CreateIndex) -> None:
    token = query(s3vectors, line)["nextToken"]
    s3vectors.delete_index(**line)
    assert refusal(lambda: query(s3vectors, line, nextToken=token))[1] == "NotFoundException"
    create_index(line["indexName"])
    s3vectors.put_vectors(**line, vectors=[vector(i) for i in range(350)])
    assert refusal(lambda: query(s3vectors, line, nextToken=token)) == INVALID


def test_a_token_is_of_one_user_who_needs_his_permissions_for_each_page(
    endpoint: str, identities: Identities, s3vectors: Any, line: Index
) -> None:
    reads = allow(["s3vectors:QueryVectors", "s3vectors:GetVectors"], "*")
    account = identities.account()
    ana, bob = (client(endpoint, **identities.user(account, user, reads)) for user in ("ana", "bob"))
    everyone = {"AWS": f"arn:aws:iam::{account}:root"}
    here = line["vectorBucketName"]
    arn = f"arn:aws:s3vectors:us-east-1:{HOME}:bucket/{here}/index/{line['indexName']}"
    opened = policy(allow("s3vectors:*", f"arn:aws:s3vectors:us-east-1:{HOME}:bucket/{here}/*", Principal=everyone))
    s3vectors.put_vector_bucket_policy(vectorBucketName=here, policy=opened)
    asked = {"indexArn": arn, "topK": 300, "queryVector": ORIGIN, "returnMetadata": True}
    token = ana.query_vectors(**asked)["nextToken"]
    assert refusal(lambda: bob.query_vectors(**asked, nextToken=token)) == INVALID
    second = ana.query_vectors(**asked, nextToken=token)
    assert keys(second) == [name(i) for i in range(100, 200)]
    for action in ("QueryVectors", "GetVectors"):
        identities.put_policy(account, "ana", reads, deny(f"s3vectors:{action}", "*"))
        status, code, _, _ = refusal(lambda: ana.query_vectors(**asked, nextToken=second["nextToken"]))
        assert (status, code) == (403, "AccessDeniedException")
    identities.put_policy(account, "ana", reads)
    assert len(ana.query_vectors(**asked, nextToken=second["nextToken"])["vectors"]) == 100


def test_pages_come_from_any_worker_of_any_server_and_after_a_restart(own_database_url: str) -> None:
    with open_directory() as directory:
        settings = ROOT | {"DATABASE_URL": own_database_url, "KEY_ENCRYPTION_KEY": b64encode(urandom(32)).decode()}

        def server() -> Any:
            return running("--data-dir", str(directory), "--workers", "2", **settings)

        with server() as one, server() as other:
            pages = [ready(one), ready(other)]
            pages[0].create_vector_bucket(vectorBucketName="media")
            pages[0].create_index(**MOVIES, dataType="float32", dimension=2, distanceMetric="euclidean")
            for first in range(0, 1_000, 500):
                pages[0].put_vectors(**MOVIES, vectors=[vector(i) for i in range(first, first + 500)])
            found, token = [], None
            for asking in [pages[i % 2] for i in range(6)]:
                page = query(asking, MOVIES, **({"nextToken": token} if token else {}))
                found += keys(page)
                token = page["nextToken"]
        with server() as again:
            asking = ready(again)
            while token:
                page = query(asking, MOVIES, nextToken=token)
                found += keys(page)
                token = page.get("nextToken")
    assert found == [name(i) for i in range(1_000)]


def ready(server: ServerProcess) -> Any:
    """A client of the root user's; a new connection for each request finds any of the workers."""
    server.wait_until_ready()
    return client(
        server.endpoint,
        aws_access_key_id=ROOT["ROOT_ACCESS_KEY_ID"],
        aws_secret_access_key=ROOT["ROOT_SECRET_ACCESS_KEY"],
    )
