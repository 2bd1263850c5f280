"""PutVectorBucketPolicy, GetVectorBucketPolicy and DeleteVectorBucketPolicy."""

from litestar import HttpMethod
from sqlalchemy.ext.asyncio import AsyncConnection

from app.authorization import Caller, authorize
from app.constraints import ABSENT, Required
from app.database import catalog
from app.database.identity import find_user_ids
from app.errors import NotFoundException, ValidationException
from app.operation import operation
from app.policy.document import parse_policy
from app.policy.errors import InvalidPolicy
from app.policy.public import public_statement
from app.policy.statements import Policy
from app.server import Server
from app.shapes import Output, VectorBucketInput


class PutVectorBucketPolicyInput(VectorBucketInput, frozen=True):
    policy: Required[str] = ABSENT


class PutVectorBucketPolicyOutput(Output):
    pass


class GetVectorBucketPolicyInput(VectorBucketInput, frozen=True):
    pass


class GetVectorBucketPolicyOutput(Output):
    policy: str


class DeleteVectorBucketPolicyInput(VectorBucketInput, frozen=True):
    pass


class DeleteVectorBucketPolicyOutput(Output):
    pass


@operation(HttpMethod.POST, "/PutVectorBucketPolicy")
async def put_vector_bucket_policy(
    data: PutVectorBucketPolicyInput, caller: Caller, server: Server
) -> PutVectorBucketPolicyOutput:
    """Stores the caller's text byte for byte, and who the users are that it names."""
    arn = data.bucket(caller.home)
    await authorize(caller, "PutVectorBucketPolicy", arn)
    policy = parsed(data.policy, allow_public=server.settings.public_bucket_policies)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn, lock="update")
        user_ids = await ids_of_users(connection, policy)
        await catalog.update_vector_bucket(connection, bucket.id, policy=data.policy, policy_user_ids=user_ids)
    return PutVectorBucketPolicyOutput()


@operation(HttpMethod.POST, "/GetVectorBucketPolicy")
async def get_vector_bucket_policy(
    data: GetVectorBucketPolicyInput, caller: Caller, server: Server
) -> GetVectorBucketPolicyOutput:
    arn = data.bucket(caller.home)
    await authorize(caller, "GetVectorBucketPolicy", arn)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn)
    if bucket.policy is None:
        raise NotFoundException("The specified vector bucket policy could not be found")
    return GetVectorBucketPolicyOutput(policy=bucket.policy)


@operation(HttpMethod.POST, "/DeleteVectorBucketPolicy")
async def delete_vector_bucket_policy(
    data: DeleteVectorBucketPolicyInput, caller: Caller, server: Server
) -> DeleteVectorBucketPolicyOutput:
    """Idempotent, as the model says of it: deleting no policy is no error."""
    arn = data.bucket(caller.home)
    await authorize(caller, "DeleteVectorBucketPolicy", arn)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn, lock="update")
        await catalog.update_vector_bucket(connection, bucket.id, policy=None, policy_user_ids=None)
    return DeleteVectorBucketPolicyOutput()


async def ids_of_users(connection: AsyncConnection, policy: Policy) -> dict[str, str]:
    """Of all whom it names."""
    user_ids = await find_user_ids(connection, policy.users)
    if unknown := sorted(policy.users - user_ids.keys()):
        raise ValidationException.at("policy", f"Invalid principal in policy: {unknown[0]} does not exist")
    return user_ids


def parsed(text: str, *, allow_public: bool) -> Policy:
    """By the code that reads it again whenever somebody asks for access."""
    try:
        policy = parse_policy(text, "bucket")
    except InvalidPolicy as error:
        raise ValidationException.at("policy", str(error)) from error
    if not allow_public and (statement := public_statement(policy)):
        which = f"Statement {statement.sid!r}" if statement.sid else "A statement"
        raise ValidationException.at(
            "policy", f"{which} lets everyone in; name principals, or narrow it by a condition on who or whence"
        )
    return policy
