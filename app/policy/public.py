"""Block Public Access: whether a bucket policy would let everyone in.

After Amazon S3's meaning of public: an Allow to `*` is public unless a condition fixes who or whence.  Here a signature
is needed in any case, so that everyone means every user of every account.
"""

from ipaddress import ip_network

from app.policy.conditions import Comparison, Condition
from app.policy.statements import Policy, Statement

FIXING = {"aws:principalaccount", "aws:principalarn", "aws:userid"}
EQUALITIES = {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike"}

# What is wider counts as everywhere.
WIDEST_NETWORK = {4: 8, 6: 32}


def public_statement(policy: Policy) -> Statement | None:
    """The first statement that makes the policy public."""
    return next((statement for statement in policy.statements if _is_public(statement)), None)


def _is_public(statement: Statement) -> bool:
    return (
        statement.effect == "Allow" and statement.principals.everyone and not any(map(_narrows, statement.conditions))
    )


def _narrows(condition: Condition) -> bool:
    """A condition that a missing key, or no value at all, would satisfy narrows nothing."""
    if not isinstance(condition, Comparison) or condition.if_exists or condition.quantifier == "ForAllValues":
        return False
    if condition.operator == "IpAddress":
        return condition.key.folded == "aws:sourceip" and all(map(_is_narrow_network, condition.values))
    return condition.operator in EQUALITIES and condition.key.folded in FIXING and all(map(_is_fixed, condition.values))


def _is_narrow_network(value: str) -> bool:
    network = ip_network(value, strict=False)
    return network.prefixlen >= WIDEST_NETWORK[network.version]


def _is_fixed(value: str) -> bool:
    return not {"*", "?", "$"} & {*value}
