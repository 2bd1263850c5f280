"""Secret access keys: sealed under the data key of their account, bound to the key's id and its owner."""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Any

from msgspec import Struct

from app.database.access_keys import SealedAccessKey
from app.envelope import KeyEncryptionKeys, WrappedKey, new_key, seal, unseal
from app.policy.principals import Principal


class AccessKey(Struct, frozen=True):
    """Ready to verify a signature with."""

    access_key_id: str
    secret_access_key: str
    principal: Principal
    active: bool = True
    token_hash: bytes | None = None
    expiration_time: datetime | None = None

    def __repr__(self) -> str:
        return f"AccessKey({self.access_key_id!r}, {self.principal.arn!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("access_key_id", self.access_key_id), ("principal", self.principal.arn)]

    def accepts_token(self, session_token: str | None) -> bool:
        """Temporary credentials come with their token, and long-lived ones without any."""
        if self.token_hash is None or session_token is None:
            return self.token_hash is None and session_token is None
        return hmac.compare_digest(self.token_hash, hash_token(session_token))


def new_secret() -> str:
    """40 characters."""
    return secrets.token_urlsafe(30)


def hash_token(session_token: str) -> bytes:
    """Tokens are random, so that a plain hash tells nothing of them."""
    return hashlib.sha256(session_token.encode()).digest()


def new_account_key(keys: KeyEncryptionKeys, account_id: str) -> WrappedKey:
    return keys.wrap(new_key(), "account", account_id)


def account_key(keys: KeyEncryptionKeys, account_id: str, wrapped: WrappedKey) -> bytes:
    """Raises Unopenable."""
    return keys.unwrap(wrapped, "account", account_id)


def seal_secret(account_key: bytes, access_key_id: str, owner: Principal, secret: str) -> bytes:
    return seal(account_key, secret.encode(), *_bound_to(access_key_id, owner))


def open_access_key(keys: KeyEncryptionKeys, sealed: SealedAccessKey) -> AccessKey:
    """Raises Unopenable."""
    owner = sealed.principal
    key = account_key(keys, owner.account_id, sealed.account_data_key)
    return AccessKey(
        access_key_id=sealed.access_key_id,
        secret_access_key=unseal(key, sealed.sealed_secret, *_bound_to(sealed.access_key_id, owner)).decode(),
        principal=owner,
        active=sealed.status == "Active",
        token_hash=sealed.token_hash,
        expiration_time=sealed.expiration_time,
    )


def _bound_to(access_key_id: str, owner: Principal) -> tuple[str, ...]:
    return "access-key", access_key_id, owner.account_id, owner.user_id
