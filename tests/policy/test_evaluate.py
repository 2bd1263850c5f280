import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.policy.condition_keys import SINGLE_VALUED
from app.policy.document import parse_policy
from app.policy.evaluate import Allow, Decision, ExplicitDeny, ImplicitDeny, evaluate
from app.policy.principals import Principal, root_user
from app.policy.statements import AccessRequest, Statement
from tests.policy.cases import (
    BUCKET,
    INDEX,
    OWNER,
    STRANGER,
    USER_IDS,
    Case,
    Document,
    case,
    context_of,
    decision,
    user,
)

ANA, EVE, ROOT, FOREIGN_ROOT = user(OWNER, "ana"), user(STRANGER, "ana"), root_user(OWNER), root_user(STRANGER)
SUCCESSOR = Principal(ANA.arn, OWNER, "AIDAANOTHER", "ana")

ALLOW: Document = {"Effect": "Allow", "Action": "*", "Resource": "*"}
DENY = ALLOW | {"Effect": "Deny"}


def to(*principals: str) -> Document:
    return {"Principal": {"AWS": [*principals]}}


def all_but(*principals: str) -> Document:
    return DENY | {"NotPrincipal": {"AWS": [*principals]}}


def decide(principal: Principal, identity: Document | None, bucket: Document | None, **asked: Any) -> Decision:
    of = Case(
        identity=[{"Version": "2012-10-17", "Statement": identity}] if identity else [],
        bucket={"Version": "2012-10-17", "Statement": bucket} if bucket else None,
        principal=principal,
        action=asked.get("action", "GetIndex"),
        resource=asked.get("resource", INDEX),
        context=context_of(principal) | asked.get("context", {}),
    )
    return decision(of)


ALLOWED_BY_IDENTITY, ALLOWED_BY_BUCKET = (Allow, "identity-based"), (Allow, "resource-based")
DENIED_BY_IDENTITY, DENIED_BY_BUCKET = (ExplicitDeny, "identity-based"), (ExplicitDeny, "resource-based")
IDENTITY_MISSING, BUCKET_MISSING = (ImplicitDeny, "identity-based"), (ImplicitDeny, "resource-based")

