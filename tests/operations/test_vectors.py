import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest

from app.limits import LARGE_BODY_BYTES, MAX_BUSY_BYTES
from app.settings import Settings
from tests.identities import Identities
from tests.operations.conftest import CreateIndex
from tests.operations.vectors import keys, record, refusal
from tests.signed import Reply, SignedClient


def test_what_is_put_is_read_back(s3vectors: Any, index: dict[str, str]) -> None:
    metadata = {
        "s": 'é\n"',
        "n": 1,
        "f": -0.5,
        "b": True,
        "l": ["x", "x"],
        "m": [1, 2.5],
        "": "empty key",
        "a.b": "dot",
    }
    s3vectors.put_vectors(**index, vectors=[record("k", [1.5, -2.0], **metadata)])
    read = s3vectors.get_vectors(**index, keys=["k"], returnData=True, returnMetadata=True)
    assert read["vectors"] == [{"key": "k", "data": {"float32": [1.5, -2.0]}, "metadata": metadata}]


def test_without_flags_only_keys_come_back(s3vectors: Any, index: dict[str, str]) -> None:
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 2], a=1)])
    assert s3vectors.get_vectors(**index, keys=["k"])["vectors"] == [{"key": "k"}]
    assert s3vectors.list_vectors(**index)["vectors"] == [{"key": "k"}]
    assert s3vectors.query_vectors(**index, topK=1, queryVector={"float32": [1, 2]})["vectors"] == [{"key": "k"}]


def test_no_metadata_reads_as_an_empty_object(s3vectors: Any, index: dict[str, str]) -> None:
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 2])])
    assert s3vectors.get_vectors(**index, keys=["k"], returnMetadata=True)["vectors"][0]["metadata"] == {}


def test_a_put_replaces_the_whole_record(s3vectors: Any, index: dict[str, str]) -> None:
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 2], a=1, b=2)])
    s3vectors.put_vectors(**index, vectors=[record("k", [3, 4], c=3)])
    read = s3vectors.get_vectors(**index, keys=["k"], returnData=True, returnMetadata=True)["vectors"][0]
    assert read == {"key": "k", "data": {"float32": [3.0, 4.0]}, "metadata": {"c": 3}}


def test_of_a_key_that_comes_twice_the_last_record_stays(s3vectors: Any, index: dict[str, str]) -> None:
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 1]), record("j", [0, 1]), record("k", [2, 2])])
    read = s3vectors.get_vectors(**index, keys=["k", "k"], returnData=True)["vectors"]
    assert read == [{"key": "k", "data": {"float32": [2.0, 2.0]}}]


def test_vectors_are_float32_bit_for_bit(s3vectors: Any, create_index: CreateIndex) -> None:
    values = [0.4, 1e-07, 3.4028234663852886e38, -1e-45, 1 / 3, 16777217.0, -0.0]
    index = create_index("bits", len(values))
    s3vectors.put_vectors(**index, vectors=[record("k", values)])
    read = s3vectors.get_vectors(**index, keys=["k"], returnData=True)["vectors"][0]["data"]["float32"]
    assert np.array(read, np.float32).tobytes() == np.array(values, np.float32).tobytes()


def test_absent_keys_are_left_out(s3vectors: Any, index: dict[str, str]) -> None:
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 2])])
    assert keys(s3vectors.get_vectors(**index, keys=["absent", "k"])) == ["k"]
    assert s3vectors.get_vectors(**index, keys=["absent"])["vectors"] == []


def test_deleted_vectors_are_gone_and_absent_ones_are_no_error(s3vectors: Any, index: dict[str, str]) -> None:
    s3vectors.put_vectors(**index, vectors=[record(k, [1, 2]) for k in "abc"])
    s3vectors.delete_vectors(**index, keys=["a", "absent", "b"])
    assert keys(s3vectors.list_vectors(**index)) == ["c"]
    assert keys(s3vectors.query_vectors(**index, topK=5, queryVector={"float32": [1, 2]})) == ["c"]


def test_keys_are_compared_byte_for_byte(s3vectors: Any, index: dict[str, str]) -> None:
    names = ["e\u0301", "\u00e9", "key", "key ", "Key", "中" * 341, "%", "'; drop table x; --"]
    s3vectors.put_vectors(**index, vectors=[record(name, [1, 2]) for name in names])
    assert sorted(keys(s3vectors.list_vectors(**index))) == sorted(names)
    for name in names:
        assert keys(s3vectors.get_vectors(**index, keys=[name])) == [name]


RECORD = "Invalid record for key 'bad': "


