"""Page tokens: opaque, tamper-proof, and good only for the request that continues.

AES-256-GCM over the cursor; operation, user, resource and parameters are the associated data, so that a token of
another operation, user, index, filter or account does not open.
"""

import hashlib
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.errors import ValidationException

LIFETIME = timedelta(hours=24)
_NONCE_BYTES = 12

Cursor = TypeVar("Cursor")


class PageTokens:
    """Seals and opens cursors under the key that all workers of one database share."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, cursor: Any, bound_to: Any, now: datetime) -> str:
        nonce = os.urandom(_NONCE_BYTES)
        plain = msgspec.msgpack.encode((int(now.timestamp()), cursor))
        sealed = self._cipher.encrypt(nonce, plain, _associated_data(bound_to))
        return urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(
        self, token: str, cursor_type: type[Cursor], bound_to: Any, now: datetime, lifetime: timedelta = LIFETIME
    ) -> Cursor:
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _associated_data(bound_to))
        except (ValueError, InvalidTag) as error:
            raise ValidationException.at("nextToken", "Invalid nextToken") from error
        issued, cursor = msgspec.msgpack.decode(plain, type=tuple[int, cursor_type])  # type: ignore[valid-type]
        if now.timestamp() - issued > lifetime.total_seconds():
            raise ValidationException.at("nextToken", "Invalid nextToken")
        return cursor


def _associated_data(bound_to: Any) -> bytes:
    """Of a document, such as a filter, whatever the order in which a client writes its keys each time."""
    return hashlib.sha256(msgspec.json.encode(bound_to, order="deterministic")).digest()
