import pytest

from app.policy.condition_keys import Context
from app.policy.conditions import parse_condition
from app.policy.errors import InvalidPolicy
from app.policy.operators import OPERATORS

USER: Context = {"aws:username": "ana"}
TAGS: Context = {"aws:tagkeys": ("a", "b")}
NOTHING: Context = {}
NO_TAGS: Context = {"aws:tagkeys": ()}

# Each row: operator, key, values, and of contexts the ones in which the condition holds and the ones in which not.
CASES: list[tuple[str, str, list[str], list[Context], list[Context]]] = [
    ("StringEquals", "aws:username", ["bob", "ana"], [USER], [NOTHING, {"aws:username": "eve"}]),
    ("StringNotEquals", "aws:username", ["bob", "eve"], [USER, NOTHING], [{"aws:username": "eve"}]),
    ("StringEquals", "AWS:UserName", ["ana"], [USER], [NOTHING]),
    ("StringEqualsIfExists", "aws:username", ["ana"], [USER, NOTHING], [{"aws:username": "eve"}]),
    ("StringNotEqualsIfExists", "aws:username", ["ana"], [NOTHING, {"aws:username": "eve"}], [USER]),
    ("ForAllValues:StringEquals", "aws:TagKeys", ["a", "b", "c"], [TAGS, NOTHING, NO_TAGS], [{"aws:tagkeys": ("d",)}]),
    ("ForAllValues:StringEquals", "aws:TagKeys", ["a"], [NOTHING], [TAGS]),
    ("ForAnyValue:StringEquals", "aws:TagKeys", ["a", "z"], [TAGS], [NOTHING, NO_TAGS, {"aws:tagkeys": ("c",)}]),
    ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["a"], [TAGS], [NOTHING, NO_TAGS, {"aws:tagkeys": ("a",)}]),
    ("ForAllValues:StringNotEquals", "aws:TagKeys", ["a"], [NOTHING, {"aws:tagkeys": ("b",)}], [TAGS]),
    ("ForAnyValue:StringNotEquals", "aws:TagKeys", ["a", "b"], [{"aws:tagkeys": ("b", "c")}], [TAGS]),
    ("ForAllValues:StringEqualsIfExists", "aws:TagKeys", ["a"], [NOTHING, NO_TAGS], [TAGS]),
    ("ForAnyValue:StringEqualsIfExists", "aws:TagKeys", ["a"], [NOTHING, NO_TAGS, TAGS], [{"aws:tagkeys": ("c",)}]),
    ("ForAllValues:StringEquals", "aws:username", ["ana"], [USER, NOTHING], [{"aws:username": "eve"}]),
    ("ForAnyValue:StringEquals", "aws:username", ["ana"], [USER], [NOTHING]),
    ("Null", "aws:username", ["true"], [NOTHING], [USER]),
    ("Null", "aws:username", ["FALSE"], [USER], [NOTHING]),
    ("Null", "aws:username", ["true", "false"], [USER, NOTHING], []),
    ("Null", "aws:TagKeys", ["true"], [NOTHING, NO_TAGS], [TAGS]),
    ("Null", "aws:MultiFactorAuthPresent", ["true"], [NOTHING, USER], []),
    ("StringEquals", "aws:ResourceTag/Team", ["red"], [{"aws:resourcetag/team": "red"}], [NOTHING]),
    (
        "StringEquals",
        "aws:ResourceTag/Team",
        ["red"],
        [{"aws:resourcetag/Team": "red", "aws:resourcetag/team": "blue"}],
        [{"aws:resourcetag/Team": "blue", "aws:resourcetag/team": "red"}],
    ),
    ("StringEquals", "aws:username", ["${aws:PrincipalTag/name}"], [{**USER, "aws:principaltag/name": "ana"}], [USER]),
    (
        "StringNotEquals",
        "aws:username",
        ["${aws:PrincipalTag/x, 'ana'}"],
        [{**USER, "aws:principaltag/x": "bob"}],
        [USER],
    ),
    (
        "StringNotEquals",
        "aws:username",
        ["eve", "${aws:PrincipalTag/name}"],
        [NOTHING, USER],
        [{"aws:username": "eve"}],
    ),
    ("NumericNotEquals", "aws:EpochTime", ["5"], [NOTHING, {"aws:epochtime": "6"}], [{"aws:epochtime": "now"}]),
    ("NotIpAddress", "aws:SourceIp", ["10.0.0.0/8"], [NOTHING, {"aws:sourceip": "11.0.0.1"}], [{"aws:sourceip": "?"}]),
    ("DateLessThan", "aws:CurrentTime", ["2026-01-01"], [{"aws:currenttime": "2025-01-01T00:00:00Z"}], [NOTHING]),
    ("Bool", "aws:SecureTransport", ["false"], [{"aws:securetransport": "false"}], [NOTHING]),
    ("BoolIfExists", "aws:MultiFactorAuthPresent", ["true"], [NOTHING], []),
]


