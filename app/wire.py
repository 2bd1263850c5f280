"""The raw request, before anybody is known: what is too large or ambiguous goes no further."""

import asyncio
import re
from collections.abc import Container
from urllib.parse import unquote_to_bytes

from app.asgi import Receive, Scope
from app.errors import (
    RequestTimeoutException,
    SerializationException,
    UnknownOperationException,
    UnsupportedMediaTypeException,
    ValidationException,
)
from app.limits import MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUEST_BODY_BYTES
from app.sigv4 import SignedRequest

BODY_DEADLINE_SECONDS = 60
TAGS = b"/tags"
TAGS_PREFIX = b"/tags/"
STS = b"/"

Route = tuple[str, bytes]
"""Method and path of an operation."""

_MEDIA_TYPE = rb"\s*%b\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?"
_JSON = re.compile(_MEDIA_TYPE % b"application/json", re.IGNORECASE)
_FORM = re.compile(_MEDIA_TYPE % b"application/x-www-form-urlencoded", re.IGNORECASE)


def signed_request(scope: Scope) -> SignedRequest:
    """The bytes that were signed: the path as it came, not as frameworks decode it."""
    headers = tuple((name.lower(), value) for name, value in scope["headers"])
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise ValidationException("Request headers exceed max allowed size")
    return SignedRequest(
        method=scope["method"],
        raw_path=scope["raw_path"].partition(b"?")[0],
        query=scope["query_string"],
        headers=headers,
    )


async def read_body(request: SignedRequest, receive: Receive) -> bytes:
    """At most 20 MiB; a declared length over it is refused unread."""
    for length in request.values("content-length"):
        if not length.isdigit() or int(length[:20]) > MAX_REQUEST_BODY_BYTES:
            raise _too_large()
    try:
        async with asyncio.timeout(BODY_DEADLINE_SECONDS):
            return await _read(receive)
    except TimeoutError as error:
        raise RequestTimeoutException("The request body did not arrive in time") from error


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise SerializationException  # broken chunks, or a client that left
        body += message["body"]
        if len(body) > MAX_REQUEST_BODY_BYTES:
            raise _too_large()
        if not message["more_body"]:
            return bytes(body)


def check_media_type(request: SignedRequest, body: bytes) -> None:
    """JSON (for STS a form) in UTF-8, and never compressed: what is not inflated is no bomb."""
    media_type, name = (_FORM, "application/x-www-form-urlencoded") if is_sts(request) else (_JSON, "application/json")
    if request.values("content-encoding"):
        raise UnsupportedMediaTypeException("Content-Encoding is not supported")
    content_types = request.values("content-type")
    if (body or content_types) and not (len(content_types) == 1 and media_type.fullmatch(content_types[0])):
        raise UnsupportedMediaTypeException(f"Content-Type must be {name}")


def resource_arn(request: SignedRequest) -> str | None:
    """The one reading of the path of a tag operation; None for the other operations."""
    if not request.raw_path.startswith(TAGS_PREFIX):
        return None
    try:
        return unquote_to_bytes(request.raw_path.removeprefix(TAGS_PREFIX)).decode()
    except UnicodeDecodeError as error:
        raise ValidationException.at("resourceArn", "Invalid resource ARN") from error


def is_sts(request: SignedRequest) -> bool:
    return request.raw_path == STS


def route_of(request: SignedRequest) -> Route | None:
    """Byte for byte: routers forgive doubled and trailing slashes, signatures and AWS do not.

    Without a resource, the path of the tag operations is only our own name for them.
    """
    if request.raw_path == TAGS:
        return None
    return request.method, TAGS if request.raw_path.startswith(TAGS_PREFIX) else request.raw_path


def check_route(request: SignedRequest, routes: Container[Route | None], newest: frozenset[bytes]) -> None:
    if route_of(request) in routes:
        return
    if request.raw_path in newest:
        name = request.raw_path[1:].decode()
        raise UnknownOperationException(f"{name} is not supported by this version of pgs3vectors")
    raise UnknownOperationException("Unknown operation")


def _too_large() -> ValidationException:
    return ValidationException("Request body exceeds max allowed size")
