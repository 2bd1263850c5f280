"""Rows held against the rules of PutVectors, and those that break one with the reason."""

from collections.abc import Collection
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct

from app.constraints import Length
from app.interchange.batches import Batch
from app.metadata import InvalidMetadata, Metadata, split_metadata
from app.shapes import DistanceMetric, VectorKey
from app.vector_data import Float32Vector, InvalidVector, are_valid, check_numbers
from app.vector_keys import InvalidKey, check_key

MAX_SHOWN_KEY = 80


class Rules(Struct, frozen=True):
    """Those of one index."""

    dimension: int
    distance_metric: DistanceMetric
    non_filterable_metadata_keys: Collection[str]


class CheckedVector(Struct, frozen=True, gc=False):
    key: str
    vector: Float32Vector
    filterable: Metadata
    non_filterable: Metadata


class Fault(Struct, frozen=True):
    row: int
    key: str | None
    reason: str

    def __str__(self) -> str:
        of_key = "" if self.key is None else f" (key {self.shown_key})"
        return f"row {self.row}{of_key}: {self.reason}"

    @property
    def shown_key(self) -> str | None:
        """Quoted, since it may be anything, and cut where it is long."""
        if self.key is None:
            return None
        return repr(self.key) if len(self.key) <= MAX_SHOWN_KEY else f"{self.key[:MAX_SHOWN_KEY]!r}..."


def check(batch: Batch, rules: Rules) -> tuple[list[CheckedVector], list[Fault]]:
    """Every row is in one of both, in their order."""
    checked: list[CheckedVector] = []
    faults: list[Fault] = []
    valid = _valid(batch, rules)
    for place, key in enumerate(batch.keys):
        row = batch.first_row + place
        if place in batch.unreadable:
            faults.append(Fault(row, None, batch.unreadable[place]))
            continue
        try:
            vector, metadata = batch.vectors[place], batch.metadata[place]
            checked.append(_checked(key, vector, metadata, rules, is_valid=bool(valid[place])))
        except (InvalidKey, InvalidVector, InvalidMetadata) as error:
            faults.append(Fault(row, key if isinstance(key, str) else None, str(error)))
    return checked, faults


def _valid(batch: Batch, rules: Rules) -> npt.NDArray[np.bool_]:
    """What can be told of all vectors at once; the others are looked at one by one."""
    vectors = batch.vectors
    if isinstance(vectors, np.ndarray) and vectors.shape[1] == rules.dimension:
        return are_valid(vectors, rules.distance_metric)
    return np.zeros(len(batch.keys), np.bool_)


def _checked(key: Any, vector: Any, metadata: Any, rules: Rules, *, is_valid: bool) -> CheckedVector:
    _check_key(key)
    if vector is None:
        raise InvalidVector("vector must not be null")
    if not is_valid:
        check_numbers(vector, rules.dimension, rules.distance_metric)
    filterable, non_filterable = split_metadata(_document(metadata), rules.non_filterable_metadata_keys)
    return CheckedVector(key, vector, filterable, non_filterable)


_LENGTH: Length = get_args(VectorKey)[1]


def _check_key(key: Any) -> None:
    if not isinstance(key, str):
        raise InvalidKey("key must not be null" if key is None else "key must be text in UTF-8")
    if failure := _LENGTH.failure(key):
        raise InvalidKey(f"Value with length {len(key)} at 'key' failed to satisfy constraint: {failure}")
    check_key(key)


def _document(metadata: Any) -> Any:
    """As the body of a request would hold it: through JSON, whatever it comes from."""
    try:
        text = msgspec.json.encode(metadata) if isinstance(metadata, dict | None) else metadata
        document = msgspec.json.decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidMetadata(f"Metadata is not JSON: {error}") from None
    return {} if document is None else document
