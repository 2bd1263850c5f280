"""What arrives below HTTP clients: bytes on a socket."""

import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from app.settings import Settings

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
