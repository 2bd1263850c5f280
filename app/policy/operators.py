"""Condition operators: each makes of a value in a policy the test that a value of the request must pass.

Sources: the IAM guide's pages on condition operators and on policy variables; what they leave open is in
docs/compatibility.md.
"""

import operator
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeVar

from msgspec import Struct

from app.policy.arn_patterns import arn_matcher, check_arn
from app.policy.condition_keys import Context
from app.policy.errors import InvalidPolicy
from app.policy.patterns import Matcher, matcher
from app.policy.variables import Version, parse_template

T = TypeVar("T")
U = TypeVar("U")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Test = Callable[[str, Context], bool]
MakeTest = Callable[[str, Version], Test]
"""From a value of a policy; raises InvalidPolicy."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,64}(\.[0-9]{1,64})?")
_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)
_EPOCH_SECONDS = re.compile(r"[0-9]{9,11}")  # fewer digits may be meant for a year or a day
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?")


class Operator(Struct, frozen=True):
    """A negated one wants every value to pass, and a request without the key passes."""

    make_test: MakeTest
    negated: bool = False


def _arn(*, negated: bool = False) -> Operator:
    return _text(arn_matcher, check_arn, wildcards=True, negated=negated)


def _text(
    make_matcher: Callable[[str], Matcher],
    check: Callable[[str], object] = len,  # any text will do
    *,
    wildcards: bool = False,
    negated: bool = False,
) -> Operator:
    """Nothing equals a variable without a value: the test fails, and the negated one passes."""

    def make_test(value: str, version: Version) -> Test:
        template = parse_template(value, version, wildcards=wildcards)
        constant = template.constant
        if constant is not None:
            check(constant)
            matches = make_matcher(constant)
            return lambda actual, _: matches(actual) is not negated

        def test(actual: str, context: Context) -> bool:
            rendered = template.render(context)
            return (rendered is not None and make_matcher(rendered)(actual)) is not negated

        return test

    return Operator(make_test, negated)


def _value(parse: Callable[[str], T | None], compare: Callable[[T, T], bool], *, negated: bool = False) -> Operator:
    return _read_otherwise(parse, parse, compare, negated=negated)


def _address(compare: Callable[[Address, Network], bool], *, negated: bool = False) -> Operator:
    # mypy does not solve T | None where T is itself a union.
    return _read_otherwise(parse_network, parse_address, compare, negated=negated)  # type: ignore[misc]


def _read_otherwise(
    parse: Callable[[str], T | None], read: Callable[[str], U | None], compare: Callable[[U, T], bool], *, negated: bool
) -> Operator:
    """What cannot be parsed is refused in a policy, and fails the test where it is read from a request."""

    def make_test(value: str, _: Version) -> Test:
        wanted = parse(value)
        if wanted is None:
            raise InvalidPolicy(f"{value!r} is not a valid value")

        def test(actual: str, _: Context) -> bool:
            given = read(actual)
            return given is not None and compare(given, wanted)

        return test

    return Operator(make_test, negated)


def _equal_to(wanted: str) -> Matcher:
    return lambda actual: actual == wanted


def _equal_but_for_case(wanted: str) -> Matcher:
    folded = wanted.casefold()
    return lambda actual: actual.casefold() == folded


def parse_number(text: str) -> Decimal | None:
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def parse_date(text: str) -> datetime | None:
    """A day, a moment with its zone, or seconds since 1970."""
    try:
        if _EPOCH_SECONDS.fullmatch(text):
            return datetime.fromtimestamp(int(text), UTC)
        moment = datetime.fromisoformat(text) if _DATE.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def parse_bool(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def parse_binary(text: str) -> bytes | None:
    """Only what encoding gives back: the decoder overlooks padding too many."""
    try:
        value = b64decode(text, validate=True)
    except ValueError:
        return None
    return value if b64encode(value).decode() == text else None


def parse_network(text: str) -> Network | None:
    """An address alone is a network of one; masks and zones are no CIDR."""
    try:
        return ip_network(text, strict=False) if _NETWORK.fullmatch(text) else None
    except ValueError:
        return None


def parse_address(text: str) -> Address | None:
    """An IPv4 address is one also in the clothes of IPv6, in which a socket of both hands it over."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _within(address: Address, network: Network) -> bool:
    return address in network


def _outside(address: Address, network: Network) -> bool:
    return address not in network


OPERATORS = {
    "StringEquals": _text(_equal_to),
    "StringNotEquals": _text(_equal_to, negated=True),
    "StringEqualsIgnoreCase": _text(_equal_but_for_case),
    "StringNotEqualsIgnoreCase": _text(_equal_but_for_case, negated=True),
    "StringLike": _text(matcher, wildcards=True),
    "StringNotLike": _text(matcher, wildcards=True, negated=True),
    "NumericEquals": _value(parse_number, operator.eq),
    "NumericNotEquals": _value(parse_number, operator.ne, negated=True),
    "NumericLessThan": _value(parse_number, operator.lt),
    "NumericLessThanEquals": _value(parse_number, operator.le),
    "NumericGreaterThan": _value(parse_number, operator.gt),
    "NumericGreaterThanEquals": _value(parse_number, operator.ge),
    "DateEquals": _value(parse_date, operator.eq),
    "DateNotEquals": _value(parse_date, operator.ne, negated=True),
    "DateLessThan": _value(parse_date, operator.lt),
    "DateLessThanEquals": _value(parse_date, operator.le),
    "DateGreaterThan": _value(parse_date, operator.gt),
    "DateGreaterThanEquals": _value(parse_date, operator.ge),
    "Bool": _value(parse_bool, operator.eq),
    "BinaryEquals": _value(parse_binary, operator.eq),
    "IpAddress": _address(_within),
    "NotIpAddress": _address(_outside, negated=True),
    "ArnEquals": _arn(),
    "ArnNotEquals": _arn(negated=True),
    "ArnLike": _arn(),
    "ArnNotLike": _arn(negated=True),
}