# Each row: who asks for an index of the owner, an identity policy, a bucket policy, and the decision.
CASES: dict[str, tuple[Principal, Document | None, Document | None, tuple[type[Decision], str]]] = {
    "no policy": (ANA, None, None, IDENTITY_MISSING),
    "an identity policy is enough": (ANA, ALLOW, None, ALLOWED_BY_IDENTITY),
    "the bucket's word for a user is enough": (ANA, None, ALLOW | to(ANA.arn), ALLOWED_BY_BUCKET),
    "and for everyone": (ANA, None, ALLOW | {"Principal": "*"}, ALLOWED_BY_BUCKET),
    "the account only hands on": (ANA, None, ALLOW | to(OWNER), IDENTITY_MISSING),
    "so does its root user": (ANA, None, ALLOW | to(ROOT.arn), IDENTITY_MISSING),
    "the account beside the user": (ANA, None, ALLOW | to(OWNER, ANA.arn), ALLOWED_BY_BUCKET),
    "another user": (ANA, None, ALLOW | to(user(OWNER, "bob").arn), IDENTITY_MISSING),
    "a user of this name elsewhere": (ANA, None, ALLOW | to(EVE.arn), IDENTITY_MISSING),
    "a role of this name": (ANA, None, ALLOW | to(f"arn:aws:iam::{OWNER}:role/ana"), IDENTITY_MISSING),
    "a successor of the same name": (SUCCESSOR, None, ALLOW | to(ANA.arn), IDENTITY_MISSING),
    "who gets what everyone gets": (SUCCESSOR, None, ALLOW | to(ANA.arn, "*"), ALLOWED_BY_BUCKET),
    "a denial by identity": (ANA, DENY, ALLOW | to(ANA.arn), DENIED_BY_IDENTITY),
    "a denial by the bucket": (ANA, ALLOW, DENY | to(ANA.arn), DENIED_BY_BUCKET),
    "a denial for the account": (ANA, ALLOW, DENY | to(OWNER), DENIED_BY_BUCKET),
    "a denial for everyone": (ANA, ALLOW, DENY | {"Principal": "*"}, DENIED_BY_BUCKET),
    "a denial for somebody else": (ANA, ALLOW, DENY | to(EVE.arn, STRANGER), ALLOWED_BY_IDENTITY),
    "a denial is not for the successor": (SUCCESSOR, ALLOW, DENY | to(ANA.arn), ALLOWED_BY_IDENTITY),
    "of both denials the identity's is told": (ANA, DENY, DENY | {"Principal": "*"}, DENIED_BY_IDENTITY),
    "a listed user escapes": (ANA, ALLOW, all_but(ANA.arn), ALLOWED_BY_IDENTITY),
    "a user of a listed account escapes": (ANA, ALLOW, all_but(OWNER), ALLOWED_BY_IDENTITY),
    "everyone escapes": (ANA, ALLOW, all_but("*"), ALLOWED_BY_IDENTITY),
    "a user who is not listed does not": (ANA, ALLOW, all_but(EVE.arn, STRANGER), DENIED_BY_BUCKET),
    "nor does a successor": (SUCCESSOR, ALLOW, all_but(ANA.arn), DENIED_BY_BUCKET),
    "nor by a role": (ANA, ALLOW, all_but(f"arn:aws:iam::{OWNER}:role/ana"), DENIED_BY_BUCKET),
    "nor does the root user by another's name": (ROOT, None, all_but(ANA.arn), DENIED_BY_BUCKET),
    "root needs no policy": (ROOT, None, None, ALLOWED_BY_IDENTITY),
    "root is denied like everyone": (ROOT, None, DENY | {"Principal": "*"}, DENIED_BY_BUCKET),
    "root is denied by account": (ROOT, None, DENY | to(OWNER), DENIED_BY_BUCKET),
    "root is not denied by a user's name": (ROOT, None, DENY | to(ANA.arn), ALLOWED_BY_IDENTITY),
    "a stranger without bucket policy": (EVE, ALLOW, None, BUCKET_MISSING),
    "a stranger without identity policy": (EVE, None, ALLOW | {"Principal": "*"}, IDENTITY_MISSING),
    "a stranger with both": (EVE, ALLOW, ALLOW | to(EVE.arn), ALLOWED_BY_BUCKET),
    "a stranger by account": (EVE, ALLOW, ALLOW | to(STRANGER), ALLOWED_BY_BUCKET),
    "a stranger by the account's root user": (EVE, ALLOW, ALLOW | to(FOREIGN_ROOT.arn), ALLOWED_BY_BUCKET),
    "a stranger among everyone": (EVE, ALLOW, ALLOW | {"Principal": "*"}, ALLOWED_BY_BUCKET),
    "a stranger who is not named": (EVE, ALLOW, ALLOW | to(ANA.arn, OWNER), BUCKET_MISSING),
    "a stranger who is denied at home": (EVE, DENY, ALLOW | to(EVE.arn), DENIED_BY_IDENTITY),
    "a foreign root user": (FOREIGN_ROOT, None, None, BUCKET_MISSING),
    "a foreign root user who is named": (FOREIGN_ROOT, None, ALLOW | to(STRANGER), ALLOWED_BY_BUCKET),
    "a foreign root user by a user's name": (FOREIGN_ROOT, None, ALLOW | to(EVE.arn), BUCKET_MISSING),
    "another action": (ANA, ALLOW | {"Action": "s3vectors:GetVectors"}, None, IDENTITY_MISSING),
    "an action in small letters": (ANA, ALLOW | {"Action": "S3VECTORS:getindex"}, None, ALLOWED_BY_IDENTITY),
    "the bucket of the index": (ANA, ALLOW | {"Resource": BUCKET}, None, IDENTITY_MISSING),
    "what is in the bucket": (ANA, ALLOW | {"Resource": f"{BUCKET}/*"}, None, ALLOWED_BY_IDENTITY),
    "a resource in capitals": (ANA, ALLOW | {"Resource": INDEX.replace("novels", "Novels")}, None, IDENTITY_MISSING),
    "an index by one's name": (ANA, ALLOW | {"Resource": f"{BUCKET}/index/${{aws:username}}"}, None, IDENTITY_MISSING),
    "an index by its own name": (
        user(OWNER, "novels"),
        ALLOW | {"Resource": f"{BUCKET}/index/${{aws:username}}"},
        None,
        ALLOWED_BY_IDENTITY,
    ),
    "under a condition that holds": (
        ANA,
        ALLOW | {"Condition": {"StringEquals": {"aws:username": "ana"}, "Null": {"aws:userid": "false"}}},
        None,
        ALLOWED_BY_IDENTITY,
    ),
    "under two of which one does not": (
        ANA,
        ALLOW | {"Condition": {"StringEquals": {"aws:username": "ana", "aws:userid": "ana"}}},
        None,
        IDENTITY_MISSING,
    ),
    "a denial under a condition": (
        ANA,
        ALLOW,
        DENY | {"Principal": "*", "Condition": {"StringNotEquals": {"aws:username": "ana"}}},
        ALLOWED_BY_IDENTITY,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_decisions(name: str) -> None:
    principal, identity, bucket, expected = CASES[name]
    decided = decide(principal, identity, bucket)
    assert (type(decided), decided.source) == expected


# Each row: elements of a statement in place of Action or Resource, and whether it covers QueryVectors on the index.
NEGATED: dict[str, tuple[Document, bool]] = {
    "another action": ({"NotAction": "s3vectors:GetIndex", "Resource": "*"}, True),
    "this action": ({"NotAction": ["s3vectors:GetIndex", "s3vectors:query*"], "Resource": "*"}, False),
    "every action": ({"NotAction": "*", "Resource": "*"}, False),
    "another resource": ({"Action": "*", "NotResource": [BUCKET, f"{BUCKET}/index/drama"]}, True),
    "this resource": ({"Action": "*", "NotResource": [BUCKET, f"{BUCKET}/*"]}, False),
    "every resource": ({"Action": "*", "NotResource": "*"}, False),
    "a variable of another value": ({"Action": "*", "NotResource": f"{BUCKET}/index/${{aws:username}}"}, True),
    "a variable without value": ({"Action": "*", "NotResource": f"{BUCKET}/index/${{aws:SourceVpc}}"}, True),
    "a variable without value beside this resource": (
        {"Action": "*", "NotResource": [f"{BUCKET}/${{aws:SourceVpc}}", f"{BUCKET}/*"]},
        False,
    ),
    "a variable without value in what is listed": (
        {"Action": "*", "Resource": f"{BUCKET}/index/${{aws:SourceVpc}}*"},
        False,
    ),
    "a default": ({"Action": "*", "NotResource": f"{BUCKET}/index/${{aws:SourceVpc, 'novels'}}"}, False),
}


@pytest.mark.parametrize("name", NEGATED)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_all_but(effect: str, name: str) -> None:
    elements, covers = NEGATED[name]
    expected = (Allow if effect == "Allow" else ExplicitDeny) if covers else ImplicitDeny
    assert type(decide(ANA, {"Effect": effect} | elements, None, action="QueryVectors")) is expected


@pytest.mark.parametrize("covered", [{"Resource": "*"}, {"NotResource": BUCKET}])
def test_an_action_on_no_resource(covered: Document) -> None:
    asked = {"action": "ListVectorBuckets", "resource": "*"}
    assert isinstance(decide(ANA, {"Effect": "Allow", "Action": "*"} | covered, None, **asked), Allow)
    assert isinstance(decide(ANA, ALLOW | {"Resource": "arn:aws:s3vectors:*"}, None, **asked), ImplicitDeny)


def test_the_older_language_takes_variables_for_text() -> None:
    statement = ALLOW | {"Resource": f"{BUCKET}/index/${{aws:username}}"}
    for version, expected in [("2012-10-17", Allow), ("2008-10-17", ImplicitDeny), (None, ImplicitDeny)]:
        policy = {"Statement": statement} | ({"Version": version} if version else {})
        principal = user(OWNER, "novels")
        request = AccessRequest(principal, "GetIndex", INDEX, OWNER, context_of(principal))
        assert isinstance(evaluate(request, [parse_policy(json.dumps(policy), "identity")], None), expected)


def test_the_statement_is_told() -> None:
    allow, deny = ALLOW | {"Sid": "allow"}, DENY | {"Sid": "deny"}
    for statement, principal in [(allow, ANA), (deny, ANA), (deny | {"Principal": "*"}, ROOT)]:
        of_bucket = principal.is_root
        decided = decide(principal, None if of_bucket else statement, statement if of_bucket else None)
        assert isinstance(decided, Allow | ExplicitDeny)
        assert decided.statement is not None
        assert decided.statement.sid == statement["Sid"]
    root = decide(ROOT, None, None)
    assert isinstance(root, Allow)
    assert root.statement is None


def test_a_user_unknown_when_the_policy_was_put_is_nobody() -> None:
    policy = parse_policy(json.dumps({"Statement": ALLOW | to(ANA.arn)}), "bucket", {})
    request = AccessRequest(ANA, "GetIndex", INDEX, OWNER, {})
    assert isinstance(evaluate(request, [], policy), ImplicitDeny)


texts = st.text(max_size=8) | st.text("*?${}:'/", max_size=8)
contexts = st.dictionaries(
    st.sampled_from([*SINGLE_VALUED, "aws:principaltag/team", "aws:resourcetag/team", "aws:requesttag/team"]), texts
)


def applies(statement: Statement, asked: AccessRequest) -> bool:
    speaks_of_it = asked.action in statement.actions and statement.includes(asked.principal)
    return speaks_of_it and statement.may_apply(asked) and statement.holds(asked)


@settings(deadline=None)
@given(st.randoms(use_true_random=False), contexts, st.lists(texts, max_size=3).map(tuple))
def test_any_request_is_decided_and_allowed_only_by_a_statement(
    random: Random, context: dict[str, str], tag_keys: tuple[str, ...]
) -> None:
    of = case(random)
    asked = AccessRequest(
        of.principal, of.action, of.resource, of.resource_account, {**of.context, **context, "aws:tagkeys": tag_keys}
    )
    identity = [parse_policy(json.dumps(policy), "identity") for policy in of.identity]
    bucket = parse_policy(json.dumps(of.bucket), "bucket", USER_IDS) if of.bucket else None
    decided = evaluate(asked, identity, bucket)
    if not isinstance(decided, Allow):
        return
    assert not any(
        s.effect == "Deny" and applies(s, asked)
        for policy in [*identity, *([bucket] if bucket else [])]
        for s in policy.statements
    )
    if decided.statement is None:
        assert of.principal.arn == f"arn:aws:iam::{of.resource_account}:root"
    else:
        assert decided.statement.effect == "Allow"
        assert applies(decided.statement, asked)
