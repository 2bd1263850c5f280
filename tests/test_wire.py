"""What arrives below HTTP clients: bytes on a socket."""

import hashlib
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app import wire
from app.asgi import Message, Receive
from app.errors import ServiceUnavailableException, ValidationException
from app.limits import LARGE_BODY_BYTES, MAX_REQUEST_BODY_BYTES
from app.settings import Settings
from app.sigv4 import SignedRequest

MEGABYTE = b"x" * 1024 * 1024


def signed_headers(endpoint: str, settings: Settings, body: bytes) -> list[str]:
    request = AWSRequest("POST", f"{endpoint}/ListVectorBuckets", {"Content-Type": "application/json"}, data=body)
    credentials = Credentials(settings.root_access_key_id, settings.root_secret_access_key)
    SigV4Auth(credentials, "s3vectors", settings.region).add_auth(request)
    host = urlsplit(endpoint).netloc
    return [f"Host: {host}", *(f"{name}: {value}" for name, value in request.headers.items())]


def exchange(endpoint: str, headers: Iterable[str], chunks: Iterable[bytes], version: str = "1.1") -> tuple[int, str]:
    """Status and error type; a server that closes while we still send has answered before."""
    address = urlsplit(endpoint)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=30) as connection:
        head = "\r\n".join([f"POST /ListVectorBuckets HTTP/{version}", *headers, "Connection: close", "", ""])
        answer = b""
        try:
            connection.sendall(head.encode())
            for chunk in chunks:
                connection.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            while received := connection.recv(65_536):
                answer += received
        except ConnectionResetError:
            pass
    status_line, _, rest = answer.decode("latin-1").partition("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in rest.partition("\r\n\r\n")[0].split("\r\n") if ": " in line)
    error_types = {"": ""} | {name.lower(): name for name in (VALIDATION, SERIALIZATION, SIGNATURE, MISSING)}
    return int(status_line.split()[1]), error_types[fields.get("x-amzn-errortype", "")]


VALIDATION = "ValidationException"
SERIALIZATION = "SerializationException"
SIGNATURE = "InvalidSignatureException"
MISSING = "MissingAuthenticationTokenException"
CHUNKED = "Transfer-Encoding: chunked"


def chunked(*parts: bytes) -> list[bytes]:
    return [*(b"%x\r\n%b\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def test_a_chunked_body_is_verified_like_any_other(endpoint: str, settings: Settings) -> None:
    headers = signed_headers(endpoint, settings, b'{"maxResults":1}')
    assert exchange(endpoint, [*headers, CHUNKED], chunked(b'{"maxRes', b'ults":1}')) == (200, "")
    assert exchange(endpoint, [*headers, CHUNKED], chunked(b'{"maxRes', b'ults":2}')) == (403, SIGNATURE)


@pytest.mark.parametrize("sent", ["with its length", "chunked"])
def test_a_large_body_is_verified_like_any_other(endpoint: str, settings: Settings, sent: str) -> None:
    body = b'{"maxResults":1,"unknown":"%b"}' % (b"x" * (2 * LARGE_BODY_BYTES))
    other = body.replace(b'x"', b'y"')
    headers = signed_headers(endpoint, settings, body)
    if sent == "chunked":
        assert exchange(endpoint, [*headers, CHUNKED], chunked(body[:100_000], body[100_000:])) == (200, "")
        assert exchange(endpoint, [*headers, CHUNKED], chunked(other)) == (403, SIGNATURE)
    else:
        headers.append(f"Content-Length: {len(body)}")
        assert exchange(endpoint, headers, [body]) == (200, "")
        assert exchange(endpoint, headers, [other]) == (403, SIGNATURE)


def test_a_chunked_body_that_grows_past_twenty_megabytes_is_cut(endpoint: str, settings: Settings) -> None:
    headers = signed_headers(endpoint, settings, b"{}")
    assert exchange(endpoint, [*headers, CHUNKED], chunked(*[MEGABYTE] * 21)) == (400, VALIDATION)


def test_expect_continue_works(endpoint: str, settings: Settings) -> None:
    headers = signed_headers(endpoint, settings, b"{}")
    status, _ = exchange(endpoint, [*headers, "Content-Length: 2", "Expect: 100-continue"], [b"{}"])
    assert status in (100, 200)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        pytest.param(["Host: other"], (403, SIGNATURE), id="two Hosts"),
        pytest.param(["X-Amz-Date: 20260101T000000Z"], (403, SIGNATURE), id="two dates"),
        pytest.param(["Authorization: AWS4-HMAC-SHA256 Credential=x"], (403, SIGNATURE), id="two Authorizations"),
        pytest.param(["X-Amz-Meta: 1"], (403, SIGNATURE), id="an unsigned x-amz header"),
        pytest.param([CHUNKED], (400, SERIALIZATION), id="length and broken chunks"),
    ],
)
def test_ambiguous_requests_are_refused(
    endpoint: str, settings: Settings, extra: list[str], expected: tuple[int, str]
) -> None:
    headers = signed_headers(endpoint, settings, b"{}")
    assert exchange(endpoint, [*headers, "Content-Length: 2"], [b"{}"]) == (200, "")
    assert exchange(endpoint, [*headers, "Content-Length: 2", *extra], [b"{}"]) == expected


@pytest.mark.parametrize(
    "lengths", [["Content-Length: 2", "Content-Length: 3"], ["Content-Length: -5"], ["Content-Length: +2"]], ids=str
)
def test_lengths_that_lie_close_the_connection(endpoint: str, settings: Settings, lengths: list[str]) -> None:
    headers = signed_headers(endpoint, settings, b"{}")
    assert exchange(endpoint, [*headers, *lengths], [b"{}"])[0] == 400


def test_a_stranger_with_a_large_body_is_answered_before_it_is_read(endpoint: str) -> None:
    headers = ["Host: x", "Content-Type: application/json", f"Content-Length: {20 * 1024 * 1024}"]
    assert exchange(endpoint, headers, [json.dumps({}).encode()]) == (403, MISSING)


def arriving(*pieces: bytes) -> Receive:
    messages: list[Message] = [
        *({"type": "http.request", "body": piece, "more_body": True} for piece in pieces),
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    return receive


async def room_for_all(_: int) -> None: ...


def with_lengths(*lengths: int) -> SignedRequest:
    headers = [(b"content-length", str(length).encode()) for length in lengths]
    return SignedRequest(method="POST", raw_path=b"/", query=b"", headers=headers)


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([], id="none"),
        pytest.param([b"a"], id="small"),
        pytest.param([b"a" * (LARGE_BODY_BYTES - 1)], id="not yet large"),
        pytest.param([b"a" * LARGE_BODY_BYTES], id="large at once"),
        pytest.param([b"a" * (LARGE_BODY_BYTES - 1), b"b", b"c"], id="large by a byte"),
        pytest.param([b"a" * 200_000, b"b" * 200_000, b"c" * 200_000, b"d"], id="large in pieces"),
    ],
)
@pytest.mark.parametrize("declared", [[], [0], [1], [MAX_REQUEST_BODY_BYTES]])
async def test_a_body_is_what_came_whatever_was_declared(pieces: list[bytes], declared: list[int]) -> None:
    body = await wire.read_body(with_lengths(*declared), arriving(*pieces), room_for_all)
    assert body.content == b"".join(pieces)
    assert body.sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.parametrize("sent", [b"", b"{}", b"a" * LARGE_BODY_BYTES], ids=["empty", "small", "large"])
