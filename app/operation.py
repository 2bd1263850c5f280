"""The station between the wire and an operation: bytes to its Input, its Output to bytes.

Litestar routes, but does not decode: it reads "10" as a number, where the protocol knows a SerializationException.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from app.authorization import Caller
from app.constraints import Input
from app.errors import SerializationException
from app.server import Server
from app.shapes import Output

In = TypeVar("In", bound=Input)
Operation = Callable[[In, Caller, Server], Awaitable[Output]]
LitestarRequest = Request[Any, Any, Any]

_encode = msgspec.json.Encoder().encode


def operation(method: HttpMethod, path: str) -> Callable[[Operation[In]], HTTPRouteHandler]:
    """Makes a route of a function of (data, caller, server); an error of the protocol never reaches it."""

    def register(function: Operation[In]) -> HTTPRouteHandler:
        input_type: type[In] = get_type_hints(function)["data"]
        decoder = msgspec.json.Decoder(input_type)

        async def handler(request: LitestarRequest) -> Response[bytes]:
            caller: Caller = request.scope["state"]["caller"]
            caller.event.input = data = await _decoded(request, decoder)
            caller.event.output = output = await function(data, caller, request.app.state.server)
            return Response(_encode(output), media_type="application/json")

        handler.__doc__ = function.__doc__
        return route(path, http_method=method, status_code=200, name=input_type.__name__.removesuffix("Input"))(handler)

    return register


async def _decoded(request: LitestarRequest, decoder: msgspec.json.Decoder[In]) -> In:
    body, resource_arn = await request.body(), request.scope["state"]["resource_arn"]
    try:
        if resource_arn is None:
            return decoder.decode(body)
        return msgspec.convert(_tag_members(request, body, resource_arn), decoder.type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SerializationException from error


def _tag_members(request: LitestarRequest, body: bytes, resource_arn: str) -> dict[str, Any]:
    """Members from all three places of a tag operation; the path names the resource, whatever the body says."""
    members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    if tag_keys := _tag_keys(request.scope["query_string"]):
        members["tagKeys"] = tag_keys
    return members | {"resourceArn": resource_arn}


def _tag_keys(query: bytes) -> list[str]:
    """As they were signed: `+` is itself there, and would be a blank to Litestar."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return [unquote_to_bytes(value).decode() for name, _, value in pairs if unquote_to_bytes(name) == b"tagKeys"]
