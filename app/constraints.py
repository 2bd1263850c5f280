"""Smithy's constraint traits on Struct members, with the texts of AWS's validation.

A member says what the service model says of it, `Annotated[str, Length(3, 63)]`, and `Input` checks all members after
decoding.  Types that do not fit are no constraint failures: msgspec refuses them: SerializationException.
"""

import re
import types
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct

from app.errors import ValidationException, ValidationExceptionField

T = TypeVar("T")
Check = Callable[[Any, str], Iterator[ValidationExceptionField]]

# Smithy's Integer has 32 bits; anything wider is a serialization fault, not a range fault.
Integer = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class RequiredTrait(Struct, frozen=True):
    pass


if TYPE_CHECKING:
    Required = Annotated[T, RequiredTrait()]
else:

    class Required:
        """At run time a required member may be null or missing, so that `Input` can refuse it in AWS's words."""

        def __class_getitem__(cls, item: Any) -> Any:
            return Annotated[item | None, RequiredTrait()]


# The default of required members: never seen behind `Input`, therefore of every type.
ABSENT: Any = None


class Length(Struct, frozen=True):
    min: int
    max: int

    def failure(self, value: Any) -> str | None:
        if self.min <= len(value) <= self.max:
            return None
        return f"Member must have length between {self.min} and {self.max}, inclusive"


class Range(Struct, frozen=True):
    min: int
    max: int

    def failure(self, value: int) -> str | None:
        if self.min <= value <= self.max:
            return None
        return f"Member must be between {self.min} and {self.max}, inclusive"


class OneOf(Struct, frozen=True):
    values: tuple[str, ...]

    def failure(self, value: str) -> str | None:
        return None if value in self.values else f"Member must satisfy enum value set: [{', '.join(self.values)}]"


class Pattern(Struct, frozen=True):
    regex: str

    def failure(self, value: str) -> str | None:
        if re.fullmatch(self.regex, value):
            return None
        return f"Member must satisfy regular expression pattern: ^{self.regex}$"


class TagPattern(Struct, frozen=True):
    r"""Letters, separators, numbers and `_.:/=+-@`; Python's `re` has no `\p{..}`."""

    regex: str = r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"

    def failure(self, value: str) -> str | None:
        if all(c in "_.:/=+-@" or unicodedata.category(c)[0] in "LZN" for c in value):
            return None
        return f"Member must satisfy regular expression pattern: ^{self.regex}$"


Trait = Length | Range | OneOf | Pattern | TagPattern


class Input(Struct, rename="camel", kw_only=True, frozen=True):
    """A request body; whoever holds one holds a valid one. Unknown members are ignored, null is absence."""

    def __post_init__(self) -> None:
        check = check_of(type(self))
        failures = list(check(self, "")) if check else []
        if failures:
            detected = f"{len(failures)} validation error{'s'[: len(failures) > 1]} detected. "
            raise ValidationException(detected + "; ".join(f.message for f in failures), *failures)


@cache
def check_of(annotation: Any) -> Check | None:
    """The check of everything that can fail inside a value of this type, or None: vectors are not walked in vain."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _check_traits(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return next(filter(None, map(check_of, arguments)), None)
    if origin is list:
        return _check_items(arguments[0])
    if origin is dict:
        return _check_entries(*arguments)
    if isinstance(annotation, type) and issubclass(annotation, Struct):
        return _check_members(annotation)
    return None


def _check_traits(inner: Any, metadata: tuple[Any, ...]) -> Check | None:
    required = any(isinstance(m, RequiredTrait) for m in metadata)
    traits = [m for m in metadata if isinstance(m, Trait)]
    check_inner = check_of(inner)
    if not (required or traits or check_inner):
        return None

    def check(value: Any, path: str) -> Iterator[ValidationExceptionField]:
        if value is None:
            if required:
                yield _failure("Value", path, "Member must not be null")
            return
        for trait in traits:
            if text := trait.failure(value):
                what = f"Value with length {len(value)}" if isinstance(trait, Length) else "Value"
                yield _failure(what, path, text)
        if check_inner:
            yield from check_inner(value, path)

    return check


def _check_items(item: Any) -> Check | None:
    check_item = check_of(item)
    if check_item is None:
        return None

    def check(value: list[Any] | None, path: str) -> Iterator[ValidationExceptionField]:
        for i, element in enumerate(value or ()):
            yield from check_item(element, f"{path}/{i}")

    return check


def _check_entries(key: Any, item: Any) -> Check:
    """A bad key is reported at the map, a bad value at its key, as AWS does."""
    check_key, check_item = check_of(key), check_of(item)

    def check(value: dict[str, Any] | None, path: str) -> Iterator[ValidationExceptionField]:
        for name, element in (value or {}).items():
            if check_key:
                yield from check_key(name, path)
            if check_item:
                yield from check_item(element, f"{path}/{name}")

    return check


def _check_members(struct: type[Struct]) -> Check | None:
    hints = get_type_hints(struct, include_extras=True)
    names = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    members = [(name, wire, check) for name, wire in names if (check := check_of(hints[name]))]
    if not members:
        return None

    def check_members(value: Any, path: str) -> Iterator[ValidationExceptionField]:
        if value is not None:
            for name, wire, check in members:
                yield from check(getattr(value, name), f"{path}/{wire}")

    return check_members


def _failure(what: str, path: str, constraint: str) -> ValidationExceptionField:
    return ValidationExceptionField(path, f"{what} at '{path}' failed to satisfy constraint: {constraint}")
