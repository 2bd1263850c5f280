"""The station in front of every route: nobody passes without a verified signature.

Everything cheap is checked before the body is read, and the secret is used last.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import Struct

from app import sigv4, sts, wire
from app.access_keys import AccessKey
from app.arns import Account
from app.arrivals import Arrival, Arrivals
from app.asgi import Application, Receive, Scope, Send
from app.audit import Event
from app.authorization import Caller
from app.database.catalog_cache import CatalogCache
from app.database.generation import Generation
from app.database.last_use import LastUse
from app.dispatch import path_of
from app.errors import (
    ExpiredTokenException,
    InvalidSignatureException,
    SignatureError,
    UnrecognizedClientException,
)
from app.failed_authentication import FailedAuthentication
from app.rate_limits import TokenBuckets
from app.request_context import Networks, Peer, peer_of, request_context
from app.sigv4 import Authorization, SignedRequest
from app.wire import Body, Route

# In AWS's words, which tell them apart by a full stop.
UNKNOWN_KEY = "The security token included in the request is invalid."
WRONG_TOKEN = "The security token included in the request is invalid"  # noqa: S105 - no secret


class Verified(Struct, frozen=True):
    """A signature by a key as it was kept; the answer to `asked` tells whether that is still true."""

    request: SignedRequest
    authorization: Authorization
    payload_hash: str
    key: AccessKey
    asked: asyncio.Future[Generation]


class Authentication(Struct, frozen=True):
    """Wraps Litestar from outside, because Litestar's own middleware runs after its router has answered 404."""

    operations: Application
    names: Mapping[Route | None, str]
    """Of the operations, by route."""
    cache: CatalogCache
    last_use: LastUse
    arrivals: Arrivals
    failures: FailedAuthentication
    rate_limits: TokenBuckets | None
    """By access key."""
    region: str
    skew: timedelta
    trusted_proxies: Networks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        event: Event = scope["state"]["event"]
        request = wire.signed_request(scope)
        peer = self._introduce(event, request, scope)
        with Arrival(self.arrivals) as arrival:
            verified, body = await self._authenticated(request, receive, event, arrival)
            wire.check_route(request, self.names)
            wire.check_media_type(request, body)
            confirmed = partial(self._confirmed, verified, peer, event)
            scope["state"] |= {"caller": confirmed, "resource_arn": wire.resource_arn(request)}
            scope["path"] = path_of(event.name)
            await self.operations(scope, body.replay(receive), send)

    def _introduce(self, event: Event, request: SignedRequest, scope: Scope) -> Peer:
        """What the audit log must know, whoever it turns out to be."""
        client = scope.get("client") or ("",)
        peer = peer_of(request, client[0], scope["scheme"], self.trusted_proxies)
        event.name = self.names.get(wire.route_of(request), "")
        event.source = sts.SERVICE if wire.is_sts(request) else event.source
        event.source_address = str(peer.address or "")
        event.user_agent = request.value("user-agent") or ""
        return peer

    async def _authenticated(
        self, request: SignedRequest, receive: Receive, event: Event, arrival: Arrival
    ) -> tuple[Verified, Body]:
        authorization = sigv4.parse_authorization(
            request, regions={self.region}, service=event.source, now=datetime.now(UTC), skew=self.skew
        )
        event.access_key_id = authorization.credential.access_key_id[:128]
        arrival.owner = owner = event.source_address, event.access_key_id
        self.failures.check(*owner)
        if self.rate_limits is not None:
            self.rate_limits.check(event.access_key_id, time.monotonic())
        try:
            verified, body = await self._verified(authorization, request, receive, arrival)
        except (InvalidSignatureException, UnrecognizedClientException):
            self.failures.failed(*owner)
            raise
        self.failures.succeeded(*owner)
        event.principal = verified.key.principal
        if self.rate_limits is not None:
            self.rate_limits.check(event.access_key_id, now := time.monotonic())
            self.rate_limits.take(event.access_key_id, now)
        return verified, body

    async def _verified(
        self, authorization: Authorization, request: SignedRequest, receive: Receive, arrival: Arrival
    ) -> tuple[Verified, Body]:
        key = await self._access_key(authorization)
        body = await wire.read_body(request, receive, arrival.make_room)
        asked = self.cache.ask()  # on its way while the signature is verified and the body decoded
        sigv4.verify(request, authorization, key.secret_access_key, body.sha256)
        return Verified(request, authorization, body.sha256, key, asked), body

    async def _confirmed(self, verified: Verified, peer: Peer, event: Event) -> Caller:
        """For the operation, once it has decoded what is wanted; by the key as it is now, should it have changed."""
        await self.cache.refresh(verified.asked)
        event.principal = None
        if (key := await self._access_key(verified.authorization)) is not verified.key:
            sigv4.verify(verified.request, verified.authorization, key.secret_access_key, verified.payload_hash)
        event.principal = key.principal
        self.last_use.note(key.access_key_id, event.time)
        home = Account(key.principal.account_id, self.region)
        user_agent = verified.request.value("user-agent")
        context = request_context(key.principal, peer, user_agent, self.region, event.time)
        return Caller(key.principal, home, context, self.cache, event)

    async def _access_key(self, authorization: Authorization) -> AccessKey:
        access_key_id = authorization.credential.access_key_id
        key = await self.cache.access_key(access_key_id)
        if key is None or _refusal(key, authorization):
            # By what is kept, which may be out of date; whoever is refused does not come to the other `refresh`.
            await self.cache.refresh()
            key = await self.cache.access_key(access_key_id)
        if key is None:
            raise UnrecognizedClientException(UNKNOWN_KEY)
        if refusal := _refusal(key, authorization):
            raise refusal
        return key


def _refusal(key: AccessKey, authorization: Authorization) -> SignatureError | None:
    if not key.accepts_token(authorization.session_token):
        return UnrecognizedClientException(WRONG_TOKEN, reason="wrong_token")
    if not key.active:
        return UnrecognizedClientException(UNKNOWN_KEY, reason="inactive_key")
    if key.expiration_time is not None and key.expiration_time <= datetime.now(UTC):
        return ExpiredTokenException("The security token included in the request is expired")
    return None
