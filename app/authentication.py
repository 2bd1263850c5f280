"""The station in front of every route: nobody passes without a verified signature.

Everything cheap is checked before the body is read, and the secret is used last.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from app import sigv4, wire
from app.arns import Account
from app.asgi import Application, Message, Receive, Scope, Send
from app.authorization import Caller
from app.credentials import Credentials
from app.errors import UnrecognizedClientException
from app.sigv4 import SignedRequest

# Hashing releases the GIL; below this size a thread costs more than it saves.
HASH_IN_THREAD_BYTES = 256 * 1024

CheckRoute = Callable[[SignedRequest], None]


class Authentication(Struct, frozen=True):
    """Wraps Litestar from outside, because Litestar's own middleware runs after its router has answered 404."""

    operations: Application
    check_route: CheckRoute
    root: Credentials
    home: Account
    skew: timedelta

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = wire.signed_request(scope)
        body = await self._verified_body(request, receive)
        self.check_route(request)
        wire.check_media_type(request, body)
        caller = Caller(f"arn:{self.home.partition}:iam::{self.home.account_id}:root", self.home)
        arn = wire.resource_arn(request)
        if arn is not None:
            scope["path"] = "/tags"
        scope.setdefault("state", {}).update({"caller": caller, "resource_arn": arn})
        await self.operations(scope, _replay(body, receive), send)

    async def _verified_body(self, request: SignedRequest, receive: Receive) -> bytes:
        authorization = sigv4.parse_authorization(
            request, regions=frozenset({self.home.region}), now=datetime.now(UTC), skew=self.skew
        )
        secret_key = self._secret_key(authorization)
        body = await wire.read_body(request, receive)
        sigv4.verify(request, authorization, secret_key, await _payload_hash(body))
        return body

    def _secret_key(self, authorization: sigv4.Authorization) -> str:
        """The root key is long-lived: a session token beside it was made up."""
        if authorization.session_token is not None:
            raise UnrecognizedClientException("The security token included in the request is invalid")
        known = self.root.access_key_id.encode()
        if not hmac.compare_digest(authorization.credential.access_key_id.encode(), known):
            raise UnrecognizedClientException("The security token included in the request is invalid.")
        return self.root.secret_access_key


async def _payload_hash(body: bytes) -> str:
    if len(body) < HASH_IN_THREAD_BYTES:
        return hashlib.sha256(body).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()


def _replay(body: bytes, receive: Receive) -> Receive:
    """The verified bytes once more, for the decoder behind; after them whatever the connection says."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
