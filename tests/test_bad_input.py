"""The catalogue of bad input: each row gives its status and type, nothing leaks, and the next request works."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.limits import LARGE_BODY_BYTES
from app.settings import Settings
from tests.signed import Reply, SignedClient

INDEX = {"vectorBucketName": "bad-input", "indexName": "idx"}
SERIALIZATION = (400, "SerializationException")
VALIDATION = (400, "ValidationException")
UNKNOWN = (404, "UnknownOperationException")
MEDIA_TYPE = (415, "UnsupportedMediaTypeException")


@pytest.fixture(scope="module")
def client(endpoint: str, settings: Settings, s3vectors: Any) -> Iterator[SignedClient]:
    s3vectors.create_vector_bucket(vectorBucketName="bad-input")
    s3vectors.create_index(**INDEX, dataType="float32", dimension=2, distanceMetric="cosine")
    yield SignedClient(endpoint, settings)
    s3vectors.delete_index(**INDEX)
    s3vectors.delete_vector_bucket(vectorBucketName="bad-input")


def check(client: SignedClient, reply: Reply, expected: tuple[int, str]) -> None:
    assert (reply.status, reply.type) == expected, reply.body
    assert reply.headers["content-type"] == "application/json"
    assert len(reply.headers["x-amzn-requestid"]) == 36
    assert "date" in reply.headers
    assert set(reply.json) <= {"message", "fieldList"}
    for leak in (b"Traceback", b"SELECT", b"sqlalchemy", b"psycopg", b"status_code", b"detail"):
        assert leak not in reply.body
    after = client.post("/ListVectors", INDEX)
    assert (after.status, after.json) == (200, {"vectors": []})


def query(**members: Any) -> dict[str, Any]:
    return INDEX | {"topK": 1, "queryVector": {"float32": [1, 2]}} | members


def query_text(**members: str) -> str:
    """A query whose members are JSON text that no JSON writer would write."""
    texts = {"topK": "1", "queryVector": '{"float32":[1,2]}'} | members
    return json.dumps(INDEX)[:-1] + "," + ",".join(f'"{name}":{text}' for name, text in texts.items()) + "}"


def as_bytes(body: bytes | str | dict[str, Any]) -> bytes:
    text = json.dumps(body) if isinstance(body, dict) else body
    return text.encode() if isinstance(text, str) else text


def put(vector: str = "[1,2]", key: str = '"k"', metadata: str = "{}") -> str:
    record = f'{{"key":{key},"data":{{"float32":{vector}}},"metadata":{metadata}}}'
    return json.dumps(INDEX)[:-1] + f',"vectors":[{record}]}}'


NO_QUERIES = [
    pytest.param(b"no json", id="no JSON"),
    pytest.param(b"", id="empty"),
    pytest.param(b"null", id="null"),
    pytest.param(b"10", id="number"),
    pytest.param(b"[]", id="list"),
    pytest.param(json.dumps(query()) + " {}", id="trailing data"),
    pytest.param(b'{"a":1,}', id="trailing comma"),
    pytest.param(b"{/* */}", id="comment"),
    pytest.param(b"{'a':1}", id="single quotes"),
    pytest.param(b'{"a":' + b"[" * 1_025, id="depth 1,025"),
    pytest.param(b'{"filter":' + b"[" * 100_000, id="depth 100,000"),
    pytest.param(b'{"filter":' + b'{"$and":[' * 300_000, id="depth 300,000 of objects"),
    pytest.param(b'{"indexName":"\\ud800"}', id="lone surrogate"),
    pytest.param(b'{"indexName":"\xff"}', id="invalid UTF-8"),
    pytest.param(b'{"indexName":"\xc0\xaf"}', id="overlong UTF-8"),
    pytest.param('{"indexName":"a"}'.encode("utf-16"), id="UTF-16"),
    pytest.param(b'\xef\xbb\xbf{"indexName":"a"}', id="byte order mark"),
    pytest.param(query_text(topK='"10"'), id="topK text"),
    pytest.param(query_text(topK="true"), id="topK boolean"),
    pytest.param(query_text(topK="1.5"), id="topK fraction"),
    pytest.param(query_text(topK="1e3"), id="topK with exponent"),
    pytest.param(query_text(topK=str(2**31)), id="topK over 32 bits"),
    pytest.param(query_text(topK=str(2**63)), id="topK over 64 bits"),
    pytest.param(query_text(topK="9" * 5_000), id="topK of 5,000 digits"),
    pytest.param(query_text(queryVector="{}"), id="empty union"),
    pytest.param(query_text(queryVector='{"float32":null}'), id="union of null"),
    pytest.param(query_text(queryVector='{"float32":[1],"float64":[1]}'), id="union of two"),
    pytest.param(query_text(queryVector='{"float32":[1,null]}'), id="null in a vector"),
    pytest.param(query_text(queryVector='{"float32":[1,"2"]}'), id="text in a vector"),
    pytest.param(query_text(queryVector='{"float32":[1,true]}'), id="boolean in a vector"),
    pytest.param(query_text(queryVector='{"float32":[1,NaN]}'), id="literal NaN"),
    pytest.param(query_text(queryVector='{"float32":[1,Infinity]}'), id="literal Infinity"),
    pytest.param(query_text(queryVector='{"float32":[1,1e999]}'), id="1e999"),
    pytest.param(query_text(queryVector='{"float32":[1,0x10]}'), id="hexadecimal"),
    pytest.param(query_text(queryVector='{"float32":[1,01]}'), id="leading zero"),
    pytest.param(query_text(queryVector='{"float32":[1,+1]}'), id="plus sign"),
    pytest.param(query_text(queryVector='{"float32":[1,.5]}'), id="no leading digit"),
    pytest.param(query_text(returnDistance='"true"'), id="boolean as text"),
]


@pytest.mark.parametrize("body", NO_QUERIES)
def test_what_is_not_of_the_protocol(client: SignedClient, body: bytes | str) -> None:
    check(client, client.post("/QueryVectors", body), SERIALIZATION)


BAD_QUERIES = [
    pytest.param(query_text(topK="null"), id="topK null"),
    pytest.param(query_text(topK="0"), id="topK 0"),
    pytest.param(query_text(topK="-1"), id="topK -1"),
    pytest.param(query_text(queryVector="null"), id="no vector"),
    pytest.param(query_text(queryVector='{"float32":["NaN",1]}'), id="NaN"),
    pytest.param(query_text(queryVector='{"float32":["-Infinity",1]}'), id="Infinity"),
    pytest.param(query_text(queryVector='{"float32":[1e39,1]}'), id="1e39"),
    pytest.param(query_text(queryVector='{"float32":[0,-0.0]}'), id="zero norm"),
    pytest.param(query_text(queryVector='{"float32":[]}'), id="no numbers"),
    pytest.param(query(filter={}), id="empty filter"),
    pytest.param(query(filter={"a": 1, "b": 2}), id="two keys"),
    pytest.param(query(filter={"a": {"$gt": "x"}}), id="range of text"),
    pytest.param(query(filter={"a": {"$in": list(range(100_000))}}), id="$in of 100,000"),
    pytest.param(query(filter={"$or": [{"a": i} for i in range(10_000)]}), id="10,000 nodes"),
    pytest.param(query_text(filter='{"$and":[' * 400 + '{"a":1}' + "]}" * 400), id="depth 400"),
    pytest.param(query_text(filter='{"a":"\\u0000"}'), id="null character in a filter value"),
    pytest.param(query_text(filter='{"\\u0000":1}'), id="null character in a filter key"),
    pytest.param(query_text(filter='"x"'), id="filter of text"),
    pytest.param(query(indexName="'; drop table x; --"), id="SQL in a name"),
    pytest.param({"topK": 1, "queryVector": {"float32": [1, 2]}}, id="no index"),
    pytest.param(query(indexArn="arn:aws:s3vectors:us-east-1:000000000000:bucket/b-1/index/i-1"), id="name and ARN"),
]


@pytest.mark.parametrize("body", BAD_QUERIES)
def test_queries_that_break_a_rule(client: SignedClient, body: str | dict[str, Any]) -> None:
    check(client, client.post("/QueryVectors", body), VALIDATION)


BAD_PUTS = [
    pytest.param(put(key='""'), id="empty key"),
    pytest.param(put(key='"a\\u0000"'), id="null character in a key"),
    pytest.param(put(key=json.dumps("x" * 1025)), id="long key"),
    pytest.param(put(key="null"), id="null key"),
    pytest.param(put(metadata='"x"'), id="metadata of text"),
    pytest.param(put(metadata="[]"), id="metadata of a list"),
    pytest.param(put(metadata='{"a":{"b":1}}'), id="nested"),
    pytest.param(put(metadata='{"a\\u0000":1}'), id="null character in metadata"),
    pytest.param(put(metadata='{"a":' + "[" * 200 + "]" * 200 + "}"), id="deep metadata"),
    pytest.param(put("[1]"), id="dimension"),
    pytest.param(INDEX | {"vectors": []}, id="no vectors"),
]


@pytest.mark.parametrize("body", BAD_PUTS)
def test_puts_that_break_a_rule(client: SignedClient, body: str | dict[str, Any]) -> None:
    check(client, client.post("/PutVectors", body), VALIDATION)


NO_PUTS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"[]", id="list"),
    pytest.param(put() + "{}", id="trailing data"),
    pytest.param(put()[:-1], id="no end"),
    pytest.param(INDEX | {"vectors": {}}, id="vectors of an object"),
    pytest.param(INDEX | {"vectors": [None]}, id="null for a vector"),
    pytest.param(INDEX | {"vectors": [{"key": "k", "data": [1, 2]}]}, id="data of a list"),
    pytest.param(INDEX | {"vectors": [{"key": "k", "data": {}}]}, id="empty union"),
    pytest.param(INDEX | {"vectors": [{"key": "k", "data": {"float32": [1, 2], "x": 1}}]}, id="union of two"),
    pytest.param(put(key="1"), id="key of a number"),
    pytest.param(put(key='"\\ud800"'), id="lone surrogate"),
    pytest.param(put("null"), id="null for numbers"),
    pytest.param(put('"1,2"'), id="text for numbers"),
    pytest.param(put("1"), id="a number for numbers"),
    pytest.param(put("{}"), id="an object for numbers"),
    pytest.param(put('[1,"2"]'), id="text in a vector"),
    pytest.param(put("[1,null]"), id="null in a vector"),
    pytest.param(put("[1,true]"), id="boolean in a vector"),
    pytest.param(put("[[1,2]]"), id="list in a vector"),
    pytest.param(put('[1,"nan"]'), id="another spelling of NaN"),
    pytest.param(put("[1,NaN]"), id="literal NaN"),
    pytest.param(put("[1,1e999]"), id="1e999"),
    pytest.param(put("[1,1" + "0" * 400 + "]"), id="an integer of 401 digits"),
    pytest.param(put(metadata='{"a":1e999}'), id="1e999 in metadata"),
    pytest.param(put(metadata='{"a":"\\ud800"}'), id="lone surrogate in metadata"),
    pytest.param(put(metadata='{"a":' + "[" * 1_025 + "]" * 1_025 + "}"), id="metadata of depth 1,025"),
    pytest.param(put('[1,"2"]', key='""'), id="an empty key and text in a vector"),
    pytest.param(put('[1,"2"]', metadata='{"a":{}}'), id="bad metadata and text in a vector"),
    pytest.param(put('[1,"2"]').replace("bad-input", "absent"), id="no such bucket and text in a vector"),
]


@pytest.mark.parametrize("body", NO_PUTS)
def test_puts_that_are_not_of_the_protocol(client: SignedClient, body: bytes | str | dict[str, Any]) -> None:
    check(client, client.post("/PutVectors", body), SERIALIZATION)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(path, *row.values, id=f"{path[1:]}-{row.id}")
        for path, rows in {"/QueryVectors": NO_QUERIES + BAD_QUERIES, "/PutVectors": NO_PUTS + BAD_PUTS}.items()
        for row in rows
    ],
)
def test_large_bodies_are_answered_as_small_ones(
    client: SignedClient, path: str, body: bytes | str | dict[str, Any]
) -> None:
    """They are decoded elsewhere; blanks in front make the same JSON large."""
    small, large = client.post(path, body), client.post(path, b" " * LARGE_BODY_BYTES + as_bytes(body))
    assert (large.status, large.type, large.body) == (small.status, small.type, small.body)
    check(client, large, (400, small.type))


def test_of_a_member_that_comes_twice_the_last_counts(client: SignedClient) -> None:
    body = query_text().replace('"topK":1', '"topK":0,"topK":1')
    assert client.post("/QueryVectors", body).status == 200


@pytest.mark.parametrize("body", [b"[],", b'"' + b"x" * 20], ids=["tiny lists", "one text"])
def test_a_body_of_twenty_megabytes_is_read_and_refused(client: SignedClient, body: bytes) -> None:
    size = 20 * 1024 * 1024
    whole = (b'{"x":[' + body * size)[:size]
    check(client, client.post("/QueryVectors", whole), SERIALIZATION)


def test_one_byte_more_is_refused_unread(client: SignedClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(20 * 1024 * 1024 + 1)}
    reply = client.send("POST", "/QueryVectors", b"", headers)
    check(client, reply, VALIDATION)
    assert reply.json["message"] == "Request body exceeds max allowed size"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"Content_Type": "text/plain"}, MEDIA_TYPE, id="plain text"),
        pytest.param({"Content_Type": "application/xml"}, MEDIA_TYPE, id="XML"),
        pytest.param({"Content_Type": "application/json; charset=utf-16"}, MEDIA_TYPE, id="UTF-16"),
        pytest.param({"Content_Type": ""}, MEDIA_TYPE, id="none"),
        pytest.param({"Content_Encoding": "gzip"}, MEDIA_TYPE, id="gzip"),
        pytest.param({"Content_Type": "application/json; charset=UTF-8"}, (200, ""), id="UTF-8"),
        pytest.param({"Accept": "text/html"}, (200, ""), id="Accept is ignored"),
        pytest.param({"X_Forwarded_For": "10.0.0.1", "X_Amzn_RequestId": "mine"}, (200, ""), id="forwarded"),
        pytest.param({"User_Agent": "%s" * 900}, (200, ""), id="long user agent"),
    ],
)
def test_media_types_and_headers(client: SignedClient, headers: dict[str, str], expected: tuple[int, str]) -> None:
    reply = client.post("/ListVectors", INDEX, **headers)
    assert (reply.status, reply.type) == expected, reply.body
    assert reply.headers["x-amzn-requestid"] != "mine"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        pytest.param("POST", "/Nothing", UNKNOWN, id="unknown"),
        pytest.param("POST", "/listvectorbuckets", UNKNOWN, id="case"),
        pytest.param("POST", "/ListVectorBuckets/", UNKNOWN, id="trailing slash"),
        pytest.param("POST", "/%4CistVectorBuckets", UNKNOWN, id="escaped"),
        pytest.param("POST", "//ListVectorBuckets", UNKNOWN, id="doubled slash"),
        pytest.param("POST", "/./ListVectorBuckets", UNKNOWN, id="dot"),
        pytest.param("POST", "/a/../ListVectorBuckets", UNKNOWN, id="dots"),
        pytest.param("POST", "/TagResource", UNKNOWN, id="tags by operation name"),
        pytest.param("POST", "/tags", UNKNOWN, id="tags without a resource"),
        pytest.param("POST", "/ForgetVectors", UNKNOWN, id="no such operation"),
        pytest.param("GET", "/ListVectorBuckets", UNKNOWN, id="GET"),
        pytest.param("DELETE", "/ListVectorBuckets", UNKNOWN, id="DELETE"),
        pytest.param("OPTIONS", "/ListVectorBuckets", UNKNOWN, id="OPTIONS"),
        pytest.param("GET", "/tags/%ff", VALIDATION, id="tags of no UTF-8"),
        pytest.param("GET", "/tags/arn%253Aaws%253As3vectors", VALIDATION, id="tags escaped twice"),
        pytest.param("GET", "/tags/%00", VALIDATION, id="tags of a null character"),
        pytest.param(
            "DELETE",
            "/tags/arn%3Aaws%3As3vectors%3Aus-east-1%3A000000000000%3Abucket%2Fbad-input",
            VALIDATION,
            id="untag without keys",
        ),
    ],
)
def test_routes_are_compared_byte_for_byte(
    client: SignedClient, method: str, path: str, expected: tuple[int, str]
) -> None:
    body, headers = (b"{}", {"Content-Type": "application/json"}) if method == "POST" else (b"", {})
    check(client, client.send(method, path, body, headers), expected)


@pytest.mark.parametrize("path", ["/ListVectorBuckets", "/Nothing", "/tags/x", "/UpdateMetadataConfiguration"])
def test_without_a_signature_everything_is_403(client: SignedClient, path: str) -> None:
    reply = client.unsigned("POST", path, b"{}", {"Content-Type": "application/json"})
    check(client, reply, (403, "MissingAuthenticationTokenException"))


def test_a_session_token_beside_the_root_key_is_refused(client: SignedClient) -> None:
    reply = client.post("/ListVectors", INDEX, X_Amz_Security_Token="made-up")
    check(client, reply, (403, "UnrecognizedClientException"))


def test_an_unknown_key_is_refused(client: SignedClient, endpoint: str) -> None:
    stranger = Settings(root_access_key_id="AKIDUNKNOWN", root_secret_access_key="x" * 40)
    check(client, SignedClient(endpoint, stranger).post("/ListVectors", INDEX), (403, "UnrecognizedClientException"))


def test_too_many_headers_are_refused(client: SignedClient) -> None:
    many = {f"X-{i}": "1" for i in range(70)}
    check(client, client.unsigned("POST", "/ListVectors", b"{}", many), VALIDATION)
    check(client, client.unsigned("POST", "/ListVectors", b"{}", {"X-Long": "x" * 17_000}), VALIDATION)
