"""One line of a diagnosis."""

from enum import StrEnum
from typing import Self

from msgspec import Struct


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(Struct, frozen=True):
    what: str
    state: State
    found: str
    change: str | None = None
    """What the operator should do about it."""

    @classmethod
    def ok(cls, what: str, found: object) -> Self:
        return cls(what, State.OK, str(found))

    @classmethod
    def warning(cls, what: str, found: object, change: str) -> Self:
        return cls(what, State.WARNING, str(found), change)

    @classmethod
    def error(cls, what: str, found: object, change: str) -> Self:
        return cls(what, State.ERROR, str(found), change)
