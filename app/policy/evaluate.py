"""The decision as IAM comes to it: an explicit deny first, then an allow by either side, across accounts by both.

Source: the IAM guide's pages on policy evaluation logic.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from app.policy.statements import AccessRequest, Effect, Policy, SpeaksOf, Statement

Source = Literal["identity-based", "resource-based"]


class Allow(Struct, frozen=True):
    """`statement` is None for a root user, who needs none."""

    source: Source
    statement: Statement | None


class ImplicitDeny(Struct, frozen=True):
    """No policy of this kind allows it."""

    source: Source


class ExplicitDeny(Struct, frozen=True):
    source: Source
    statement: Statement
    otherwise: Allow | ImplicitDeny
    """What would have been decided without any Deny."""


Decision = Allow | ExplicitDeny | ImplicitDeny


def evaluate(request: AccessRequest, identity: Sequence[Policy], bucket: Policy | None) -> Decision:
    """`identity` are the policies of the principal, `bucket` is the one of the bucket that holds the resource."""
    buckets = [bucket] if bucket else []
    otherwise = _without_deny(request, identity, buckets)
    if denying := _first(request, "Deny", identity, Statement.includes):
        return ExplicitDeny("identity-based", denying, otherwise)
    if denying := _first(request, "Deny", buckets, Statement.includes):
        return ExplicitDeny("resource-based", denying, otherwise)
    return otherwise


def _without_deny(
    request: AccessRequest, identity: Sequence[Policy], buckets: Sequence[Policy]
) -> Allow | ImplicitDeny:
    allowing = _first(request, "Allow", identity, Statement.names)
    by_identity = Allow("identity-based", allowing) if allowing or request.principal.is_root else None
    if request.principal.account_id == request.resource_account:
        # Here an account that is allowed only hands on to its own identity policies.
        granting = None if by_identity else _first(request, "Allow", buckets, Statement.names)
        return by_identity or (Allow("resource-based", granting) if granting else ImplicitDeny("identity-based"))
    if by_identity is None:
        return ImplicitDeny("identity-based")
    granting = _first(request, "Allow", buckets, Statement.includes)
    return Allow("resource-based", granting) if granting else ImplicitDeny("resource-based")


def _first(request: AccessRequest, effect: Effect, policies: Iterable[Policy], speaks_of: SpeaksOf) -> Statement | None:
    for policy in policies:
        for statement in policy.candidates(effect, request, speaks_of):
            if statement.holds(request):
                return statement
    return None
