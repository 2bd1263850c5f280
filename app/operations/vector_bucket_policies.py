"""PutVectorBucketPolicy, GetVectorBucketPolicy and DeleteVectorBucketPolicy."""

import msgspec
from litestar import HttpMethod

from app.authorization import Caller, authorize
from app.constraints import ABSENT, Required
from app.database import catalog
from app.errors import NotFoundException, ValidationException
from app.limits import MAX_POLICY_BYTES
from app.operation import operation
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
    """Stores the caller's text byte for byte; whoever reads it parses it."""
    arn = data.bucket(caller.home)
    authorize(caller, "PutVectorBucketPolicy", arn)
    check_policy(data.policy)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn, lock="update")
        await catalog.update_vector_bucket(connection, bucket.id, policy=data.policy)
    return PutVectorBucketPolicyOutput()


@operation(HttpMethod.POST, "/GetVectorBucketPolicy")
async def get_vector_bucket_policy(
    data: GetVectorBucketPolicyInput, caller: Caller, server: Server
) -> GetVectorBucketPolicyOutput:
    arn = data.bucket(caller.home)
    authorize(caller, "GetVectorBucketPolicy", arn)
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
    authorize(caller, "DeleteVectorBucketPolicy", arn)
    async with server.database.transaction() as connection:
        bucket = await catalog.find_vector_bucket(connection, arn, lock="update")
        await catalog.update_vector_bucket(connection, bucket.id, policy=None)
    return DeleteVectorBucketPolicyOutput()


def check_policy(policy: str) -> None:
    """A JSON object of bounded size; what its statements may say is checked where policies are evaluated."""
    if len(policy.encode()) > MAX_POLICY_BYTES:
        raise ValidationException.at("policy", f"Policy must have at most {MAX_POLICY_BYTES} bytes")
    if "\0" in policy:
        raise ValidationException.at("policy", "Policy must not contain the null character")
    try:
        msgspec.json.decode(policy, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationException.at("policy", "Policy is not a valid JSON object") from error