async def test_a_body_in_one_piece_is_what_came(sent: bytes) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": sent, "more_body": False}

    body = await wire.read_body(with_lengths(len(sent)), receive, room_for_all)
    assert body.content == sent
    assert body.sha256 == hashlib.sha256(sent).hexdigest()


@pytest.mark.parametrize("declared", [[], [LARGE_BODY_BYTES]])
async def test_no_body_grows_past_its_limit(declared: list[int]) -> None:
    half = bytes(MAX_REQUEST_BODY_BYTES // 2)
    assert (
        len((await wire.read_body(with_lengths(*declared), arriving(half, half), room_for_all)).content)
        == MAX_REQUEST_BODY_BYTES
    )
    with pytest.raises(ValidationException):
        await wire.read_body(with_lengths(*declared), arriving(half, half, b"x"), room_for_all)


async def test_a_body_is_handed_on_once_and_not_kept() -> None:
    receive = arriving(b"{}")
    body = await wire.read_body(with_lengths(2), receive, room_for_all)
    replay = body.replay(receive)
    assert len(body.content) == 0
    assert [await replay(), await replay()] == [
        {"type": "http.request", "body": b"{}", "more_body": False},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize(
    ("declared", "pieces", "expected"),
    [
        ([LARGE_BODY_BYTES - 1], [bytes(LARGE_BODY_BYTES - 1)], []),
        ([LARGE_BODY_BYTES], [bytes(LARGE_BODY_BYTES)], [LARGE_BODY_BYTES]),
        ([], [bytes(LARGE_BODY_BYTES - 1)], []),
        ([], [bytes(LARGE_BODY_BYTES)], [MAX_REQUEST_BODY_BYTES]),
    ],
    ids=["small", "large", "small in chunks", "large in chunks"],
)
async def test_large_bodies_ask_for_room(declared: list[int], pieces: list[bytes], expected: list[int]) -> None:
    asked = []

    async def make_room(size: int) -> None:
        asked.append(size)

    await wire.read_body(with_lengths(*declared), arriving(*pieces), make_room)
    assert asked[: len(expected) or None] == expected


async def test_without_room_nothing_is_read() -> None:
    async def make_room(_: int) -> None:
        raise ServiceUnavailableException

    async def receive() -> Message:
        raise AssertionError

    with pytest.raises(ServiceUnavailableException):
        await wire.read_body(with_lengths(LARGE_BODY_BYTES), receive, make_room)
