"""Errors as the REST-JSON protocol writes them: the type in a header, a lower-case message in the body.

Those of STS are written as the query protocol writes them.
"""

from math import ceil
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct, to_builtins
from structlog import get_logger

from app import sts
from app.audit import Event
from app.errors import InternalServerException, S3VectorsError, UnknownOperationException, ValidationException

log = get_logger()


class Answer(Struct, frozen=True):
    status_code: int
    headers: dict[str, str]
    body: bytes


def render(error: S3VectorsError, event: Event) -> Answer:
    # Tracebacks hold the frames, those the body and this event, and the event the error: a circle that only the garbage
    # collector would break, long after.
    error.__traceback__ = error.__cause__ = error.__context__ = None
    event.error = error
    headers = {"x-amzn-errortype": type(error).__name__, "content-type": "application/json"}
    if error.status_code in (429, 503):  # SDKs read the first, in milliseconds, before they back off
        seconds = error.retry_after_seconds
        headers |= {"x-amz-retry-after": str(ceil(seconds * 1000)), "retry-after": str(ceil(seconds))}
    if error.status_code == 408:  # whatever is still on its way is not waited for
        headers["connection"] = "close"
    if event.source == sts.SERVICE:
        return Answer(error.status_code, headers | {"content-type": "text/xml"}, sts.error_document(error, event))
    return Answer(error.status_code, headers, msgspec.json.encode(_members(error)))


def _members(error: S3VectorsError) -> dict[str, object]:
    members: dict[str, object] = {} if error.message is None else {"message": error.message}
    if isinstance(error, ValidationException) and error.field_list:
        members["fieldList"] = to_builtins(error.field_list)
    return members


def as_s3_vectors_error(error: Exception) -> S3VectorsError:
    """Whatever an operation raised; what nobody foresaw is logged with its trace and told without."""
    match error:
        case S3VectorsError():
            return error
        case HTTPException(status_code=status) if status < 500:  # of Litestar, which routes and does no more
            return UnknownOperationException("Unknown operation")
    log.error("unexpected_error", exc_info=error)
    return InternalServerException("Internal server error")


def litestar_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    answer = render(as_s3_vectors_error(error), request.scope["state"]["event"])
    media_type = answer.headers["content-type"]
    return Response(answer.body, status_code=answer.status_code, headers=answer.headers, media_type=media_type)
