"""A policy behind its parser: what each statement says of a request."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from app.policy.condition_keys import Context
from app.policy.conditions import Condition
from app.policy.principals import Principal, Principals

Effect = Literal["Allow", "Deny"]
ResourceTest = Callable[[str, Context], bool]
"""Of a Resource whether it is the one, of a NotResource whether it is another; one that cannot be told is neither."""


class AccessRequest(Struct, frozen=True):
    """Whether `principal` may do `action` (without its vendor) to `resource`, an ARN of `resource_account`, or `*`."""

    principal: Principal
    action: str
    resource: str
    resource_account: str
    context: Context


class Statement(Struct, frozen=True):
    sid: str
    effect: Effect
    actions: frozenset[str]
    """Those that exist, by name, however the document describes them."""
    resources: tuple[ResourceTest, ...]
    except_resources: bool
    """Whether this is a NotResource."""
    principals: Principals
    """Everyone in an identity policy, which is only asked about whoever has it."""
    except_principals: bool
    """Whether this is a NotPrincipal."""
    conditions: tuple[Condition, ...]

    def names(self, principal: Principal) -> bool:
        return self.principals.name(principal) is not self.except_principals

    def includes(self, principal: Principal) -> bool:
        """Also by the account; a NotPrincipal lets both a listed user and the users of a listed account escape."""
        return self.principals.include(principal) is not self.except_principals

    def applies(self, request: AccessRequest) -> bool:
        """Whether it speaks of this resource under these conditions, whoever asks."""
        if not self._covers(request):
            return False
        return not self.conditions or all(condition.holds(request.context) for condition in self.conditions)

    def _covers(self, request: AccessRequest) -> bool:
        """One of Resource must pass, or all of NotResource."""
        for passes in self.resources:  # any() and all() of a generator take twice as long, for every statement
            if passes(request.resource, request.context) is not self.except_resources:
                return not self.except_resources
        return self.except_resources


class Policy(Struct, frozen=True):
    statements: Sequence[Statement]
    by_action: Mapping[tuple[Effect, str], Sequence[Statement]]

    @property
    def users(self) -> frozenset[str]:
        """The ARNs of the users whom it names; roles are not among them."""
        named = (arn for statement in self.statements for arn in statement.principals.users)
        return frozenset(arn for arn in named if ":user/" in arn)

    def on(self, effect: Effect, action: str) -> Sequence[Statement]:
        return self.by_action.get((effect, action), ())


def policy_of(statements: Sequence[Statement]) -> Policy:
    by_action: dict[tuple[Effect, str], list[Statement]] = {}
    for statement in statements:
        for action in statement.actions:
            by_action.setdefault((statement.effect, action), []).append(statement)
    return Policy(statements, by_action)
