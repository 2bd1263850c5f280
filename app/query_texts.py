"""The texts of a query: which keys they may search, and the terms that are looked for."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Struct

from app.constraints import ABSENT, Length, Required
from app.database.catalog import Index
from app.database.inverted_index import term_frequencies
from app.database.text_ranking import TextQuery
from app.errors import ValidationException
from app.index_modes import IndexMode
from app.record_cipher import RecordCipher
from app.shapes import MetadataKey


class QueryText(Struct, rename="camel", kw_only=True, frozen=True):
    text: Required[Annotated[str, Length(1, 1024)]] = ABSENT
    metadata_key: Required[MetadataKey] = ABSENT


def text_queries(
    texts: Sequence[QueryText], index: Index, mode: IndexMode, cipher: RecordCipher | None
) -> tuple[TextQuery, ...]:
    """In the order of the request; `cipher` is that of an index under aws:kms. Raises ValidationException."""
    if mode is not IndexMode.ENHANCED:
        raise ValidationException.at("queryTexts", "Full-text search requires an index of mode ENHANCED")
    if len({text.metadata_key for text in texts}) < len(texts):
        raise ValidationException.at("queryTexts", "Each metadata key must appear at most once")
    return tuple(_text_query(i, text, index, cipher) for i, text in enumerate(texts))


def _text_query(i: int, text: QueryText, index: Index, cipher: RecordCipher | None) -> TextQuery:
    path, key = f"queryTexts[{i}].metadataKey", text.metadata_key
    search = next((search for search in index.text_searches if search.metadata_key == key), None)
    if search is None:
        raise ValidationException.at(path, f"The metadata key '{key}' has no text search configuration")
    if not search.active:
        raise ValidationException.at(path, f"The text search configuration of '{key}' is BUILDING")
    sealed = key in (index.non_filterable_metadata_keys or ())
    return TextQuery(search, term_frequencies(search, text.text, cipher if sealed else None))
