"""A metadata key as it is to be searched for text."""

from msgspec import Struct

from app.full_text.analyzer import Language


class SearchableKey(Struct, frozen=True):
    metadata_key: str
    language: Language | None = None
    """None is the standard analyzer."""
