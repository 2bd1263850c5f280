"""Rules for the metadata of one vector: types, number of keys, and sizes by AWS's own model."""

from collections.abc import Collection
from typing import Any

from app.errors import ValidationException, ValidationExceptionField
from app.limits import MAX_FILTERABLE_METADATA_BYTES, MAX_METADATA_BYTES, MAX_METADATA_KEYS

Metadata = dict[str, Any]

EMPTY_BYTES = 4


class InvalidMetadata(Exception):
    """The reason, without the prefix that names the vector."""


def split_metadata(metadata: Any, non_filterable_keys: Collection[str]) -> tuple[Metadata, Metadata]:
    """Checked metadata as (filterable, non-filterable); raises InvalidMetadata."""
    if not isinstance(metadata, dict):
        raise InvalidMetadata("Metadata must be an object")
    if len(metadata) > MAX_METADATA_KEYS:
        raise InvalidMetadata(f"Metadata object must have at most {MAX_METADATA_KEYS} keys")
    filterable: Metadata = {}
    non_filterable: Metadata = {}
    for key, value in metadata.items():
        _check_text(key)
        _check_value(value)
        (non_filterable if key in non_filterable_keys else filterable)[key] = value
    filterable_bytes = size(filterable)
    if filterable_bytes > MAX_FILTERABLE_METADATA_BYTES:
        raise InvalidMetadata(f"Filterable metadata must have at most {MAX_FILTERABLE_METADATA_BYTES} bytes")
    if filterable_bytes + size(non_filterable) - EMPTY_BYTES > MAX_METADATA_BYTES:
        raise InvalidMetadata(f"Metadata object must have at most {MAX_METADATA_BYTES} bytes")
    return filterable, non_filterable


def invalid_record(key: str, path: str, reason: str) -> ValidationException:
    """The refusal of a whole batch because of one vector, which it names."""
    return ValidationException(f"Invalid record for key '{key}': {reason}", ValidationExceptionField(path, reason))


def size(metadata: Metadata) -> int:
    """Bytes as AWS counts them, which is not the length of the JSON: a number costs 4, a boolean nothing."""
    return EMPTY_BYTES + sum(8 + len(key.encode()) + _value_size(value) for key, value in metadata.items())


def _value_size(value: Any) -> int:
    match value:
        case str():
            return len(value.encode())
        case bool():
            return 0
        case list() if isinstance(value[0], str):
            return sum(4 + len(text.encode()) for text in value)
        case list():
            return 8 * len(value)
        case _:
            return 4


def _check_value(value: Any) -> None:
    match value:
        case str():
            _check_text(value)
        case bool() | int() | float():
            pass
        case []:
            raise InvalidMetadata("Empty arrays are not allowed in metadata")
        case list():
            _check_array(value)
        case _:
            raise InvalidMetadata("Metadata values must be strings, numbers, booleans, or arrays")


def _check_array(values: list[Any]) -> None:
    types = set(map(type, values))
    if types == {str}:
        for value in values:
            _check_text(value)
    elif not types <= {int, float}:
        raise InvalidMetadata("Metadata array values must be strings or numbers")


def _check_text(text: str) -> None:
    """PostgreSQL's jsonb cannot hold U+0000."""
    if "\0" in text:
        raise InvalidMetadata("Metadata must not contain the null character")