@pytest.mark.parametrize(
    ("operator", "key", "values", "holding", "failing"),
    [pytest.param(*case, id=f"{number} {case[0]} {case[1]}") for number, case in enumerate(CASES)],
)
def test_conditions(operator: str, key: str, values: list[str], holding: list[Context], failing: list[Context]) -> None:
    condition = parse_condition(operator, key, values, "2012-10-17")
    assert [context for context in [*holding, *failing] if condition.holds(context)] == holding


GOOD = {
    "Bool": "true",
    "Binary": "cmVk",
    "Ip": "10.0.0.1",
    "Numeric": "5",
    "Date": "2026-01-01",
    "Arn": "arn:*",
    "String": "x",
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_key_passes_the_negated_and_what_asks_whether_it_exists(operator: str) -> None:
    value = next(value for family, value in GOOD.items() if family in operator)
    negated = "Not" in operator

    def holds(name: str) -> bool:
        return parse_condition(name, "aws:username", [value], "2012-10-17").holds({})

    assert holds(operator) is negated
    assert holds(f"{operator}IfExists")
    assert holds(f"ForAllValues:{operator}")
    assert holds(f"ForAllValues:{operator}IfExists")
    assert not holds(f"ForAnyValue:{operator}")
    assert holds(f"ForAnyValue:{operator}IfExists")


@pytest.mark.parametrize("operator", OPERATORS)
def test_garbage_in_a_request_passes_only_what_differs_from_text(operator: str) -> None:
    value = next(value for family, value in GOOD.items() if family in operator)
    condition = parse_condition(operator, "aws:username", [value], "2012-10-17")
    for garbage in [
        "",
        "\0",
        "\u0665",
        "5 ",
        "true\n",
        "10.0.0.1/32",
        "9" * 5000,
        "=" * 9,
        "2026-99-99",
        ":" * 50,
        "%",
        "😀",
    ]:
        assert condition.holds({"aws:username": garbage}) is operator.startswith(("StringNot", "ArnNot"))


@pytest.mark.parametrize(
    ("operator", "key", "reason"),
    [
        ("", "aws:username", "Unknown condition operator ''"),
        ("stringequals", "aws:username", "Unknown condition operator 'stringequals'"),
        ("StringEqual", "aws:username", "Unknown condition operator 'StringEqual'"),
        ("IfExists", "aws:username", "Unknown condition operator 'IfExists'"),
        ("StringEqualsIfExistsIfExists", "aws:username", "Unknown condition operator"),
        ("NullIfExists", "aws:username", "Unknown condition operator 'NullIfExists'"),
        ("ForAllValues:Null", "aws:TagKeys", "Unknown condition operator 'ForAllValues:Null'"),
        ("ForAllValues:", "aws:TagKeys", "Unknown condition operator"),
        ("ForSomeValues:StringEquals", "aws:TagKeys", "Unknown condition operator"),
        (":StringEquals", "aws:TagKeys", "Unknown condition operator ':StringEquals'"),
        ("ForAnyValue:ForAllValues:StringEquals", "aws:TagKeys", "Unknown condition operator"),
        ("StringEquals", "aws:TagKeys", "aws:TagKeys has several values and needs ForAllValues or ForAnyValue"),
        ("StringEqualsIfExists", "aws:TagKeys", "aws:TagKeys has several values"),
        ("StringEquals", "aws:user", "Unknown condition key 'aws:user'"),
        ("Null", "aws:user", "Unknown condition key 'aws:user'"),
        ("Null", "aws:username", "Null takes true or false, not 'x'"),
        ("Bool", "aws:SecureTransport", "'x' is not a valid value"),
    ],
    ids=lambda text: text[:40],
)
def test_refused(operator: str, key: str, reason: str) -> None:
    with pytest.raises(InvalidPolicy, match=reason):
        parse_condition(operator, key, ["x"], "2012-10-17")
