"""sts:GetCallerIdentity, by which the AWS CLI and Terraform ask who they are: the query protocol on `POST /`.

Nobody needs a permission for it, and no Deny takes it away, as at AWS.
"""

from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from litestar import HttpMethod

from app.asgi import Receive, Scope, Send, respond
from app.audit import Event
from app.dispatch import dispatched
from app.errors import S3VectorsError, UnknownOperationException
from app.signer import Signer

SERVICE = "sts"
VERSION = "2011-06-15"
NAMESPACE = f"https://sts.amazonaws.com/doc/{VERSION}/"

# Clients send 43 bytes; a form of megabytes would keep the worker busy for seconds.
MAX_FORM_BYTES = 1024

# The query protocol has names of its own for who could not be told.
CODES = {
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "UnknownOperationException": "InvalidAction",
    "InternalServerException": "InternalFailure",
    "ServiceUnavailableException": "ServiceUnavailable",
    "TooManyRequestsException": "Throttling",
}


@dispatched("GetCallerIdentity", (HttpMethod.POST, b"/"))
async def get_caller_identity(scope: Scope, receive: Receive, send: Send) -> None:
    signer: Signer = scope["state"]["signer"]
    caller = await signer.confirmed()
    body = (await receive())["body"]
    form = parse_qs(bytes(body).decode("latin-1")) if len(body) <= MAX_FORM_BYTES else {}
    if form.get("Action") != ["GetCallerIdentity"] or form.get("Version") != [VERSION]:
        raise UnknownOperationException("Could not find operation for the given action and version")
    who = caller.principal
    result = _elements(Arn=who.arn, UserId=who.user_id, Account=who.account_id)
    document = (
        f'<GetCallerIdentityResponse xmlns="{NAMESPACE}"><GetCallerIdentityResult>{result}</GetCallerIdentityResult>'
        f"{_metadata(caller.event)}</GetCallerIdentityResponse>"
    )
    await respond(send, 200, [(b"content-type", b"text/xml")], document.encode())


def error_document(error: S3VectorsError, event: Event) -> bytes:
    name = type(error).__name__
    members = _elements(
        Type="Receiver" if error.status_code >= 500 else "Sender",
        Code=CODES.get(name, name.removesuffix("Exception")),
        Message=error.message or "",
    )
    request_id = _elements(RequestId=event.request_id)
    return f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{members}</Error>{request_id}</ErrorResponse>'.encode()


def _metadata(event: Event) -> str:
    return f"<ResponseMetadata>{_elements(RequestId=event.request_id)}</ResponseMetadata>"


def _elements(**texts: str) -> str:
    return "".join(f"<{name}>{escape(text)}</{name}>" for name, text in texts.items())
