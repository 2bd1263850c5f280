"""May this principal do this to that resource? Asked by every operation before it looks anything up."""

from collections.abc import Mapping
from typing import assert_never

import msgspec
from msgspec import Struct

from app.arns import Account, IndexArn, VectorBucketArn
from app.audit import Event
from app.database.catalog_cache import CatalogCache
from app.errors import AccessDeniedException
from app.policy.condition_keys import Context, tag_context
from app.policy.evaluate import Allow, Decision, ExplicitDeny, ImplicitDeny, evaluate
from app.policy.principals import Principal
from app.policy.statements import AccessRequest
from app.shapes import EncryptionConfiguration

Resource = VectorBucketArn | IndexArn | Account

# What the owner's root user may do whatever the policy says, so that nobody is locked out of a bucket for good.
ESCAPES = {"GetVectorBucketPolicy", "PutVectorBucketPolicy", "DeleteVectorBucketPolicy"}


class Caller(Struct, frozen=True):
    """The verified principal, where names without ARN live for it, and what its request says of itself."""

    principal: Principal
    home: Account
    context: Context
    cache: CatalogCache
    event: Event


async def authorize(caller: Caller, action: str, resource: Resource, asked: Context | None = None) -> None:
    """`asked` are condition keys that the operation knows: tags and encryption that are asked for.

    Raises AccessDeniedException.
    """
    account = resource if isinstance(resource, Account) else resource.account
    request = AccessRequest(
        principal=caller.principal,
        action=action,
        resource="*" if isinstance(resource, Account) else str(resource),
        resource_account=account.account_id,
        context={"aws:resourceaccount": account.account_id, **caller.context, **(asked or {})},
    )
    caller.event.resources.append(request.resource)
    caller.event.decision = decision = await _decide(caller, request, resource)
    if not (isinstance(decision, Allow) or _escapes(request, decision)):
        raise _denied(request, decision)


async def _decide(caller: Caller, request: AccessRequest, resource: Resource) -> Decision:
    identity = await caller.cache.identity_policies(request.principal)
    if isinstance(resource, Account):
        return evaluate(request, identity, None)
    if not resource.account.is_beside(caller.home):
        return ImplicitDeny("resource-based")  # nothing of another Region is here
    bucket_arn = resource if isinstance(resource, VectorBucketArn) else resource.bucket
    bucket = await caller.cache.bucket(bucket_arn)
    tags = bucket.tags if isinstance(resource, VectorBucketArn) else await caller.cache.tags(resource)
    found = tag_context("s3vectors:vectorbuckettag/", bucket.tags) | tag_context("aws:resourcetag/", tags)
    request = msgspec.structs.replace(request, context={**request.context, **found})
    return evaluate(request, identity, bucket.policy)


def _escapes(request: AccessRequest, decision: Decision) -> bool:
    owns = request.principal.is_root and request.principal.account_id == request.resource_account
    return owns and request.action in ESCAPES and isinstance(decision, ExplicitDeny)


def _denied(request: AccessRequest, decision: Decision) -> AccessDeniedException:
    action = f"s3vectors:{request.action}"
    return AccessDeniedException(
        f"User: {request.principal.arn} is not authorized to perform: {action} on resource: {request.resource} "
        f"{_reason(decision, action)}"
    )


def _reason(decision: Decision, action: str) -> str:
    """To whoever nothing lets in, a Deny of the bucket policy would tell that there is such a bucket."""
    match decision:
        case ExplicitDeny("resource-based", _, ImplicitDeny() as otherwise):
            return _reason(otherwise, action)
        case ExplicitDeny(source):
            return f"with an explicit deny in {'an' if source[0] in 'aeiou' else 'a'} {source} policy"
        case ImplicitDeny(source):
            return f"because no {source} policy allows the {action} action"
        case Allow():
            return ""
        case _:
            assert_never(decision)


def asked_tags(tags: Mapping[str, str]) -> Context:
    return {**tag_context("aws:requesttag/", tags), "aws:tagkeys": tuple(tags)}


def asked_encryption(encryption: EncryptionConfiguration) -> Context:
    """What will be in effect, whether the request says so or inherits it: leaving it out is no way round a Deny."""
    key_arn = {"s3vectors:kmskeyarn": encryption.kms_key_arn} if encryption.kms_key_arn else {}
    return {"s3vectors:ssetype": str(encryption.sse_type), **key_arn}