@pytest.mark.parametrize(
    ("metric", "bad", "message", "path"),
    [
        pytest.param(
            "cosine",
            record("bad", [1]),
            RECORD + "vector must have length 2, but has length 1",
            "vectors[1]",
            id="dimension",
        ),
        pytest.param(
            "cosine",
            record("bad", [0, 0]),
            RECORD + "cosine distance does not support vectors with zero norm",
            "vectors[1]",
            id="zero vector",
        ),
        pytest.param(
            "cosine",
            record("bad", [1e-46, 1e-46]),
            RECORD + "cosine distance does not support vectors with zero norm",
            "vectors[1]",
            id="zero as float32",
        ),
        pytest.param(
            "euclidean", record("bad", [math.nan, 1]), RECORD + "vector contains NaNs or Infs", "vectors[1]", id="NaN"
        ),
        pytest.param(
            "euclidean", record("bad", [-math.inf, 1]), RECORD + "vector contains NaNs or Infs", "vectors[1]", id="Inf"
        ),
        pytest.param(
            "euclidean",
            record("bad", [1e39, 1]),
            RECORD + "vector contains NaNs or Infs",
            "vectors[1]",
            id="infinite as float32",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], nested={"a": 1}),
            RECORD + "Metadata values must be strings, numbers, booleans, or arrays",
            "vectors[1].metadata",
            id="nested metadata",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], null=None),
            RECORD + "Metadata values must be strings, numbers, booleans, or arrays",
            "vectors[1].metadata",
            id="null metadata",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], l=["a", 1]),
            RECORD + "Metadata array values must be strings or numbers",
            "vectors[1].metadata",
            id="mixed list",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], l=[]),
            RECORD + "Empty arrays are not allowed in metadata",
            "vectors[1].metadata",
            id="empty list",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], a="x" * 2036),
            RECORD + "Filterable metadata must have at most 2048 bytes",
            "vectors[1].metadata",
            id="filterable bytes",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], text="x" * 40_945),
            RECORD + "Metadata object must have at most 40960 bytes",
            "vectors[1].metadata",
            id="bytes",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], **{f"k{i}": True for i in range(51)}),
            RECORD + "Metadata object must have at most 50 keys",
            "vectors[1].metadata",
            id="51 keys",
        ),
        pytest.param(
            "euclidean",
            record("bad", [1, 1], a="\0"),
            RECORD + "Metadata must not contain the null character",
            "vectors[1].metadata",
            id="null character in metadata",
        ),
        pytest.param(
            "euclidean",
            record("中" * 342, [1, 1]),
            "Record key length exceeds the maximum allowed",
            "vectors[1]",
            id="key bytes",
        ),
        pytest.param(
            "euclidean",
            record("a\0b", [1, 1]),
            "Record key must not contain the null character",
            "vectors[1]",
            id="null character in key",
        ),
    ],
)
def test_one_bad_vector_refuses_the_whole_batch(
    s3vectors: Any, create_index: CreateIndex, metric: str, bad: dict[str, Any], message: str, path: str
) -> None:
    index = create_index("strict", 2, metric, metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
    status, code, text, fields = refusal(lambda: s3vectors.put_vectors(**index, vectors=[record("good", [1, 1]), bad]))
    assert (status, code, text) == (400, "ValidationException", message)
    assert [field["path"] for field in fields] == [path]
    assert s3vectors.list_vectors(**index)["vectors"] == []


def test_large_writes_that_wait_for_each_other_are_all_answered(
    s3vectors: Any, index: dict[str, str], endpoint: str, settings: Settings
) -> None:
    """More of them than a worker is busy with at once; every third fails, in three ways."""
    client = SignedClient(endpoint, settings)
    faults = {1: (index, '"x"'), 4: (index | {"indexName": "absent"}, "1"), 7: (index, "1,1")}

    def put(number: int) -> Reply:
        named, numbers = faults.get(number, (index, str(number)))
        vector = f'{{"key":"k{number}","data":{{"float32":[{numbers},0]}}}}'
        body = json.dumps(named)[:-1] + " " * (MAX_BUSY_BYTES // 5) + f',"vectors":[{vector}]}}'
        return client.post("/PutVectors", body)

    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(put, range(12)))
    failed = {i: reply.type for i, reply in enumerate(replies) if reply.status != 200}
    assert failed == {1: "SerializationException", 4: "NotFoundException", 7: "ValidationException"}
    written = s3vectors.list_vectors(**index, returnData=True)["vectors"]
    assert {vector["key"]: vector["data"]["float32"] for vector in written} == {
        f"k{i}": [float(i), 0.0] for i in range(12) if i not in failed
    }


@pytest.mark.parametrize("blanks", [0, LARGE_BODY_BYTES], ids=["small", "large"])
def test_whether_a_body_can_be_read_is_told_to_everybody(
    index: dict[str, str], endpoint: str, identities: Identities, blanks: int
) -> None:
    user = identities.user(identities.account(), "nobody")
    mine = Settings(root_access_key_id=user["aws_access_key_id"], root_secret_access_key=user["aws_secret_access_key"])
    for numbers, answer in {'1, "2"': "SerializationException", "1, 2": "AccessDeniedException"}.items():
        body = json.dumps(index)[:-1] + f', "vectors": [{{"key": "k", "data": {{"float32": [{numbers}]}}}}]}}'
        assert SignedClient(endpoint, mine).post("/PutVectors", " " * blanks + body).type == answer


def test_metadata_at_its_limits_is_kept(s3vectors: Any, create_index: CreateIndex) -> None:
    index = create_index("full", 2, metadataConfiguration={"nonFilterableMetadataKeys": ["text"]})
    filterable = {"a": "x" * 2035}  # 4 + 8 + 1 + 2035 = 2048
    metadata = filterable | {"text": "y" * (40_960 - 2_048 - 8 - 4)}
    s3vectors.put_vectors(**index, vectors=[record("k", [1, 1], **metadata)])
    assert s3vectors.get_vectors(**index, keys=["k"], returnMetadata=True)["vectors"][0]["metadata"] == metadata


@pytest.mark.parametrize("number", [501, 0])
def test_the_number_of_vectors_is_bounded(s3vectors: Any, index: dict[str, str], number: int) -> None:
    vectors = [record(f"k{i}", [1, 1]) for i in range(number)]
    _, code, text, _ = refusal(lambda: s3vectors.put_vectors(**index, vectors=vectors))
    assert code == "ValidationException"
    assert text.endswith(
        f"Value with length {number} at '/vectors' failed to satisfy constraint: "
        "Member must have length between 1 and 500, inclusive"
    )


def put_many(s3vectors: Any, index: dict[str, str], number: int) -> list[str]:
    names = [f"k{i:04}" for i in range(number)]
    for start in range(0, number, 500):
        batch = [record(name, [float(i), 1.0], n=i) for i, name in enumerate(names[start : start + 500], start)]
        s3vectors.put_vectors(**index, vectors=batch)
    return names


def test_a_listing_holds_every_vector_once(s3vectors: Any, index: dict[str, str]) -> None:
    names = put_many(s3vectors, index, 1200)
    pages = s3vectors.get_paginator("list_vectors").paginate(**index, PaginationConfig={"PageSize": 100})
    listed = [key for page in pages for key in keys(page)]
    assert sorted(listed) == names


@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_segments_together_hold_every_vector_once(s3vectors: Any, index: dict[str, str], count: int) -> None:
    names = put_many(s3vectors, index, 300)
    listed: list[str] = []
    paginate = s3vectors.get_paginator("list_vectors").paginate
    for segment in range(count):
        pages = paginate(**index, segmentCount=count, segmentIndex=segment, PaginationConfig={"PageSize": 7})
        listed += [key for page in pages for key in keys(page)]
    assert sorted(listed) == names


def test_an_exactly_full_last_page_has_no_token(s3vectors: Any, index: dict[str, str]) -> None:
    put_many(s3vectors, index, 10)
    assert "nextToken" not in s3vectors.list_vectors(**index, maxResults=10)


def test_a_page_ends_at_one_megabyte(s3vectors: Any, create_index: CreateIndex) -> None:
    index = create_index("wide", 4096)
    for start in range(0, 200, 50):
        s3vectors.put_vectors(**index, vectors=[record(f"k{start + i}", [0.5] * 4096) for i in range(50)])
    page = s3vectors.list_vectors(**index, returnData=True, maxResults=1000)
    assert 1024 * 1024 / (4 * 4096) <= len(page["vectors"]) <= 1 + 1024 * 1024 / (4 * 4096)
    pages = s3vectors.get_paginator("list_vectors").paginate(**index, returnData=True)
    assert sum(len(page["vectors"]) for page in pages) == 200
    assert len(s3vectors.list_vectors(**index)["vectors"]) == 200


def test_a_cursor_survives_writes_and_deletes_around_it(s3vectors: Any, index: dict[str, str]) -> None:
    names = put_many(s3vectors, index, 60)
    first = s3vectors.list_vectors(**index, maxResults=20)
    seen = keys(first)
    s3vectors.delete_vectors(**index, keys=seen)
    s3vectors.put_vectors(**index, vectors=[record(f"new{i}", [0, 0]) for i in range(50)])
    rest = s3vectors.list_vectors(**index, nextToken=first["nextToken"], maxResults=1000)
    assert sorted(seen + [key for key in keys(rest) if key.startswith("k")]) == names


def test_a_token_of_another_request_is_refused(s3vectors: Any, create_index: CreateIndex) -> None:
    one, other = create_index("one"), create_index("other")
    put_many(s3vectors, one, 20)
    token = s3vectors.list_vectors(**one, maxResults=5)["nextToken"]
    for call in (other, one | {"segmentCount": 2, "segmentIndex": 0}, one | {"returnData": True}):
        assert refusal(partial(s3vectors.list_vectors, **call, nextToken=token))[:3] == (
            400,
            "ValidationException",
            "Invalid nextToken",
        )


@pytest.mark.parametrize(
    "segments", [{"segmentCount": 2}, {"segmentIndex": 0}, {"segmentCount": 2, "segmentIndex": 2}], ids=str
)
def test_segments_must_fit_together(s3vectors: Any, index: dict[str, str], segments: dict[str, int]) -> None:
    assert refusal(lambda: s3vectors.list_vectors(**index, **segments))[:2] == (400, "ValidationException")
