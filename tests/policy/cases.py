"""Policies and requests at random, of so few words that they meet; one case is one question to any evaluator."""

import json
from random import Random
from typing import Any

from msgspec import Struct

from app.policy.condition_keys import Context
from app.policy.document import parse_policy
from app.policy.evaluate import Decision, evaluate
from app.policy.operators import OPERATORS
from app.policy.principals import Principal, root_user, user_arn
from app.policy.statements import AccessRequest

Document = dict[str, Any]

OWNER, STRANGER = "111122223333", "444455556666"
BUCKET = f"arn:aws:s3vectors:us-east-1:{OWNER}:bucket/books"
INDEX = f"{BUCKET}/index/novels"

# Of each kind one action; TagResource speaks of both.
RESOURCES = {
    "GetIndex": [INDEX, f"{BUCKET}/index/novels2"],
    "QueryVectors": [INDEX],
    "CreateIndex": [INDEX],
    "GetVectorBucket": [BUCKET, f"{BUCKET}2"],
    "CreateVectorBucket": [BUCKET],
    "TagResource": [BUCKET, INDEX],
    "ListVectorBuckets": ["*"],
}

ACTION_PATTERNS = ["*", "s3vectors:*", "S3Vectors:getindex", "s3vectors:Get*", "s3vectors:????ndex", "s3vectors:*e*s*"]

RESOURCE_PATTERNS = [
    "*",
    BUCKET,
    INDEX,
    f"{BUCKET}*",
    f"{BUCKET}/*",
    f"{BUCKET}/index/novel?",
    f"{BUCKET}/index/${{aws:username}}",
    f"{BUCKET}/index/${{aws:PrincipalTag/team}}",
    f"{BUCKET}/index/${{aws:PrincipalTag/team, 'novels'}}",
    f"{BUCKET}${{*}}",
    f"arn:aws:s3vectors:us-east-1:{OWNER}:*",
    f"arn:aws:s3vectors:us-east-1:{STRANGER}:*",
    f"arn:aws:s3vectors:*:{OWNER}:bucket/books",
    "arn:aws:s3vectors:*:*:bucket/*",
    "arn:aws:s3vectors:*:*:*/novels",
    "arn:aws:s3vectors:us-east-?:*:*",
    "arn:aws:s3vectors:us*",
    "arn:aws:s3vectors:*",
    "arn:*:s3vectors:*:*:*",
]


class Case(Struct, frozen=True, kw_only=True):
    identity: list[Document]
    bucket: Document | None
    principal: Principal
    action: str
    resource: str
    context: Context

    @property
    def resource_account(self) -> str:
        """Whoever lists buckets lists the own ones."""
        return self.principal.account_id if self.resource == "*" else OWNER


def user(account_id: str, name: str) -> Principal:
    return Principal(user_arn(account_id, name), account_id, f"AIDA{account_id}{name.upper()}", name)


PRINCIPALS = [
    user(OWNER, "ana"),
    user(OWNER, "novels"),
    user(STRANGER, "ana"),
    root_user(OWNER),
    root_user(STRANGER),
]
USER_IDS = {principal.arn: principal.user_id for principal in PRINCIPALS if not principal.is_root}

PRINCIPAL_NAMES = [*USER_IDS, OWNER, STRANGER, f"arn:aws:iam::{OWNER}:root", f"arn:aws:iam::{OWNER}:role/ana", "*"]

TEXTS = ["red", "RED", "", "*", "r?d", "${aws:username}", "ana"]
TEXT_PATTERNS = [
    *TEXTS,
    "r*",
    "*d",
    "?ed",
    "r${?}d",
    "${*}",
    "${$}{aws:username}",
    "${aws:PrincipalTag/team}",
    "${aws:PrincipalTag/team}*",
    "${aws:PrincipalTag/Team, 'red'}",
    "${aws:PrincipalTag/team, '*'}",
]
NUMBERS = ["5", "5.0", "-5", "1767225600", "5.5", "1e1", "five", ""]
DATES = [
    "2026-01-01T00:00:00Z",
    "2026-01-01",
    "2026-01-01T01:00:00+01:00",
    "2026-01-01T00:00:00.001Z",
    "1767225600",
    "2027-06-01T00:00:00Z",
    "soon",
]
BOOLEANS = ["true", "false", "TRUE", "yes", ""]
BASE64 = ["cmVk", "cmVkcw==", "?", ""]
ADDRESSES = ["10.0.0.1", "10.0.0.0/24", "10.0.0.9/8", "2001:db8::1", "2001:DB8:0::/32", "::ffff:10.0.0.1", "here", ""]
ARNS = [
    user_arn(OWNER, "ana"),
    user_arn(OWNER, "*"),
    user_arn(OWNER, "${aws:username}"),
    user_arn("*", "?na"),
    "arn:aws:iam::*",
    "arn:*:iam::*:user/*",
    f"arn:aws:iam::{OWNER}:*",
    f"arn:aws:iam::{OWNER}:root",
    "*",
]

# What is no number, date, address and so on can come with a request, but is refused in a policy.
VALUES = {
    "String": TEXT_PATTERNS,
    "Numeric": NUMBERS[:5],
    "Date": DATES[:6],
    "Bool": BOOLEANS[:3],
    "Binary": BASE64[:2],
    "IpAddress": ADDRESSES[:6],
    "NotIpAddress": ADDRESSES[:6],
    "Arn": ARNS,
}

