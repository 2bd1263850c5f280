"""One exception per error shape of the S3 Vectors API, raised anywhere and rendered once (`app.rendering`).

The tree:

    S3VectorsError
     ├─ ValidationException            400   carries fieldList
     ├─ SerializationException         400   not modelled: the body is not what the protocol says
     ├─ KmsError                       400   of a key under aws:kms
     │   ├─ KmsDisabledException
     │   ├─ KmsInvalidKeyUsageException
     │   ├─ KmsInvalidStateException
     │   └─ KmsNotFoundException
     ├─ UnsupportedMediaTypeException  415   not modelled
     ├─ UnknownOperationException      404   not modelled: no such path, or not by this method
     ├─ AccessDeniedException          403
     ├─ SignatureError                 403   not modelled: who is asking could not be established
     │   ├─ MissingAuthenticationTokenException
     │   ├─ IncompleteSignatureException
     │   ├─ UnrecognizedClientException
     │   ├─ ExpiredTokenException
     │   └─ InvalidSignatureException
     ├─ ServiceQuotaExceededException  402
     ├─ NotFoundException              404
     ├─ RequestTimeoutException        408
     ├─ ConflictException              409
     ├─ TooManyRequestsException       429
     ├─ InternalServerException        500
     └─ ServiceUnavailableException    503
"""

from typing import ClassVar, Self

from msgspec import Struct


class ValidationExceptionField(Struct, frozen=True):
    """One entry of fieldList; constraint failures use a JSON pointer as path, other rules `vectors[0].metadata`."""

    path: str
    message: str


class S3VectorsError(Exception):
    """An answer other than 200; the class name is the error type on the wire."""

    status_code: ClassVar[int]
    retry_after_seconds: float = 1
    """Of an answer that says when to try again."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message)
        self.message = message


class ValidationException(S3VectorsError):
    status_code = 400

    def __init__(self, message: str, *fields: ValidationExceptionField) -> None:
        super().__init__(message)
        self.field_list = fields

    @classmethod
    def at(cls, path: str, message: str) -> Self:
        """One fault of one member, said by both the message and the fieldList."""
        return cls(message, ValidationExceptionField(path, message))


class SerializationException(S3VectorsError):
    """AWS sends it without a message."""

    status_code = 400


class KmsError(S3VectorsError):
    status_code = 400


class KmsDisabledException(KmsError):
    pass


class KmsInvalidKeyUsageException(KmsError):
    """Never raised: every key that is registered here encrypts."""


class KmsInvalidStateException(KmsError):
    pass


class KmsNotFoundException(KmsError):
    pass


class UnsupportedMediaTypeException(S3VectorsError):
    status_code = 415


class UnknownOperationException(S3VectorsError):
    status_code = 404


class AccessDeniedException(S3VectorsError):
    status_code = 403


class SignatureError(S3VectorsError):
    status_code = 403
    reason: str
    """For the operator, who sees how many there are of each; more exact than what the client is told."""

    def __init__(self, message: str | None = None, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or self.reason


class MissingAuthenticationTokenException(SignatureError):
    reason = "unsigned"


class IncompleteSignatureException(SignatureError):
    reason = "malformed"


class UnrecognizedClientException(SignatureError):
    reason = "unknown_key"


class ExpiredTokenException(SignatureError):
    reason = "expired_token"


class InvalidSignatureException(SignatureError):
    reason = "wrong_signature"


class ServiceQuotaExceededException(S3VectorsError):
    status_code = 402


class NotFoundException(S3VectorsError):
    status_code = 404


class RequestTimeoutException(S3VectorsError):
    status_code = 408


class ConflictException(S3VectorsError):
    status_code = 409


class TooManyRequestsException(S3VectorsError):
    """This caller, or this index, is over a limit of its own."""

    status_code = 429

    def __init__(self, message: str | None = None, retry_after_seconds: float = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class InternalServerException(S3VectorsError):
    status_code = 500


class ServiceUnavailableException(S3VectorsError):
    """The server or its database is out of capacity, for everybody."""

    status_code = 503
