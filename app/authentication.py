"""The station in front of every route: nobody passes without a verified signature.

Everything cheap is checked before the body is read, and the secret is used last.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from app import sigv4, sts, wire
from app.arrivals import Arrival, Arrivals
from app.asgi import Application, Receive, Scope, Send
from app.audit import Event
from app.database.catalog_cache import CatalogCache
from app.database.last_use import LastUse
from app.dispatch import path_of
from app.errors import InvalidSignatureException, UnrecognizedClientException
from app.failed_authentication import FailedAuthentication
from app.rate_limits import TokenBuckets
from app.request_context import Networks, Peer, peer_of
from app.signer import SignedBy, Signer, access_key
from app.sigv4 import Authorization, SignedRequest
from app.wire import Body, Route


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
            signed, body = await self._authenticated(request, receive, event, arrival)
            wire.check_route(request, self.names)
            wire.check_media_type(request, body)
            signer = Signer(signed, peer, event, self.region, self.cache, self.last_use)
            scope["state"] |= {"signer": signer, "resource_arn": wire.resource_arn(request)}
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
    ) -> tuple[SignedBy, Body]:
        authorization = sigv4.parse_authorization(
            request, regions={self.region}, service=event.source, now=datetime.now(UTC), skew=self.skew
        )
        event.access_key_id = authorization.credential.access_key_id[:128]
        arrival.owner = owner = event.source_address, event.access_key_id
        self.failures.check(*owner)
        if self.rate_limits is not None:
            self.rate_limits.check(event.access_key_id, time.monotonic())
        try:
            signed, body = await self._verified(authorization, request, receive, arrival)
        except (InvalidSignatureException, UnrecognizedClientException):
            self.failures.failed(*owner)
            raise
        self.failures.succeeded(*owner)
        event.principal = signed.key.principal
        if self.rate_limits is not None:
            self.rate_limits.check(event.access_key_id, now := time.monotonic())
            self.rate_limits.take(event.access_key_id, now)
        return signed, body

    async def _verified(
        self, authorization: Authorization, request: SignedRequest, receive: Receive, arrival: Arrival
    ) -> tuple[SignedBy, Body]:
        kept_since = self.cache.generation
        key = await access_key(self.cache, authorization)
        body = await wire.read_body(request, receive, arrival.make_room)
        sigv4.verify(request, authorization, key.secret_access_key, body.sha256)
        return SignedBy(request, authorization, body.sha256, key, kept_since, self.cache.ask()), body
