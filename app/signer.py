"""Who signed a request: as was kept of him when it came, and as PostgreSQL says that he is.

Both are asked for by operations, once they have decoded what is wanted.
"""

import asyncio
from datetime import UTC, datetime

from msgspec import Struct

from app import sigv4
from app.access_keys import AccessKey
from app.arns import Account
from app.audit import Event
from app.authorization import Caller
from app.database.catalog_cache import CatalogCache
from app.database.generation import Generation
from app.database.last_use import LastUse
from app.errors import ExpiredTokenException, SignatureError, UnrecognizedClientException
from app.request_context import Peer, request_context
from app.sigv4 import Authorization, SignedRequest

# In AWS's words, which tell them apart by a full stop.
UNKNOWN_KEY = "The security token included in the request is invalid."
WRONG_TOKEN = "The security token included in the request is invalid"  # noqa: S105 - no secret


class SignedBy(Struct, frozen=True):
    """A signature by a key as it was kept."""

    request: SignedRequest
    authorization: Authorization
    payload_hash: str
    key: AccessKey
    kept_since: Generation
    """That of all which was kept when the key was looked up."""
    asked: asyncio.Future[Generation]
    """That which is true now, or was when this was signed."""


class Signer(Struct, frozen=True):
    signed: SignedBy
    peer: Peer
    event: Event
    region: str
    cache: CatalogCache
    last_use: LastUse

    def as_kept(self) -> Caller:
        """For what can be taken back: nothing may be told or written before `is_as_kept` has said that it is true."""
        return self._caller(self.signed.key)

    async def is_as_kept(self) -> bool:
        """Whether nothing that may have been looked up since then has changed; the answer has mostly come by now."""
        await self.cache.refresh(self.signed.asked)
        if self.cache.generation != self.signed.kept_since:
            return False
        self._note_use(self.signed.key)
        return True

    async def confirmed(self) -> Caller:
        """By the key as it is now, should it have changed."""
        await self.cache.refresh(self.signed.asked)
        self.event.forget_decisions()
        signed = self.signed
        if (key := await access_key(self.cache, signed.authorization)) is not signed.key:
            sigv4.verify(signed.request, signed.authorization, key.secret_access_key, signed.payload_hash)
        self._note_use(key)
        return self._caller(key)

    def _caller(self, key: AccessKey) -> Caller:
        event = self.event
        event.principal = key.principal
        home = Account(key.principal.account_id, self.region)
        user_agent = self.signed.request.value("user-agent")
        context = request_context(key.principal, self.peer, user_agent, self.region, event.time)
        return Caller(key.principal, home, context, self.cache, event)

    def _note_use(self, key: AccessKey) -> None:
        self.last_use.note(key.access_key_id, self.event.time)


async def access_key(cache: CatalogCache, authorization: Authorization) -> AccessKey:
    """Raises UnrecognizedClientException or ExpiredTokenException."""
    access_key_id = authorization.credential.access_key_id
    key = await cache.access_key(access_key_id)
    if key is None or _refusal(key, authorization):
        # By what is kept, which may be out of date; whoever is refused does not come to another `refresh`.
        await cache.refresh()
        key = await cache.access_key(access_key_id)
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
