import pytest

from app.policy.errors import InvalidPolicy
from app.policy.patterns import ANY, ONE
from app.policy.variables import parse_template

CONTEXT = {
    "aws:username": "ana",
    "aws:useragent": "",
    "aws:principaltag/team": "red*",
    "aws:principaltag/Team": "Blue",
    "aws:principaltag/price": "${aws:username}",
}

# Each row: text of a policy, and what it says to whom the context describes.
RENDERED: dict[str, tuple[str, str | None]] = {
    "no variable": ("plain", "plain"),
    "a variable": ("home/${aws:username}/x", "home/ana/x"),
    "two variables": ("${aws:username}${aws:username}", "anaana"),
    "keys are not case-sensitive": ("${AWS:UserName}", "ana"),
    "spaces around the key": ("${ aws:username }", "ana"),
    "a tag": ("${aws:PrincipalTag/Team}", "Blue"),
    "a tag in other letters": ("${aws:PrincipalTag/TEAM}", "red*"),
    "a wildcard of the value is text": ("${aws:PrincipalTag/team}", "red*"),
    "a wildcard beside a variable is one": ("*${aws:username}?", f"{ANY}ana{ONE}"),
    "a variable in a value is text": ("${aws:PrincipalTag/price}", "${aws:username}"),
    "an empty value is none": ("[${aws:UserAgent}]", None),
    "a default for an empty value": ("[${aws:UserAgent, 'none'}]", "[none]"),
    "a default that is not needed": ("${aws:username, 'bob'}", "ana"),
    "a default": ("${aws:userid, 'bob'}", "bob"),
    "an empty default": ("[${aws:userid, ''}]", "[]"),
    "a default without space": ("${aws:userid,'bob'}", "bob"),
    "a wildcard in a default is text": ("${aws:userid, '*'}", "*"),
    "no value": ("x${aws:userid}", None),
    "no value beside a value": ("${aws:username}${aws:userid}", None),
    "star": ("${*}", "*"),
    "question mark": ("a${?}b", "a?b"),
    "dollar": ("${$}{aws:username}", "${aws:username}"),
    "a dollar alone": ("$aws:username$", "$aws:username$"),
    "a brace alone": ("{aws:username}", "{aws:username}"),
}


@pytest.mark.parametrize("name", RENDERED)
def test_rendered(name: str) -> None:
    text, expected = RENDERED[name]
    assert parse_template(text, "2012-10-17", wildcards=True).render(CONTEXT) == expected


@pytest.mark.parametrize("text", ["${aws:username}", "${*}", "${", "${$}", "${aws:unheard-of}"])
def test_the_older_language_knows_no_variables(text: str) -> None:
    template = parse_template(text, "2008-10-17", wildcards=False)
    assert template.constant == template.render(CONTEXT) == text


def test_without_wildcards_a_star_is_a_star() -> None:
    assert parse_template("*${aws:username}?", "2012-10-17", wildcards=False).render(CONTEXT) == "*ana?"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("${", "not closed"),
        ("a${aws:username", "not closed"),
        ("${aws:username}${", "not closed"),
        ("${}", "Invalid policy variable"),
        ("${'a'}", "Invalid policy variable"),
        ("${aws:username, bob}", "Invalid policy variable"),
        ("${aws:username, 'bob}", "Invalid policy variable"),
        ("${aws:username, 'bob' x}", "Invalid policy variable"),
        ("${aws:username 'bob'}", "Invalid policy variable"),
        ("${ }", "Unknown condition key ''"),
        ("${aws:usernam}", "Unknown condition key 'aws:usernam'"),
        ("${**}", "Unknown condition key"),
        ("${aws:${aws:username}}", "not closed"),
        ("${aws:TagKeys}", "several values"),
        ("${" + " " * 20_000 + ",x}", "Invalid policy variable"),
        ("${aws:username" + ",' '" * 5_000 + "}", "Invalid policy variable"),
    ],
    ids=lambda text: text[:30],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidPolicy, match=reason):
        parse_template(text, "2012-10-17", wildcards=True)
