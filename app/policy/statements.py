"""A policy behind its parser: what each statement says of a request."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from app.policy.condition_keys import Context
from app.policy.conditions import Condition
from app.policy.principals import Principal, Principals

Effect = Literal["Allow", "Deny"]
ResourceMatcher = Callable[[str, Context], bool]


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
    resources: tuple[ResourceMatcher, ...]
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
        if self._covers(request) is self.except_resources:
            return False
        return not self.conditions or all(condition.holds(request.context) for condition in self.conditions)

    def _covers(self, request: AccessRequest) -> bool:
        for match in self.resources:  # noqa: SIM110 - any() of a generator takes twice as long, for every statement
            if match(request.resource, request.context):
                return True
        return False


class Policy(Struct, frozen=True):
    statements: Sequence[Statement]
    by_action: Mapping[tuple[Effect, str], Sequence[Statement]]

    def on(self, effect: Effect, action: str) -> Sequence[Statement]:
        return self.by_action.get((effect, action), ())


def policy_of(statements: Sequence[Statement]) -> Policy:
    by_action: dict[tuple[Effect, str], list[Statement]] = {}
    for statement in statements:
        for action in statement.actions:
            by_action.setdefault((statement.effect, action), []).append(statement)
    return Policy(statements, by_action)
