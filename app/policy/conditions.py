"""The Condition element: every condition must hold, and in each of them one of its values (all, for a negated one)."""

from collections.abc import Iterable
from typing import Literal, assert_never

from msgspec import Struct

from app.policy.condition_keys import ConditionKey, Context, parse_condition_key
from app.policy.errors import InvalidPolicy
from app.policy.operators import OPERATORS, Test, parse_bool
from app.policy.variables import Version

Quantifier = Literal["", "ForAllValues", "ForAnyValue"]
IF_EXISTS = "IfExists"


class Comparison(Struct, frozen=True):
    """One operator, one key, and the tests that its values make."""

    operator: str
    key: ConditionKey
    values: tuple[str, ...]
    tests: tuple[Test, ...]
    negated: bool
    if_exists: bool
    quantifier: Quantifier

    def holds(self, context: Context) -> bool:
        value = self.key.value(context)
        if value is None:
            return self._holds_without_value()
        match self.quantifier:
            case "":
                return isinstance(value, str) and self._passes(value, context)
            case "ForAllValues":
                return all(self._passes(one, context) for one in _values(value))
            case "ForAnyValue":
                return any(self._passes(one, context) for one in _values(value))
            case _:
                assert_never(self.quantifier)

    def _holds_without_value(self) -> bool:
        return self.if_exists or self.quantifier == "ForAllValues" or (self.negated and self.quantifier == "")

    def _passes(self, value: str, context: Context) -> bool:
        results = (test(value, context) for test in self.tests)
        return all(results) if self.negated else any(results)


class Presence(Struct, frozen=True):
    """`Null`: whether the request lacks the key."""

    key: ConditionKey
    absent: frozenset[bool]

    def holds(self, context: Context) -> bool:
        return (self.key.value(context) is None) in self.absent


Condition = Comparison | Presence


def _values(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def parse_condition(name: str, key: str, values: Iterable[str], version: Version) -> Condition:
    """Raises InvalidPolicy."""
    condition_key, values = parse_condition_key(key), tuple(values)
    if name == "Null":
        return Presence(condition_key, frozenset(map(_absent, values)))
    quantifier, operator_name = _parse_quantifier(name)
    operator = OPERATORS.get(operator_name.removesuffix(IF_EXISTS))
    if operator is None:
        raise InvalidPolicy(f"Unknown condition operator {name!r}")
    if condition_key.multivalued and not quantifier:
        raise InvalidPolicy(f"{key} has several values and needs ForAllValues or ForAnyValue")
    return Comparison(
        operator=operator_name.removesuffix(IF_EXISTS),
        key=condition_key,
        values=values,
        tests=tuple(operator.make_test(value, version) for value in values),
        negated=operator.negated,
        if_exists=operator_name.endswith(IF_EXISTS),
        quantifier=quantifier,
    )


def _parse_quantifier(name: str) -> tuple[Quantifier, str]:
    quantifier, colon, operator_name = name.partition(":")
    if not colon:
        return "", name
    match quantifier:
        case "ForAllValues" | "ForAnyValue":
            return quantifier, operator_name
    raise InvalidPolicy(f"Unknown condition operator {name!r}")


def _absent(value: str) -> bool:
    absent = parse_bool(value)
    if absent is None:
        raise InvalidPolicy(f"Null takes true or false, not {value!r}")
    return absent
