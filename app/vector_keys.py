"""Rules for the key of a vector, beyond the length in characters that its shape carries."""

from app.limits import MAX_VECTOR_KEY_BYTES


class InvalidKey(Exception):
    """The reason, without the prefix that names the vector."""


def check_key(key: str) -> None:
    """Bytes are bounded beside characters, and PostgreSQL's text has no U+0000; raises InvalidKey."""
    if len(key.encode()) > MAX_VECTOR_KEY_BYTES:
        raise InvalidKey("Record key length exceeds the maximum allowed")
    if "\0" in key:
        raise InvalidKey("Record key must not contain the null character")
