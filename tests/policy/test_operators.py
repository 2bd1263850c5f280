import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.errors import InvalidPolicy
from app.policy.operators import OPERATORS

ANA = "arn:aws:iam::111122223333:user/ana"

# Each row: an operator, a value in a policy, the values of a request that pass, the ones that do not.
CASES: list[tuple[str, str, list[str], list[str]]] = [
    ("StringEquals", "Red", ["Red"], ["red", "", "Red ", "R*d"]),
    ("StringEquals", "", [""], ["a"]),
    ("StringEquals", "R*d", ["R*d"], ["Red"]),
    ("StringEquals", "${*}", ["*"], ["${*}", "a"]),
    ("StringNotEquals", "Red", ["red", "", "R*d"], ["Red"]),
    ("StringEqualsIgnoreCase", "Straße", ["STRASSE", "straße"], ["strase"]),
    ("StringNotEqualsIgnoreCase", "Red", ["blue"], ["red", "RED"]),
    ("StringLike", "R?d*", ["Red", "Red wine"], ["red", "Rd"]),
    ("StringLike", "${*}*", ["*", "*a"], ["a"]),
    ("StringNotLike", "R*", ["red", ""], ["R", "Red"]),
    ("NumericEquals", "5", ["5", "5.0", "05", "+5"], ["-5", "five", "", "5 ", "5e0", "\u0665"]),
    ("NumericEquals", "-0", ["0", "0.0"], ["1"]),
    ("NumericEquals", "9007199254740993", ["9007199254740993"], ["9007199254740992"]),
    ("NumericEquals", "0.1", ["0.10"], ["0.1000000000000000055511151231257827"]),
    ("NumericNotEquals", "5", ["4", "5.1"], ["5", "5.0", "five", "", "1e1"]),
    ("NumericLessThan", "5", ["4.9", "-6"], ["5", "6", "four"]),
    ("NumericLessThanEquals", "5", ["5.0", "4"], ["5.1", "four"]),
    ("NumericGreaterThan", "5", ["5.1"], ["5", "4", "six"]),
    ("NumericGreaterThanEquals", "5", ["5", "6"], ["4.9", "six"]),
    ("DateEquals", "2026-01-01", ["2026-01-01T00:00:00Z", "1767225600", "2026-01-01T01:00+01:00"], ["2026-01-02"]),
    ("DateEquals", "1767225600", ["2026-01-01T00:00:00Z", "1767225600"], ["1767225601", "soon", ""]),
    ("DateNotEquals", "2026-01-01", ["2026-01-01T00:00:00.001Z"], ["1767225600", "soon", "2026-01-01T00:00:00"]),
    ("DateLessThan", "2026-01-01T00:00:00Z", ["2025-12-31T23:59:59.999999Z"], ["2026-01-01", "2027-01-01", "soon"]),
    ("DateLessThanEquals", "2026-01-01T00:00:00Z", ["2026-01-01"], ["2026-01-01T00:00:00.000001Z", "soon"]),
    ("DateGreaterThan", "2026-01-01T00:00:00Z", ["2026-01-01T00:00:01Z"], ["2026-01-01", "soon"]),
    ("DateGreaterThanEquals", "2026-01-01T00:00:00Z", ["2026-01-01", "9999-12-31"], ["2025-12-31", "soon"]),
    ("DateGreaterThan", "0001-01-01T00:00:00+23:59", ["0001-01-01T00:00:00Z"], ["0001-01-01T00:00:00+23:59"]),
    ("Bool", "true", ["true", "TRUE"], ["false", "yes", "1", ""]),
    ("Bool", "False", ["false"], ["true", "no", "0", ""]),
    ("BinaryEquals", "cmVk", ["cmVk"], ["cmVr", "red", "", "cmVk ", "é"]),
    ("IpAddress", "10.0.0.0/24", ["10.0.0.0", "10.0.0.255"], ["10.0.1.0", "2001:db8::1", "here", "", "10.0.0.0/24"]),
    ("IpAddress", "10.0.0.1", ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2", "::10.0.0.1"]),
    ("IpAddress", "10.9.9.9/8", ["10.0.0.1"], ["11.0.0.1"]),
    ("IpAddress", "0.0.0.0/0", ["10.0.0.1"], ["2001:db8::1"]),
    ("IpAddress", "2001:DB8::/32", ["2001:db8::1", "2001:0db8:0::9"], ["2001:db9::1", "10.0.0.1"]),
    ("IpAddress", "2001:db8::1", ["2001:db8:0:0::1"], ["2001:db8::2"]),
    ("NotIpAddress", "10.0.0.0/8", ["11.0.0.1", "2001:db8::1"], ["10.0.0.1", "::ffff:10.0.0.1", "here", ""]),
    ("ArnEquals", ANA, [ANA], [ANA.upper(), f"{ANA}/x", "ana", ""]),
    ("ArnEquals", "arn:aws:iam::*:user/a?a", [ANA], ["arn:aws:iam::x:role/ana", "arn:aws:iam::1:2:user/ana"]),
    ("ArnLike", "arn:aws:iam::111122223333:*", [ANA], ["arn:aws:iam::444455556666:user/ana"]),
    ("ArnLike", "*", [ANA], []),
    ("ArnLike", "arn:aws:iam::*", [ANA], ["arn:aws:sts::111122223333:user/ana"]),
    ("ArnNotEquals", ANA, ["arn:aws:iam::111122223333:user/bob", "ana"], [ANA]),
    ("ArnNotLike", "arn:*:iam::*:user/*", ["arn:aws:iam::111122223333:root"], [ANA]),
]


def test_the_table_knows_every_operator() -> None:
    assert {operator for operator, *_ in CASES} == {*OPERATORS}


@pytest.mark.parametrize(("operator", "value", "passing", "failing"), CASES, ids=range(len(CASES)))
def test_operators(operator: str, value: str, passing: list[str], failing: list[str]) -> None:
    test = OPERATORS[operator].make_test(value, "2012-10-17")
    assert [actual for actual in [*passing, *failing] if test(actual, {})] == passing


# Each row: what an operator refuses in a policy.
REFUSED = {
    "Numeric": [
        "",
        "five",
        "1e1",
        "1E5",
        ".5",
        "5.",
        "0x5",
        "1,5",
        "NaN",
        "inf",
        "\u0665",
        "5 ",
        "1" * 65,
        "${aws:username}",
    ],
    "Date": [
        "",
        "soon",
        "2026",
        "20260101",
        "2026-01",
        "2026-13-01",
        "2026-02-30",
        "0000-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T24:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00+24:00",
        "-1",
        "1767225600.5",
        "1" * 12,
        "2026-W01-1",
    ],
    "Bool": ["", "yes", "1", "0", "tru", "true "],
    "Binary": ["?", "cmV", "cmVk=", "cm Vk", "é", "_-8="],
    "IpAddress": [
        "",
        "here",
        "10.0.0",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.0.0.255",
        "010.0.0.1",
        "256.0.0.1",
        "2001:db8::/129",
        "2001:db8::1::2",
        "fe80::1%eth0",
        "*",
    ],
    "Arn": ["", "ana", "arn:aws:iam", "arn:aws:iam::?", "${aws:username"],
    "String": ["${", "${}", "${aws:usernam}"],
}


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        pytest.param(operator, value, id=f"{operator} {value[:24]}")
        for family, values in REFUSED.items()
        for operator in OPERATORS
        if family in operator
        for value in values
    ],
)
def test_values_refused_in_a_policy(operator: str, value: str) -> None:
    with pytest.raises(InvalidPolicy):
        OPERATORS[operator].make_test(value, "2012-10-17")


