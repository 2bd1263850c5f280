"""What is configured of the metadata of an index: which keys are not filterable, and which are searched for text."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, cast

from msgspec import Struct

from app.constraints import ABSENT, Length, OneOf, Required
from app.database.catalog import Index
from app.errors import ValidationException
from app.full_text.analyzer import LANGUAGES, Language
from app.full_text.searchable_key import SearchableKey
from app.index_modes import IndexMode
from app.limits import MAX_TEXT_SEARCHES_PER_INDEX
from app.shapes import MetadataKey


class TextSearchConfiguration(Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """`status` is what GetIndex tells, and of no meaning in a request."""

    metadata_key: Required[MetadataKey] = ABSENT
    language: Annotated[str, OneOf(LANGUAGES)] | None = None
    status: str | None = None


class MetadataConfiguration(Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    non_filterable_metadata_keys: Annotated[list[MetadataKey], Length(0, 10)] | None = None
    text_search_configurations: (
        Annotated[list[TextSearchConfiguration], Length(0, MAX_TEXT_SEARCHES_PER_INDEX)] | None
    ) = None


def searchable_keys(configurations: Sequence[TextSearchConfiguration], path: str) -> list[SearchableKey]:
    """Raises ValidationException."""
    keys = [configuration.metadata_key for configuration in configurations]
    path = f"{path}.textSearchConfigurations"
    check_distinct(keys, path)
    for i, key in enumerate(keys):
        if "\0" in key:
            raise ValidationException.at(
                f"{path}[{i}].metadataKey", "Metadata keys must not contain the null character"
            )
    return [SearchableKey(c.metadata_key, cast("Language | None", c.language)) for c in configurations]


def check_mode(added: Sequence[SearchableKey], mode: IndexMode) -> None:
    """Raises ValidationException."""
    if added and mode is not IndexMode.ENHANCED:
        raise ValidationException.at("textSearchConfigurations", "Full-text search requires an index of mode ENHANCED")


def check_distinct(keys: Sequence[str], path: str) -> None:
    for key, times in Counter(keys).items():
        if times > 1:
            raise ValidationException.at(path, f"The metadata key '{key}' must not appear more than once")


def described(index: Index) -> MetadataConfiguration | None:
    """None where nothing has been configured."""
    configurations = [
        TextSearchConfiguration(
            metadata_key=search.metadata_key,
            language=search.language,
            status="ACTIVE" if search.active else "BUILDING",
        )
        for search in index.text_searches
    ]
    if index.non_filterable_metadata_keys is None and not configurations:
        return None
    return MetadataConfiguration(
        non_filterable_metadata_keys=index.non_filterable_metadata_keys,
        text_search_configurations=configurations or None,
    )
