"""The station between the wire and an operation: bytes to its Input, its Output to bytes.

Litestar dispatches, but does not decode: it reads "10" as a number, where the protocol knows a SerializationException.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec
from litestar import HttpMethod
from litestar.handlers import ASGIRouteHandler

from app import large_bodies
from app.asgi import Receive, Scope, Send, respond
from app.authorization import Caller
from app.constraints import Input
from app.dispatch import dispatched
from app.errors import SerializationException
from app.observation import forget_search
from app.server import Server
from app.shapes import Output
from app.signer import Signer

In = TypeVar("In", bound=Input)
Operation = Callable[[In, Caller, Server], Awaitable[Output]]

_encode = msgspec.json.Encoder().encode


def operation(
    method: HttpMethod, path: str, *, only_reads: bool = False
) -> Callable[[Operation[In]], ASGIRouteHandler]:
    """Makes a route of a function of (data, caller, server); an error of the protocol never reaches it."""
    run = _read if only_reads else _run

    def register(function: Operation[In]) -> ASGIRouteHandler:
        input_type: type[In] = get_type_hints(function)["data"]
        decoder = msgspec.json.Decoder(input_type)

        async def handler(scope: Scope, receive: Receive, send: Send) -> None:
            message: Any = await receive()
            async with large_bodies.room_for(len(message["body"])):
                data = await _decoded(message.pop("body"), scope, decoder)
                signer: Signer = scope["state"]["signer"]
                signer.event.input = data
                signer.event.output = output = await run(function, data, signer, scope["litestar_app"].state.server)
                answer = _encode(output)
            await respond(send, 200, [(b"content-type", b"application/json")], answer)

        handler.__doc__ = function.__doc__
        return dispatched(input_type.__name__.removesuffix("Input"), (method, path.encode()))(handler)

    return register


async def _run(function: Operation[In], data: In, signer: Signer, server: Server) -> Output:
    return await function(data, await signer.confirmed(), server)


async def _read(function: Operation[In], data: In, signer: Signer, server: Server) -> Output:
    """By what is kept, while PostgreSQL is asked whether it still holds; if not, as if nothing had been read.

    Neither an answer nor an error leaves this before that is known.  What has just changed may soon change again.
    """
    if not signer.cache.is_settled:
        return await _run(function, data, signer, server)
    try:
        outcome: Output | Exception = await function(data, signer.as_kept(), server)
    except Exception as error:  # noqa: BLE001 - raised below, where nothing takes it for a failure to confirm it
        outcome = error
    try:
        if await signer.is_as_kept():
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
    finally:
        del outcome  # an error holds this frame, by its traceback
    forget_search()
    return await _run(function, data, signer, server)


async def _decoded(body: memoryview, scope: Scope, decoder: msgspec.json.Decoder[In]) -> In:
    resource_arn, query = scope["state"]["resource_arn"], scope["query_string"]
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
    """As they were signed, where `+` is itself and no blank."""
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return [unquote_to_bytes(value).decode() for name, _, value in pairs if unquote_to_bytes(name) == b"tagKeys"]
