"""The raw request, before anybody is known: what is too large or ambiguous goes no further."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from mmap import MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_PRIVATE, mmap
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from app.asgi import Message, Receive, Scope
from app.errors import (
    RequestTimeoutException,
    SerializationException,
    UnknownOperationException,
    UnsupportedMediaTypeException,
    ValidationException,
)
from app.limits import LARGE_BODY_BYTES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_REQUEST_BODY_BYTES
from app.sigv4 import SignedRequest

BODY_DEADLINE_SECONDS = 60
TAGS = b"/tags"
TAGS_PREFIX = b"/tags/"
STS = b"/"

Route = tuple[str, bytes]
"""Method and path of an operation."""

MakeRoom = Callable[[int], Awaitable[None]]
"""For so many bytes of a body; asked before they are read."""

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


class Body(Struct):
    """All that came, and the hash that the signature is about."""

    content: memoryview
    sha256: str

    def replay(self, receive: Receive) -> Receive:
        """The verified bytes once more, for the decoder behind; after them whatever the connection says.

        They are handed on and not kept, so that those of a large request are gone as soon as they are decoded.
        """
        messages: list[Message] = [{"type": "http.request", "body": self.content, "more_body": False}]
        self.content = memoryview(b"")

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return replay


async def read_body(request: SignedRequest, receive: Receive, make_room: MakeRoom) -> Body:
    """At most 20 MiB; a declared length over it is refused unread, and a large one waits for room before it is read."""
    for length in request.values("content-length"):
        if not length.isdigit() or int(length[:20]) > MAX_REQUEST_BODY_BYTES:
            raise _too_large()
        if int(length) >= LARGE_BODY_BYTES:
            await make_room(int(length))
    try:
        async with asyncio.timeout(BODY_DEADLINE_SECONDS):
            return await _read(receive, make_room)
    except TimeoutError as error:
        raise RequestTimeoutException("The request body did not arrive in time") from error


async def _read(receive: Receive, make_room: MakeRoom) -> Body:
    """Hashed as it arrives: a piece, of 400 KiB at most, keeps nobody waiting."""
    content: bytearray | mmap = bytearray()
    length, digest = 0, hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise SerializationException  # broken chunks, or a client that left
        piece: bytes = message["body"]
        end = length + len(piece)
        if end > MAX_REQUEST_BODY_BYTES:
            raise _too_large()
        if length < LARGE_BODY_BYTES <= end:
            await make_room(MAX_REQUEST_BODY_BYTES)  # where its length was not declared
            content = _pages(content)
        digest.update(piece)
        if not (content or message["more_body"]):  # in one piece, as most are: kept as it came
            return Body(memoryview(piece), digest.hexdigest())
        content[length:end] = piece
        length = end
        if not message["more_body"]:
            return Body(memoryview(content)[:length], digest.hexdigest())
        if length >= LARGE_BODY_BYTES:
            await asyncio.sleep(0)  # `receive` does not wait for what is here already


def _pages(beginning: bytearray | mmap) -> mmap:
    """Room for the largest body; only what is written takes memory, and the system has it back as soon as it is let go.

    malloc would copy a body to make it grow, and keep its memory for later ones.
    """
    pages = mmap(-1, MAX_REQUEST_BODY_BYTES, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel that has no huge pages is only slower: 13 ms for a body of 20 MiB, with them 1.5
        pages.madvise(MADV_HUGEPAGE)
    pages[: len(beginning)] = beginning
    return pages


def check_media_type(request: SignedRequest, body: Body) -> None:
    """JSON (for STS a form) in UTF-8, and never compressed: what is not inflated is no bomb."""
    media_type, name = (_FORM, "application/x-www-form-urlencoded") if is_sts(request) else (_JSON, "application/json")
    if request.values("content-encoding"):
        raise UnsupportedMediaTypeException("Content-Encoding is not supported")
    content_types = request.values("content-type")
    if (body.content or content_types) and not (len(content_types) == 1 and media_type.fullmatch(content_types[0])):
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


def check_route(request: SignedRequest, routes: Container[Route | None]) -> None:
    if route_of(request) not in routes:
        raise UnknownOperationException("Unknown operation")


def _too_large() -> ValidationException:
    return ValidationException("Request body exceeds max allowed size")
