"""A policy behind its parser: what each statement says of a request."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from app.policy.condition_keys import Context
from app.policy.conditions import Condition
from app.policy.principals import Principal, Principals

Effect = Literal["Allow", "Deny"]
MAX_REMEMBERED = 1_000

ResourceTest = Callable[[str, Context], bool]
"""Whether a Resource, or a NotResource, lists this one."""


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
    with_variables: bool
    """Whether a resource depends on who asks."""
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

    def may_apply(self, request: AccessRequest) -> bool:
        """Whether it speaks of this resource, as far as that can be told without the context."""
        return self.with_variables or self._covers(request)

    def holds(self, request: AccessRequest) -> bool:
        """Of a statement that may apply: whether it does, under this context."""
        if self.with_variables and not self._covers(request):
            return False
        return all(condition.holds(request.context) for condition in self.conditions)

    def _covers(self, request: AccessRequest) -> bool:
        """Resource must list it, or NotResource must not."""
        for lists in self.resources:
            if lists(request.resource, request.context):
                return not self.except_resources
        return self.except_resources


SpeaksOf = Callable[[Statement, Principal], bool]


class Policy(Struct, frozen=True):
    """Remembers which of its statements may apply, since who asks for what is soon asked again."""

    statements: Sequence[Statement]
    by_action: Mapping[tuple[Effect, str], Sequence[Statement]]
    _candidates: dict[tuple[object, ...], list[Statement]]

    @property
    def users(self) -> frozenset[str]:
        """The ARNs of the users whom it names; roles are not among them."""
        named = (arn for statement in self.statements for arn in statement.principals.users)
        return frozenset(arn for arn in named if ":user/" in arn)

    def candidates(self, effect: Effect, request: AccessRequest, speaks_of: SpeaksOf) -> list[Statement]:
        """The statements of this effect that speak of the principal and may apply to action and resource."""
        principal = request.principal
        asked = (effect, speaks_of, principal.arn, principal.user_id, request.action, request.resource)
        if (found := self._candidates.get(asked)) is None:
            if len(self._candidates) >= MAX_REMEMBERED:
                self._candidates.clear()
            on_action = self.by_action.get((effect, request.action), ())
            found = [s for s in on_action if s.may_apply(request) and speaks_of(s, principal)]
            self._candidates[asked] = found
        return found


def policy_of(statements: Sequence[Statement]) -> Policy:
    by_action: dict[tuple[Effect, str], list[Statement]] = {}
    for statement in statements:
        for action in statement.actions:
            by_action.setdefault((statement.effect, action), []).append(statement)
    return Policy(statements, by_action, {})
