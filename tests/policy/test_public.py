import json
from typing import Any

import pytest

from app.policy.document import parse_policy
from app.policy.public import public_statement

Condition = dict[str, dict[str, Any]]

ANA = "arn:aws:iam::111122223333:user/ana"

# Each row: a condition under which everyone is allowed, and whether the policy is public nevertheless.
CONDITIONS: dict[str, tuple[Condition, bool]] = {
    "none": ({}, True),
    "an account": ({"StringEquals": {"aws:PrincipalAccount": "111122223333"}}, False),
    "several accounts": ({"StringEquals": {"aws:PrincipalAccount": ["111122223333", "444455556666"]}}, False),
    "any account": ({"StringLike": {"aws:PrincipalAccount": "*"}}, True),
    "an account, or any": ({"StringLike": {"aws:PrincipalAccount": ["111122223333", "*"]}}, True),
    "an account, if it is known": ({"StringEqualsIfExists": {"aws:PrincipalAccount": "111122223333"}}, True),
    "another account": ({"StringNotEquals": {"aws:PrincipalAccount": "111122223333"}}, True),
    "all of no accounts": ({"ForAllValues:StringEquals": {"aws:PrincipalAccount": "111122223333"}}, True),
    "any of some accounts": ({"ForAnyValue:StringEquals": {"aws:PrincipalAccount": "111122223333"}}, False),
    "a user": ({"ArnEquals": {"aws:PrincipalArn": ANA}}, False),
    "a pattern of users": ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::111122223333:user/*"}}, True),
    "whom a variable names": ({"StringEquals": {"aws:PrincipalArn": "${aws:PrincipalArn}"}}, True),
    "an id": ({"StringEquals": {"aws:userid": "AIDA1"}}, False),
    "a tag": ({"StringEquals": {"aws:PrincipalTag/team": "red"}}, True),
    "a name that every account may give": ({"StringEquals": {"aws:username": "ana"}}, True),
    "an account by its presence": ({"Null": {"aws:PrincipalAccount": "false"}}, True),
    "TLS": ({"Bool": {"aws:SecureTransport": "true"}}, True),
    "a network": ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"]}}, False),
    "an address": ({"IpAddress": {"aws:SourceIp": "10.0.0.1"}}, False),
    "the internet": ({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}, True),
    "half of the internet": ({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "128.0.0.0/7"]}}, True),
    "IPv6 at large": ({"IpAddress": {"aws:SourceIp": "2000::/31"}}, True),
    "an address, if it is known": ({"IpAddressIfExists": {"aws:SourceIp": "10.0.0.1"}}, True),
    "all but a network": ({"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, True),
    "an address of something else": ({"IpAddress": {"aws:UserAgent": "10.0.0.1"}}, True),
    "one that narrows beside one that does not": (
        {"Bool": {"aws:SecureTransport": "true"}, "IpAddress": {"aws:SourceIp": "10.0.0.1"}},
        False,
    ),
}

# Each row: elements of a statement in place of those that let everyone in.
PRIVATE: dict[str, dict[str, Any]] = {
    "an account": {"Principal": {"AWS": "111122223333"}},
    "a user": {"Principal": {"AWS": ANA}},
    "nobody": {"Effect": "Deny"},
}


def is_public(**elements: Any) -> bool:
    allow = {"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"} | elements
    deny = {"Sid": "y", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}
    found = public_statement(parse_policy(json.dumps({"Statement": [deny, allow]}), "bucket"))
    assert found is None or found.sid == "x"
    return found is not None


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("everyone", ["*", {"AWS": "*"}, {"AWS": ["111122223333", "*"]}], ids=str)
def test_everyone_under_a_condition(everyone: Any, name: str) -> None:
    condition, public = CONDITIONS[name]
    assert is_public(Principal=everyone, Condition=condition) is public


@pytest.mark.parametrize("name", PRIVATE)
def test_others_are_not_everyone(name: str) -> None:
    assert not is_public(**PRIVATE[name])
