"""Encryption of non-filterable metadata, record by record, under the data key of an index (pure).

AES-256-GCM-SIV: an index may take more writes than random nonces of plain GCM would bear.
"""

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from app.envelope import Unopenable

_NONCE_BYTES = 12
_DIGEST_BYTES = 16


class RecordCipher:
    """Bound to index and vector key: the metadata of one record does not open as that of another."""

    def __init__(self, index_id: int, data_key: bytes) -> None:
        self._cipher = AESGCMSIV(data_key)
        self._index_id = index_id
        self._digest_key = hmac.digest(data_key, f"terms of index {index_id}".encode(), "sha256")

    def digest(self, term: str) -> str:
        """Stands for a term of sealed text where it is searched: found by who has the key, and read by nobody."""
        return hmac.digest(self._digest_key, term.encode(), "sha256")[:_DIGEST_BYTES].hex()

    def seal(self, key: str, text: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), self._bound_to(key))

    def unseal(self, key: str, sealed: bytes) -> str:
        """Raises Unopenable."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._bound_to(key)).decode()
        except (InvalidTag, ValueError) as error:
            raise Unopenable(f"Cannot open the metadata of a vector of index {self._index_id}") from error

    def _bound_to(self, key: str) -> bytes:
        return f"{self._index_id}/{key}".encode()
