"""The condition keys that a policy may name, and the values that a request gives them.

A key that nobody has heard of is refused, because a Deny under it would never deny.  Sources: the IAM guide's page on
global condition keys, and the service authorization reference of Amazon S3 Vectors.
"""

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from app.policy.errors import InvalidPolicy

# Keys are in lower case, but for tags, which are there as they are written and in lower case.
Context = Mapping[str, str | tuple[str, ...]]

MULTIVALUED = frozenset({"aws:tagkeys"})

SINGLE_VALUED = frozenset({
    "aws:currenttime",
    "aws:epochtime",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:securetransport",
    "aws:sourceip",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "s3vectors:kmskeyarn",
    "s3vectors:ssetype",
})  # fmt: skip

TAGS = ("aws:principaltag/", "aws:requesttag/", "aws:resourcetag/", "s3vectors:vectorbuckettag/")

# Keys of AWS that no request to this server has: it knows no organizations, services, networks or second factors.
NEVER_PRESENT = frozenset({
    "aws:calledvia",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:referer",
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:viaawsservice",
    "aws:vpcsourceip",
})  # fmt: skip


class ConditionKey(Struct, frozen=True):
    """Names are not case-sensitive; of tags that differ in case only, the one written as in the policy is meant."""

    exact: str
    folded: str

    @property
    def multivalued(self) -> bool:
        return self.folded in MULTIVALUED

    def value(self, context: Context) -> str | tuple[str, ...] | None:
        """None where the request has no such key, or no values of it."""
        value = context.get(self.exact)
        if value is None:
            value = context.get(self.folded)
        return None if value == () else value


def parse_condition_key(text: str) -> ConditionKey:
    folded = text.lower()
    if prefix := next((tags for tags in TAGS if folded.startswith(tags) and folded != tags), None):
        return ConditionKey(prefix + text[len(prefix) :], folded)
    if folded not in SINGLE_VALUED | MULTIVALUED | NEVER_PRESENT:
        raise InvalidPolicy(f"Unknown condition key {text!r}")
    return ConditionKey(folded, folded)


def date_value(moment: datetime) -> str:
    """Of one in UTC, to the second."""
    return moment.isoformat("T", "seconds").replace("+00:00", "Z")


def tag_context(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Every tag in lower case, the first of several by that name, then every tag as it is written."""
    if not tags:
        return {}
    folded = {prefix + key.lower(): tags[key] for key in sorted(tags, reverse=True)}
    return folded | {prefix + key: value for key, value in tags.items()}
