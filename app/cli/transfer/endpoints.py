"""How another endpoint is reached, and what of a bucket's configuration is copied between here and there."""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from app.encryption import DEFAULT
from app.interchange.remote_name import MAX_SEGMENTS
from app.shapes import EncryptionConfiguration, SseType


@Parameter(name="*")
@dataclass(frozen=True)
class EndpointOptions:
    """Of an endpoint; credentials and what is not said here are found as boto3 finds them."""

    endpoint_url: Annotated[str | None, Parameter(help="Of another endpoint than AWS's.")] = None
    region: Annotated[str | None, Parameter(help="Of the endpoint.")] = None
    profile: Annotated[str | None, Parameter(help="Of the credentials.")] = None
    connections: Annotated[
        int, Parameter(validator=Number(gte=1, lte=MAX_SEGMENTS), help="So many requests to the endpoint at once.")
    ] = 8
    encryption: Annotated[
        str | None, Parameter(help="AES256, or the ARN of a KMS key: for the copy, instead of what the original has.")
    ] = None
    without_policy: Annotated[bool, Parameter(negative="", help="Leave the bucket policy out.")] = False

    def encryption_for(self, original: EncryptionConfiguration) -> EncryptionConfiguration:
        match self.encryption:
            case None:
                return original
            case "AES256":
                return DEFAULT
            case key_arn:
                return EncryptionConfiguration(sse_type=SseType.KMS, kms_key_arn=key_arn)


AS_BOTO3 = EndpointOptions()


def moved_policy(policy: str, from_arn: str, to_arn: str) -> str:
    """Its own bucket is another there; principals stay who they are."""
    return policy.replace(f'"{from_arn}"', f'"{to_arn}"').replace(f'"{from_arn}/', f'"{to_arn}/')
