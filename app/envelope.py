"""Envelope encryption: secrets are sealed under data keys, and those are wrapped under a key-encryption key (KEK).

AES-256-GCM with a random nonce; the associated data binds what is sealed to its row and its owner, so that nothing
opens in another place than its own.
"""

import hmac
import os
import time
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

FORMAT = "pgs3vectors/1"
KEY_BYTES = 32

# A key that stays missing must not run the operator's command for every request that wants it.
RELOAD_SECONDS = 1
_NONCE_BYTES = 12


class Unopenable(Exception):
    """Another key sealed it, or somebody has changed or moved it."""


class UnknownKeyEncryptionKey(Unopenable):
    """The KEK under which a key was wrapped is not among those that this process has."""


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(key: bytes, plaintext: bytes, *bound_to: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, _associated_data(bound_to))


def unseal(key: bytes, sealed: bytes, *bound_to: str) -> bytes:
    """Raises Unopenable."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _associated_data(bound_to))
    except (InvalidTag, ValueError) as error:
        raise Unopenable(f"Cannot open what belongs to {' '.join(bound_to)}") from error


class WrappedKey(Struct, frozen=True):
    kek_id: str
    ciphertext: bytes


class KeyEncryptionKeys:
    """The first wraps, all unwrap; `reload` is asked for more when one is missing, as while keys are rotated."""

    def __init__(self, load: Callable[[], list[bytes]]) -> None:
        self._load = load
        self._next_reload = 0.0
        self.reload()

    def reload(self) -> None:
        keys = self._load()
        self._keys = {kek_id(key): key for key in keys}
        self.current = kek_id(keys[0])

    def wrap(self, key: bytes, *bound_to: str) -> WrappedKey:
        return WrappedKey(self.current, seal(self._keys[self.current], key, self.current, *bound_to))

    def unwrap(self, wrapped: WrappedKey, *bound_to: str) -> bytes:
        """Raises Unopenable."""
        if wrapped.kek_id not in self._keys and time.monotonic() >= self._next_reload:
            self._next_reload = time.monotonic() + RELOAD_SECONDS
            self.reload()
            if wrapped.kek_id in self._keys:  # not in vain: another rotation may follow at once
                self._next_reload = 0.0
        if wrapped.kek_id not in self._keys:
            raise UnknownKeyEncryptionKey(f"Key-encryption key {wrapped.kek_id} is missing")
        return unseal(self._keys[wrapped.kek_id], wrapped.ciphertext, wrapped.kek_id, *bound_to)


def kek_id(key: bytes) -> str:
    """Tells keys apart and says nothing of them; nobody has to name them, so nobody can confuse them."""
    return hmac.digest(key, b"pgs3vectors key-encryption key", "sha256").hex()[:16]


def _associated_data(bound_to: tuple[str, ...]) -> bytes:
    return msgspec.json.encode((FORMAT, *bound_to))
