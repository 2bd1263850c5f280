"""May this principal do this to that resource? Asked by every operation before it looks anything up."""

from msgspec import Struct

from app.arns import Account, IndexArn, VectorBucketArn
from app.errors import AccessDeniedException


class Caller(Struct, frozen=True):
    """The verified principal, and where names without ARN live for it."""

    arn: str
    home: Account


def authorize(caller: Caller, action: str, resource: VectorBucketArn | IndexArn | Account) -> None:
    """The root user may do everything in its own account and Region, and nothing elsewhere."""
    account = resource if isinstance(resource, Account) else resource.account
    if account == caller.home:
        return
    raise AccessDeniedException(
        f"User: {caller.arn} is not authorized to perform: s3vectors:{action} on resource: {_arn(resource)} "
        f"because no resource-based policy allows the s3vectors:{action} action"
    )


def _arn(resource: VectorBucketArn | IndexArn | Account) -> str:
    return resource.arn if isinstance(resource, Account) else str(resource)
