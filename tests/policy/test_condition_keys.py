import pytest

from app.policy.condition_keys import (
    MULTIVALUED,
    NEVER_PRESENT,
    SINGLE_VALUED,
    TAGS,
    parse_condition_key,
    tag_context,
)
from app.policy.errors import InvalidPolicy


@pytest.mark.parametrize("name", sorted(SINGLE_VALUED | NEVER_PRESENT))
def test_names_are_not_case_sensitive(name: str) -> None:
    assert parse_condition_key(name.upper()).value({name: "x"}) == "x"
    assert parse_condition_key(name).value({}) is None


@pytest.mark.parametrize("name", sorted(MULTIVALUED))
def test_several_values(name: str) -> None:
    key = parse_condition_key(name)
    assert key.multivalued
    assert key.value({name: ("a", "b")}) == ("a", "b")
    assert key.value({name: ()}) is None


@pytest.mark.parametrize("name", ["", "aws:", "aws:usernames", "username", "s3:prefix", "kms:ViaService", *TAGS])
def test_unknown_keys_are_refused(name: str) -> None:
    with pytest.raises(InvalidPolicy, match="Unknown condition key"):
        parse_condition_key(name)


# Each row: the tags there are, the tag that a policy names, and its value.
BY_CASE: dict[str, tuple[dict[str, str], str, str | None]] = {
    "as written": ({"Team": "red"}, "Team", "red"),
    "in other letters": ({"Team": "red"}, "TEAM", "red"),
    "in small letters": ({"Team": "red"}, "team", "red"),
    "the one as written among several": ({"team": "1", "Team": "2", "TEAM": "3"}, "Team", "2"),
    "the small one among several": ({"team": "1", "Team": "2", "TEAM": "3"}, "team", "1"),
    "none as written among several": ({"Team": "2", "TEAM": "3"}, "tEAM", "3"),
    "another": ({"Team": "red"}, "Teams", None),
    "an empty value": ({"Team": ""}, "team", ""),
    "a slash": ({"a/B": "red"}, "A/b", "red"),
    "no ASCII": ({"ΟΔΟΣ": "red"}, "οδοσ", None),
    "no ASCII in small letters": ({"ΟΔΟΣ": "red"}, "οδος", "red"),
    "longer in small letters": ({"İ": "red"}, "İ", "red"),
}


@pytest.mark.parametrize("prefix", TAGS)
@pytest.mark.parametrize("name", BY_CASE)
def test_tags(prefix: str, name: str) -> None:
    tags, written, expected = BY_CASE[name]
    assert parse_condition_key(prefix.upper() + written).value(tag_context(prefix, tags)) == expected