# Keys that everyone has come from the principal.
CONTEXT_VALUES = {
    "aws:currenttime": ["2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"],
    "aws:epochtime": ["1767225600", "1780272000", "five"],
    "aws:principaltag/boss": [*ARNS, "ana", ""],
    "aws:principaltag/level": NUMBERS,
    "aws:principaltag/seal": BASE64,
    "aws:principaltag/since": DATES,
    "aws:principaltag/team": TEXTS,
    "aws:requestedregion": ["us-east-1"],
    "aws:securetransport": ["true", "false"],
    "aws:sourceip": ["10.0.0.1", "10.9.9.9", "2001:db8::1", "2001:db8::9", "::ffff:10.0.0.1"],
    "aws:useragent": TEXTS,
}
TAGGED = {"aws:resourcetag/team": TEXTS, "s3vectors:vectorbuckettag/team": TEXTS}
TAGGING_ACTIONS = {"CreateIndex", "CreateVectorBucket", "TagResource"}

CONDITION_KEYS = [
    *CONTEXT_VALUES,
    *TAGGED,
    "aws:RequestTag/team",
    "aws:PrincipalTag/TEAM",
    "aws:PrincipalArn",
    "AWS:PrincipalAccount",
    "aws:PrincipalType",
    "aws:username",
    "aws:userid",
    "aws:MultiFactorAuthPresent",
]

RELEVANT_KEYS = {
    "String": ["aws:PrincipalTag/team", "aws:ResourceTag/Team", "aws:RequestTag/team", "aws:username", "aws:UserAgent"],
    "Numeric": ["aws:EpochTime", "aws:PrincipalTag/level"],
    "Date": ["aws:CurrentTime", "aws:EpochTime", "aws:PrincipalTag/since"],
    "Bool": ["aws:SecureTransport"],
    "Binary": ["aws:PrincipalTag/seal"],
    "IpAddress": ["aws:SourceIp"],
    "NotIpAddress": ["aws:SourceIp"],
    "Arn": ["aws:PrincipalArn", "aws:PrincipalTag/boss"],
}
# JavaScript reads a number off the front of any text, and a date out of most.
READ_BY_JAVASCRIPT = {"Numeric", "Date"}


def some(random: Random, pool: list[str]) -> str | list[str]:
    return random.choice(pool) if random.randrange(2) else random.choices(pool, k=random.randint(1, 3))


def condition(random: Random) -> Document:
    """A Condition of one operator and one key."""
    operator = random.choice([*OPERATORS, "Null"])
    if operator == "Null":
        return {"Null": {random.choice([*CONDITION_KEYS, "aws:TagKeys"]): some(random, BOOLEANS[:3])}}
    family = next(family for family in VALUES if operator.startswith(family))
    any_key = RELEVANT_KEYS[family] if family in READ_BY_JAVASCRIPT else CONDITION_KEYS
    key = random.choice(random.choice([RELEVANT_KEYS[family], any_key]))
    quantifier = random.choice(["", "", "", "ForAllValues:", "ForAnyValue:"])
    if quantifier and random.randrange(2):
        key = "aws:TagKeys"
    return {f"{quantifier}{operator}{random.choice(['', '', 'IfExists'])}": {key: some(random, VALUES[family])}}


def statement(random: Random, *, of_bucket: bool) -> Document:
    made: Document = {
        "Effect": random.choice(["Allow", "Allow", "Deny"]),
        random.choice(["Action", "Action", "Action", "NotAction"]): some(random, ACTION_PATTERNS),
        random.choice(["Resource", "Resource", "Resource", "NotResource"]): some(random, RESOURCE_PATTERNS),
        "Condition": {},
    }
    for _ in range(random.choice([0, 1, 1, 2])):
        made["Condition"] |= condition(random)
    if of_bucket:
        element = random.choice(["Principal", "NotPrincipal"]) if made["Effect"] == "Deny" else "Principal"
        made[element] = random.choice(["*", {"AWS": some(random, PRINCIPAL_NAMES)}])
    return made


def policy(random: Random, *, of_bucket: bool) -> Document:
    version = random.choice([{"Version": "2012-10-17"}, {"Version": "2012-10-17"}, {"Version": "2008-10-17"}, {}])
    return {**version, "Statement": [statement(random, of_bucket=of_bucket) for _ in range(random.choice([1, 1, 2]))]}


def case(random: Random) -> Case:
    """Root users have no identity policies, and what is no resource has no bucket."""
    principal, action = random.choice(PRINCIPALS), random.choice([*RESOURCES])
    resource = random.choice(RESOURCES[action])
    values = CONTEXT_VALUES | (TAGGED if resource != "*" else {})
    context: dict[str, str | tuple[str, ...]] = {k: random.choice(v) for k, v in values.items() if random.randrange(4)}
    if action in TAGGING_ACTIONS and random.randrange(3):
        context["aws:requesttag/team"] = random.choice(TEXTS)
        context["aws:tagkeys"] = tuple(random.sample(TEXTS, k=random.randrange(3)))
    return Case(
        identity=[]
        if principal.is_root
        else [policy(random, of_bucket=False) for _ in range(random.choice([0, 1, 1, 2]))],
        bucket=None if resource == "*" else random.choice([None, policy(random, of_bucket=True)]),
        principal=principal,
        action=action,
        resource=resource,
        context=context | context_of(principal),
    )


def context_of(principal: Principal) -> dict[str, str]:
    own = {
        "aws:principalarn": principal.arn,
        "aws:principalaccount": principal.account_id,
        "aws:principaltype": "Account" if principal.is_root else "User",
        "aws:userid": principal.user_id,
    }
    return own | ({"aws:username": principal.user_name} if principal.user_name else {})


def decision(case: Case) -> Decision:
    return evaluate(
        AccessRequest(
            principal=case.principal,
            action=case.action,
            resource=case.resource,
            resource_account=case.resource_account,
            context=case.context,
        ),
        [parse_policy(json.dumps(policy), "identity") for policy in case.identity],
        parse_policy(json.dumps(case.bucket), "bucket", USER_IDS) if case.bucket else None,
    )
