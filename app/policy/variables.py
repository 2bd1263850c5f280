"""Policy variables: `${aws:username}`, `${aws:PrincipalTag/team, 'none'}`, and `${*}`, `${?}`, `${$}` as themselves."""

import re
from typing import Literal

from msgspec import Struct

from app.policy.condition_keys import ConditionKey, Context, parse_condition_key
from app.policy.errors import InvalidPolicy
from app.policy.patterns import with_wildcards

Version = Literal["2012-10-17", "2008-10-17"]
"""Of the policy language: in the older one, variables are plain text."""

_VARIABLE = re.compile(r"([^,']+)(?:,\s*'([^']*)'\s*)?")
_LITERAL = ("*", "?", "$")


class Variable(Struct, frozen=True):
    key: ConditionKey
    default: str | None


class Template(Struct, frozen=True):
    """Text, with the wildcards of `app.policy.patterns` where they were asked for, and variables in between."""

    parts: tuple[str | Variable, ...]

    @property
    def constant(self) -> str | None:
        """The text of a template without variables, else None."""
        texts = [part for part in self.parts if isinstance(part, str)]
        return "".join(texts) if len(texts) == len(self.parts) else None

    def render(self, context: Context) -> str | None:
        """None when a variable has neither value nor default; what holds it then is equal to nothing."""
        texts = [part if isinstance(part, str) else _value(part, context) for part in self.parts]
        return None if None in texts else "".join(filter(None, texts))


def parse_template(text: str, version: Version, *, wildcards: bool) -> Template:
    """Raises InvalidPolicy."""
    if version == "2008-10-17" or "${" not in text:
        return Template((with_wildcards(text) if wildcards else text,))
    before, *pieces = text.split("${")
    parts: list[str | Variable] = [with_wildcards(before) if wildcards else before]
    for piece in pieces:
        inside, closed, after = piece.partition("}")
        if not closed:
            raise InvalidPolicy(f"Policy variable is not closed in {text!r}")
        parts += [_parse_variable(inside), with_wildcards(after) if wildcards else after]
    return Template(tuple(parts))


def _parse_variable(inside: str) -> str | Variable:
    if inside in _LITERAL:
        return inside
    match = _VARIABLE.fullmatch(inside)
    if match is None:
        raise InvalidPolicy(f"Invalid policy variable '${{{inside}}}'")
    key = parse_condition_key(match[1].strip())
    if key.multivalued:
        raise InvalidPolicy(f"{match[1]} has several values and cannot be a policy variable")
    return Variable(key, match[2])


def _value(variable: Variable, context: Context) -> str | None:
    """An empty tag is no value: `bucket/${aws:PrincipalTag/team}*` would mean every bucket."""
    value = variable.key.value(context)
    return value if value and isinstance(value, str) else variable.default
