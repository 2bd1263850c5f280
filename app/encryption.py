"""Rules for server-side encryption settings, and what an index inherits from its bucket."""

from app.errors import ValidationException
from app.shapes import EncryptionConfiguration, SseType

DEFAULT = EncryptionConfiguration(sse_type=SseType.AES256)


def effective_encryption(
    asked: EncryptionConfiguration | None, inherited: EncryptionConfiguration = DEFAULT
) -> EncryptionConfiguration:
    """What is stored and shown: the checked request, or else the configuration above it."""
    if asked is None or (asked.sse_type is None and asked.kms_key_arn is None):
        return inherited
    if asked.sse_type == SseType.KMS:
        if asked.kms_key_arn is None:
            raise ValidationException.at(
                "EncryptionConfiguration", "kmsKeyArn must be specified when sseType is set to aws:kms"
            )
        return asked
    if asked.kms_key_arn is not None:
        raise ValidationException.at(
            "EncryptionConfiguration", "kmsKeyArn must not be specified when sseType is AES256."
        )
    return DEFAULT
