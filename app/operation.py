"""The station between the wire and an operation: bytes to its Input, its Output to bytes.

Litestar routes, but does not decode: it reads "10" as a number, where the protocol knows a SerializationException.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from app import large_bodies
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
            # Not `request.body()`: it would copy the body, and keep it for as long as the request lasts.
            message: Any = await request.receive()
            async with large_bodies.room_for(len(message["body"])):
                caller.event.input = data = await _decoded(message.pop("body"), request, decoder)
                caller.event.output = output = await function(data, caller, request.app.state.server)
                return Response(_encode(output), media_type="application/json")

        handler.__doc__ = function.__doc__
        return route(path, http_method=method, status_code=200, name=input_type.__name__.removesuffix("Input"))(handler)

    return register


async def _decoded(body: memoryview, request: LitestarRequest, decoder: msgspec.json.Decoder[In]) -> In:
    resource_arn, query = request.scope["state"]["resource_arn"], request.scope["query_string"]
    decode = decoder.decode if resource_arn is None else partial(_tag_input, decoder.type, resource_arn, query)
    try:
        return await large_bodies.decoded(decode, body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SerializationException from error


def _tag_input(input_type: type[In], resource_arn: str, query: bytes, body: memoryview) -> In:
    """Members from all three places of a tag operation; the path names the resource, whatever the body says."""
    members: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
    if tag_keys := _tag_keys(query):
        members["tagKeys"] = tag_keys
    return msgspec.convert(members | {"resourceArn": resource_arn}, input_type)


def _tag_keys(query: bytes) -> list[str]:
    """As they were signed: `+` is itself there, and would be a blank to Litestar."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return [unquote_to_bytes(value).decode() for name, _, value in pairs if unquote_to_bytes(name) == b"tagKeys"]
