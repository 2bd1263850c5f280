"""Who a statement of a bucket policy speaks of."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from app.policy.condition_keys import Context, date_value, tag_context
from app.policy.errors import InvalidPolicy

_ACCOUNT = re.compile(r"[0-9]{12}")
_ARN = re.compile(r"arn:aws:iam::([0-9]{12}):(root|user/[\w+=,.@/-]+|role/[\w+=,.@/-]+)", re.ASCII)


class Principal(Struct, frozen=True, dict=True):
    """Who signed a request: an IAM user, or the root user of an account, who has no name."""

    arn: str
    account_id: str
    user_id: str
    """Given once and to nobody else, unlike the name; the root user's is the account."""
    user_name: str | None = None
    tags: Mapping[str, str] = {}
    token_issue_time: datetime | None = None
    """In UTC, of temporary credentials."""

    @property
    def is_root(self) -> bool:
        return self.user_name is None

    @cached_property
    def context(self) -> Context:
        """The condition keys that all requests of this principal have; worked out once, like what is kept of it."""
        context: dict[str, str | tuple[str, ...]] = {
            "aws:principalaccount": self.account_id,
            "aws:principalarn": self.arn,
            "aws:principaltype": "Account" if self.is_root else "User",
            "aws:userid": self.user_id,
            **tag_context("aws:principaltag/", self.tags),
        }
        if self.user_name is not None:
            context["aws:username"] = self.user_name
        if self.token_issue_time is not None:  # keys of temporary credentials alone, as at AWS
            context["aws:tokenissuetime"] = date_value(self.token_issue_time)
            context["aws:multifactorauthpresent"] = "false"
        return context


class Principals(Struct, frozen=True):
    """Accounts stand for all their users; users are told apart by id, so that a successor of the same name is another.

    A user's ARN without an id names nobody: roles do not exist here, and a user who was deleted does not come back.
    """

    everyone: bool
    accounts: frozenset[str]
    users: Mapping[str, str | None]

    def name(self, principal: Principal) -> bool:
        """Speaks of this very principal; an account speaks of its root user."""
        if self.everyone or self.users.get(principal.arn) == principal.user_id:
            return True
        return principal.is_root and principal.account_id in self.accounts

    def include(self, principal: Principal) -> bool:
        return self.name(principal) or principal.account_id in self.accounts


EVERYONE = Principals(True, frozenset(), {})


def root_user(account_id: str) -> Principal:
    return Principal(f"arn:aws:iam::{account_id}:root", account_id, user_id=account_id)


def user_arn(account_id: str, user_name: str) -> str:
    return f"arn:aws:iam::{account_id}:user/{user_name}"


def parse_principals(names: Iterable[str], user_ids: Mapping[str, str]) -> Principals:
    """`user_ids` are those of the users who existed when the policy was put. Raises InvalidPolicy."""
    everyone, accounts, users = False, set(), dict[str, str | None]()
    for name in names:
        match = _ARN.fullmatch(name)
        if name == "*":
            everyone = True
        elif _ACCOUNT.fullmatch(name):
            accounts.add(name)
        elif match and match[2] == "root":
            accounts.add(match[1])
        elif match:
            users[name] = user_ids.get(name)
        else:
            raise InvalidPolicy(f"Invalid principal {name!r}")
    return Principals(everyone, frozenset(accounts), users)