@pytest.mark.parametrize("operator", [o for o in OPERATORS if o.startswith(("String", "Arn"))])
@pytest.mark.parametrize("actual", ["", "ana", ANA])
@pytest.mark.parametrize("context", [{}, {"aws:username": ""}], ids=["missing", "empty"])
def test_a_variable_without_value_equals_nothing(operator: str, actual: str, context: dict[str, str]) -> None:
    """As the guide says: a Deny of whoever is not of the same team also denies whoever is of none."""
    test = OPERATORS[operator].make_test("arn:aws:iam::111122223333:user/${aws:username}", "2012-10-17")
    assert test(actual, context) is ("Not" in operator)


@pytest.mark.parametrize(
    ("operator", "passes"),
    [("StringEquals", False), ("StringNotEquals", True), ("StringLike", False), ("StringNotLike", True)],
)
def test_a_wildcard_in_the_value_of_a_variable_is_text(operator: str, *, passes: bool) -> None:
    test = OPERATORS[operator].make_test("${aws:PrincipalTag/team}", "2012-10-17")
    assert test("red", {"aws:principaltag/team": "*"}) is passes
    assert test("*", {"aws:principaltag/team": "*"}) is not passes


OPPOSITES = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "ArnLike": "ArnNotLike",
    "ArnEquals": "ArnNotEquals",
}


@given(st.sampled_from([*OPPOSITES]), st.text("ab*?:", max_size=8), st.text("ab*?:", max_size=8))
def test_opposites(operator: str, value: str, actual: str) -> None:
    wanted = f"arn:::::{value}"
    passes, not_passes = (OPERATORS[o].make_test(wanted, "2012-10-17") for o in (operator, OPPOSITES[operator]))
    assert passes(f"arn:::::{actual}", {}) is not not_passes(f"arn:::::{actual}", {})
