import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.policy.actions import ACTIONS
from app.policy.document import Kind, parse_policy
from app.policy.errors import InvalidPolicy

ARN = "arn:aws:s3vectors:us-east-1:111122223333:bucket/books"
STATEMENT = '"Effect": "Allow", "Action": "s3vectors:GetIndex", "Resource": "*"'
EVERYONE = {"Principal": "*"}


def document(*left_out: str, kind: Kind = "identity", **elements: Any) -> str:
    """Of one statement, with these elements in place of the usual ones."""
    statement = {"Effect": "Allow", "Action": "s3vectors:GetIndex", "Resource": "*"} | elements
    if kind == "bucket":
        statement = EVERYONE | statement
    kept = {name: value for name, value in statement.items() if name not in left_out}
    return json.dumps({"Version": "2012-10-17", "Statement": kept})


def condition(operator: str, key: str, value: Any) -> str:
    return document(Condition={operator: {key: value}})


def refused(text: str, kind: Kind) -> str:
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text, kind)
    return str(caught.value)


# Each row: a document that is not JSON as it should be, and the reason.
MALFORMED: dict[str, tuple[str, str]] = {
    "nothing": ("", "Policy is not valid JSON"),
    "a word": ("policy", "Policy is not valid JSON"),
    "half a document": (f'{{"Statement": {{{STATEMENT}}}', "Policy is not valid JSON"),
    "more than a document": (f'{{"Statement": {{{STATEMENT}}}}} x', "Policy is not valid JSON"),
    "a comment": (f'/**/{{"Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "a byte order mark": (f'\ufeff{{"Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "NaN": (f'{{"Id": NaN, "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "a number with a zero in front": (f'{{"Id": 01, "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "a number out of range": (f'{{"Id": 1e999, "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "a number of 6000 digits": (f'{{"Id": {"1" * 6000}, "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "a line break in a string": (f'{{"Id": "\n", "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "an escape of half a character": (f'{{"Id": "\\ud800", "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "half a character": (f'{{"Id": "\ud800", "Statement": {{{STATEMENT}}}}}', "Policy is not valid JSON"),
    "a null character": (f'{{"Id": "\0", "Statement": {{{STATEMENT}}}}}', "Policy must not contain the null character"),
    "deep lists": ("[" * 9_000 + "]" * 9_000, "Policy is not valid JSON"),
    "deep objects": ('{"a":' * 3_000 + "1" + "}" * 3_000, "Policy is not valid JSON"),
    "deep lists in a statement": (f'{{"Statement": {"[" * 5_000}{"]" * 5_000}}}', "Policy is not valid JSON"),
    "a list": (f"[{{{STATEMENT}}}]", "Policy is not a JSON object"),
    "a string": ('"policy"', "Policy is not a JSON object"),
    "null": ("null", "Policy is not a JSON object"),
    "more than 20 KiB": (document(Sid="x" * 20_480), "Policy must have at most 20480 bytes"),
    "more than 20 KiB of spaces": (document() + " " * 20_480, "Policy must have at most 20480 bytes"),
    "more than 20 KiB in bytes": (
        document(Sid="").replace("Sid", "é" * 10_300),
        "Policy must have at most 20480 bytes",
    ),
    "a repeated element": (f'{{"Id": "a", "Id": "b", "Statement": {{{STATEMENT}}}}}', "must not repeat a key"),
    "a repeated element of a statement": (
        f'{{"Statement": {{{STATEMENT}, "Effect": "Deny"}}}}',
        "must not repeat a key",
    ),
    "one repeated in an escape": (f'{{"Statement": {{{STATEMENT}, "\\u0045ffect": "Deny"}}}}', "must not repeat a key"),
    "a repeated operator": (
        f'{{"Statement": {{{STATEMENT}, "Condition": {{"Null": {{"aws:userid": "true"}}, "Null": {{}}}}}}}}',
        "must not repeat a key",
    ),
    "a repeated condition key": (
        f'{{"Statement": {{{STATEMENT}, "Condition": {{"Null": {{"aws:userid": true, "aws:userid": false}}}}}}}}',
        "must not repeat a key",
    ),
    "a repeated principal": (
        f'{{"Statement": {{{STATEMENT}, "Principal": {{"AWS": "*", "AWS": "111122223333"}}}}}}',
        "must not repeat a key",
    ),
}

# Each row: a document of either kind, and the reason.
MISTAKEN: dict[str, tuple[str, str]] = {
    "no statement": ('{"Version": "2012-10-17"}', "Policy must have a Statement"),
    "no statements": ('{"Statement": []}', "Policy must have a Statement"),
    "null for a statement": ('{"Statement": null}', "Policy must have a Statement"),
    "a string for a statement": ('{"Statement": "all"}', "Statement 1: must be an object"),
    "null among statements": (f'{{"Statement": [{{{STATEMENT}, "Principal": "*"}}, null]}}', "Statement "),
    "a list of lists": (f'{{"Statement": [[{{{STATEMENT}}}]]}}', "Statement 1: must be an object"),
    "an empty statement": ('{"Statement": {}}', "Statement 1: Effect must be Allow or Deny"),
    "an unknown element": (f'{{"Statements": {{{STATEMENT}}}}}', "Unknown element 'Statements'"),
    "an element in small letters": (f'{{"statement": {{{STATEMENT}}}}}', "Unknown element 'statement'"),
    "an unknown version": ('{"Version": "2012-10-18", "Statement": {}}', "Version must be 2012-10-17 or 2008-10-17"),
    "null for a version": ('{"Version": null, "Statement": {}}', "Version must be 2012-10-17 or 2008-10-17"),
    "a list of versions": ('{"Version": ["2012-10-17"], "Statement": {}}', "Version must be 2012-10-17 or 2008-10-17"),
    "a number for an id": (f'{{"Id": 5, "Statement": {{{STATEMENT}}}}}', "Id must be a string"),
    "null for an id": (f'{{"Id": null, "Statement": {{{STATEMENT}}}}}', "Id must be a string"),
    "an unknown element of a statement": (document(Actions="*"), "Statement 1: Unknown element 'Actions'"),
    "no effect": (document("Effect"), "Statement 1: Effect must be Allow or Deny"),
    "an effect in small letters": (document(Effect="allow"), "Statement 1: Effect must be Allow or Deny"),
    "a list of effects": (document(Effect=["Allow"]), "Statement 1: Effect must be Allow or Deny"),
}

# Each row: an identity policy, and a part of the reason.
REFUSED: dict[str, tuple[str, str]] = {
    "a number for a sid": (document(Sid=5), "Sid must be a string"),
    "no action": (document("Action"), "There must be Action or NotAction, and not both"),
    "both kinds of action": (document(NotAction="*"), "There must be Action or NotAction, and not both"),
    "an empty list of actions": (document(Action=[]), "Action must be a string or a list of strings"),
    "a number for an action": (document(Action=5), "Action must be a string or a list of strings"),
    "null among actions": (document(Action=["*", None]), "Action must be a string or a list of strings"),
    "an object for an action": (document(Action={"s3vectors": "*"}), "Action must be a string or a list of strings"),
    "an unknown action": (document(Action="s3vectors:GetIndices"), "Unknown action 's3vectors:GetIndices'"),
    "one among known ones": (document(Action=["*", "s3vectors:Got*"]), "Unknown action 's3vectors:Got*'"),
    "an unknown action that is not": (document("Action", NotAction="s3vectors:Got"), "Unknown action 's3vectors:Got'"),
    "an action without name": (document(Action="s3vectors:"), "Unknown action 's3vectors:'"),
    "an action of two colons": (document(Action="s3vectors:Get:Index"), "Unknown action 's3vectors:Get:Index'"),
    "an action without vendor": (document(Action="GetIndex"), "Action 'GetIndex' is not one of s3vectors"),
    "an action of a foreign vendor": (document(Action="s3:GetObject"), "Action 's3:GetObject' is not one of s3vectors"),
    "an action of several vendors": (document(Action="s3*:*"), "Action 's3*:*' is not one of s3vectors"),
    "an empty action": (document(Action=""), "Action '' is not one of s3vectors"),
    "no resource": (document("Resource"), "There must be Resource or NotResource, and not both"),
    "both kinds of resource": (document(NotResource="*"), "There must be Resource or NotResource, and not both"),
    "an empty list of resources": (document(Resource=[]), "Resource must be a string or a list of strings"),
    "a number for a resource": (document(Resource=5), "Resource must be a string or a list of strings"),
    "a name for a resource": (document(Resource="books"), "Resource 'books' is not an ARN of s3vectors"),
    "a foreign resource": (document(Resource="arn:aws:s3:::b"), "Resource 'arn:aws:s3:::b' is not an ARN of s3vectors"),
    "any vendor's resource": (document(Resource="arn:aws:*:*:*:*"), "Resource 'arn:aws:*:*:*:*' is not an ARN of"),
    "stars": (document(Resource="**"), "Resource '**' is not an ARN of s3vectors"),
    "a short resource": (document(Resource="arn:aws:s3vectors:*:bucket/b"), "An ARN must have six parts or end in *"),
    "an unclosed variable": (document(Resource=ARN + "/${aws:userid"), "Policy variable is not closed in"),
    "an unknown variable": (document(Resource=ARN + "/${aws:user}"), "Unknown condition key 'aws:user'"),
    "a variable of several values": (document(Resource=ARN + "/${aws:TagKeys}"), "aws:TagKeys has several values"),
    "a variable for the account": (
        document(Resource="arn:aws:s3vectors:us-east-1:${aws:PrincipalAccount}:bucket/*"),
        "Policy variables must stand behind the fifth colon",
    ),
    "a variable behind a default's colons": (
        document(Resource="arn:aws:s3vectors:${aws:userid, ':::'}:bucket/*"),
        "Policy variables must stand behind the fifth colon",
    ),
    "a list of conditions": (document(Condition=[]), "Condition must be an object"),
    "null for a condition": (document(Condition=None), "Condition must be an object"),
    "a key for an operator": (document(Condition={"aws:userid": "x"}), "Condition aws:userid must be an object"),
    "an operator without keys": (document(Condition={"Bool": {}}), "Condition Bool must be an object and name a key"),
    "an unknown operator": (condition("StringIs", "aws:userid", "x"), "Unknown condition operator 'StringIs'"),
    "an unknown condition key": (condition("StringLike", "aws:user", "x"), "Unknown condition key 'aws:user'"),
    "a foreign condition key": (condition("StringLike", "s3:prefix", "x"), "Unknown condition key 's3:prefix'"),
    "several values without for all": (condition("StringLike", "aws:TagKeys", "x"), "aws:TagKeys has several values"),
    "no values": (condition("StringLike", "aws:userid", []), "values must be strings, numbers or booleans"),
    "null for a value": (condition("StringLike", "aws:userid", None), "values must be strings, numbers or booleans"),
    "a list in a list of values": (condition("StringLike", "aws:userid", [["x"]]), "values must be strings, numbers"),
    "an object for a value": (condition("StringLike", "aws:userid", {}), "values must be strings, numbers or booleans"),
    "a bad date": (condition("DateEquals", "aws:CurrentTime", "soon"), "'soon' is not a valid value"),
    "a bad network": (condition("IpAddress", "aws:SourceIp", "10.0.0.0/33"), "'10.0.0.0/33' is not a valid value"),
    "a number for a network": (condition("IpAddress", "aws:SourceIp", 10), "'10' is not a valid value"),
    "a number with an exponent": (condition("NumericEquals", "aws:EpochTime", "1e1"), "'1e1' is not a valid value"),
    "a JSON number with an exponent": (
        document(Condition={"NumericEquals": {"aws:EpochTime": 0}}).replace("0}}", "1e1}}"),
        "'1e1' is not a valid value",
    ),
    "a number for a boolean": (condition("Bool", "aws:SecureTransport", 1), "'1' is not a valid value"),
    "bad base64": (condition("BinaryEquals", "aws:userid", "cmV"), "'cmV' is not a valid value"),
    "a bad ARN": (condition("ArnLike", "aws:PrincipalArn", "ana"), "An ARN must have six parts or end in *"),
    "a word for null": (condition("Null", "aws:userid", "yes"), "Null takes true or false, not 'yes'"),
    "an unclosed one in a condition": (
        condition("StringLike", "aws:userid", "${x"),
        "Policy variable is not closed",
    ),
    "a principal": (document(Principal="*"), "Principal is not an element of identity policies"),
    "a principal that is not": (document(NotPrincipal="*"), "Principal is not an element of identity policies"),
}

# Each row: what stands for Principal in a bucket policy, and the reason after `Statement 1: `.
PRINCIPALS: dict[str, tuple[dict[str, Any], str]] = {
    "a user's name": ({"Principal": {"AWS": "ana"}}, "Invalid principal 'ana'"),
    "a short account": ({"Principal": {"AWS": "11112222333"}}, "Invalid principal '11112222333'"),
    "a number": ({"Principal": {"AWS": 111122223333}}, "Principal must be a string or a list of strings"),
    "an ARN of nobody": ({"Principal": {"AWS": "arn:aws:iam::111122223333:"}}, "Invalid principal"),
    "a group": ({"Principal": {"AWS": "arn:aws:iam::111122223333:group/g"}}, "Invalid principal"),
    "users by wildcard": ({"Principal": {"AWS": "arn:aws:iam::111122223333:user/*"}}, "Invalid principal"),
    "accounts by wildcard": ({"Principal": {"AWS": "arn:aws:iam::*:root"}}, "Invalid principal"),
    "a user with a line break": ({"Principal": {"AWS": "arn:aws:iam::111122223333:user/a\n"}}, "Invalid principal"),
    "a variable": ({"Principal": {"AWS": "${aws:PrincipalArn}"}}, "Invalid principal"),
    "nobody": ({"Principal": {"AWS": []}}, "Principal must be a string or a list of strings"),
    "null": ({"Principal": None}, 'Principal must be "*" or {"AWS": ...}'),
    "an ARN outside of AWS": ({"Principal": "arn:aws:iam::111122223333:root"}, 'Principal must be "*" or {"AWS": ...}'),
    "a list outside of AWS": ({"Principal": ["*"]}, 'Principal must be "*" or {"AWS": ...}'),
    "no kind": ({"Principal": {}}, 'Principal must be "*" or {"AWS": ...}'),
    "a service": ({"Principal": {"Service": "s3.amazonaws.com"}}, 'Principal must be "*" or {"AWS": ...}'),
    "two kinds": ({"Principal": {"AWS": "*", "Service": "s3"}}, 'Principal must be "*" or {"AWS": ...}'),
    "both elements": ({"NotPrincipal": "*", "Effect": "Deny"}, "There must be Principal or NotPrincipal, and not both"),
}


@pytest.mark.parametrize("kind", ["identity", "bucket"])
@pytest.mark.parametrize("name", MALFORMED | MISTAKEN)
def test_refused_of_either_kind(name: str, kind: Kind) -> None:
    text, reason = (MALFORMED | MISTAKEN)[name]
    assert reason in refused(text, kind)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, reason = REFUSED[name]
    where, told = refused(text, "identity").split(": ", 1)
    assert where == "Statement 1"
    assert reason in told


@pytest.mark.parametrize("name", PRINCIPALS)
def test_principals_refused_in_a_bucket_policy(name: str) -> None:
    elements, reason = PRINCIPALS[name]
    assert refused(document(kind="bucket", **elements), "bucket").startswith(f"Statement 1: {reason}")


def test_a_bucket_policy_speaks_of_somebody() -> None:
    assert refused(document(), "bucket") == "Statement 1: There must be Principal or NotPrincipal, and not both"


def test_all_but_somebody_can_only_be_denied() -> None:
    allow = document("Principal", kind="bucket", NotPrincipal={"AWS": "111122223333"})
    assert refused(allow, "bucket") == "Statement 1: NotPrincipal must be used with Deny"
    assert parse_policy(allow.replace("Allow", "Deny"), "bucket").statements[0].except_principals


def test_statements_are_told_apart_by_sid() -> None:
    twice = f'{{"Statement": [{{{STATEMENT}, "Sid": "a"}}, {{{STATEMENT}, "Sid": "a"}}]}}'
    assert refused(twice, "identity") == "Statement ids (Sid) must be unique"
    assert len(parse_policy(twice.replace('"a"', '""'), "identity").statements) == 2
    assert len(parse_policy(twice.replace('"a"', '"b"', 1), "identity").statements) == 2


def test_a_mistake_is_told_with_its_statement() -> None:
    text = f'{{"Statement": [{{{STATEMENT}}}, {{{STATEMENT}, "Sid": 5}}]}}'
    assert refused(text, "identity") == "Statement 2: Sid must be a string"


# Each row: a policy after those of Amazon's guides, and the actions that it speaks of.
ACCEPTED: dict[str, tuple[Kind, Any, set[str]]] = {
    "everything": ("identity", {"Effect": "Allow", "Action": "*", "Resource": "*"}, {*ACTIONS}),
    "everything of vectors": ("identity", {"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}, {*ACTIONS}),
    "listing": (
        "identity",
        {"Effect": "Allow", "Action": ["s3vectors:List*"], "Resource": "*"},
        {"ListIndexes", "ListTagsForResource", "ListVectorBuckets", "ListVectors"},
    ),
    "one index, to query": (
        "identity",
        {
            "Sid": "Query",
            "Effect": "Allow",
            "Action": ["s3vectors:QueryVectors", "s3vectors:GetVectors"],
            "Resource": f"{ARN}/index/novels",
        },
        {"QueryVectors", "GetVectors"},
    ),
    "an index of one's own": (
        "identity",
        [{"Effect": "Allow", "Action": "s3vectors:putvectors", "Resource": f"{ARN}/index/${{aws:username}}"}],
        {"PutVectors"},
    ),
    "creation with a key of one's own only": (
        "identity",
        {
            "Effect": "Allow",
            "Action": "s3vectors:CreateVectorBucket",
            "Resource": "arn:aws:s3vectors:*:111122223333:bucket/*",
            "Condition": {
                "StringEquals": {"s3vectors:sseType": "aws:kms"},
                "ArnLike": {"s3vectors:kmsKeyArn": "arn:aws:kms:*:111122223333:key/*"},
            },
        },
        {"CreateVectorBucket"},
    ),
    "tags": (
        "identity",
        {
            "Effect": "Allow",
            "Action": ["s3vectors:TagResource", "s3vectors:UntagResource"],
            "Resource": "*",
            "Condition": {
                "StringEquals": {"aws:ResourceTag/Department": "${aws:PrincipalTag/Department, 'none'}"},
                "ForAllValues:StringLike": {"aws:TagKeys": ["cost*", "team"]},
                "Null": {"aws:TagKeys": False},
            },
        },
        {"TagResource", "UntagResource"},
    ),
    "another account, to read": (
        "bucket",
        {
            "Effect": "Allow",
            "Principal": {"AWS": ["444455556666", "arn:aws:iam::111122223333:user/readers/ana"]},
            "Action": ["s3vectors:GetIndex", "s3vectors:QueryVectors"],
            "Resource": [ARN, f"{ARN}/*"],
        },
        {"GetIndex", "QueryVectors"},
    ),
    "nobody without TLS": (
        "bucket",
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3vectors:*",
            "Resource": f"{ARN}*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
        {*ACTIONS},
    ),
    "nobody from elsewhere": (
        "bucket",
        {
            "Effect": "Deny",
            "NotPrincipal": {"AWS": ["arn:aws:iam::111122223333:role/admin", "arn:aws:iam::111122223333:root"]},
            "NotAction": "s3vectors:Get*",
            "NotResource": f"{ARN}/index/public",
            "Condition": {
                "NotIpAddressIfExists": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]},
                "NumericGreaterThan": {"aws:MultiFactorAuthAge": [3600, 1.5]},
                "DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
            },
        },
        {action for action in ACTIONS if not action.startswith("Get")},
    ),
    "nothing": ("identity", {"Effect": "Deny", "NotAction": "*", "Resource": "*"}, set()),
}


@pytest.mark.parametrize("version", [{"Version": "2012-10-17"}, {"Version": "2008-10-17", "Id": "x"}, {}])
@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(name: str, version: dict[str, str]) -> None:
    kind, found, actions = ACCEPTED[name]
    [statement] = parse_policy(json.dumps({**version, "Statement": found}), kind).statements
    assert statement.actions == actions


def test_20_kib_are_accepted() -> None:
    text = document()
    assert parse_policy(text + " " * (20_480 - len(text)), "identity").statements


kinds = st.sampled_from(["identity", "bucket"])
keys = st.sampled_from([
    "Version",
    "Id",
    "Statement",
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Principal",
    "NotPrincipal",
    "Condition",
    "AWS",
])  # fmt: skip
words = st.sampled_from(
    ["2012-10-17", "Allow", "Deny", "*", "s3vectors:*", ARN, "StringLike", "Null", "aws:userid", "true", "${"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | words | st.text(max_size=5), inner, max_size=5),
)
conditions = st.dictionaries(words, st.dictionaries(words | st.just("aws:username"), values, max_size=2), max_size=2)
statements = st.fixed_dictionaries(
    {"Effect": st.sampled_from(["Allow", "Deny"]), "Action": st.just("*") | values, "Resource": st.just("*") | values},
    optional={"Sid": values, "Condition": conditions | values, "Principal": st.just("*") | values},
)


@given(kinds, st.text(st.characters(codec=None)) | st.text('{}[]",:\\uD8x0', max_size=40))
def test_any_text_is_parsed_or_refused(kind: Kind, text: str) -> None:
    with pytest.raises(InvalidPolicy):
        parse_policy(text, kind)


@given(kinds, values | st.fixed_dictionaries({"Statement": statements | values}, optional={"Version": words | values}))
def test_any_json_is_parsed_or_refused(kind: Kind, found: Any) -> None:
    with suppress(InvalidPolicy):
        assert parse_policy(json.dumps(found), kind).statements
