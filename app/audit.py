"""The audit log: what CloudTrail would record of control-plane calls, denied calls and operators' changes.

Field names are those of CloudTrail's event record, version 1.11.  Neither secrets nor vectors, metadata and filters get
into it: parameters are those of the control plane, and of the data plane only the names of what was asked for.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from msgspec import Struct, field, json, to_builtins

from app.errors import AccessDeniedException, S3VectorsError, SignatureError
from app.policy.evaluate import Decision, ExplicitDeny
from app.policy.principals import Principal

DATA_EVENTS = {"PutVectors", "GetVectors", "ListVectors", "DeleteVectors", "QueryVectors"}
NAMES = ("vectorBucketName", "vectorBucketArn", "indexName", "indexArn")
READ_ONLY = ("Get", "List", "Query")
KINDS = {"s3vectors": "AWS::S3Vectors::VectorBucket", "iam": "AWS::IAM::User", "kms": "AWS::KMS::Key"}
MAX_TEXT = 1024
MAX_PARAMETERS_BYTES = 100 * 1024
OMITTED = {"omitted": True}
TIME = "%Y-%m-%dT%H:%M:%SZ"


class Event(Struct):
    """What the stations learn about a request while it goes through them."""

    request_id: str = field(default_factory=lambda: str(uuid4()))
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    name: str = ""
    """Of the operation; empty for a path that names none."""
    source: str = "s3vectors"
    region: str = ""
    source_address: str = ""
    user_agent: str = ""
    principal: Principal | None = None
    access_key_id: str = ""
    input: Any = None
    output: Any = None
    resources: list[str] = []
    decision: Decision | None = None
    error: S3VectorsError | None = None

    def forget_decisions(self) -> None:
        """Those about a principal who may be nobody by now, or have other permissions."""
        self.principal, self.resources, self.decision = None, [], None

    @property
    def vectors(self) -> int | None:
        """How many were written, deleted or returned; None where it is not about them, or where nothing came of it."""
        if self.name not in DATA_EVENTS or self.error is not None or self.output is None:
            return None
        match self.name:
            case "PutVectors":
                return len(self.input.vectors)
            case "DeleteVectors":
                return len(self.input.keys)
            case _:
                return len(self.output.vectors)

    @property
    def is_recorded(self) -> bool:
        if isinstance(self.error, AccessDeniedException | SignatureError):
            return True
        return bool(self.name) and self.name not in DATA_EVENTS


def record(event: Event) -> dict[str, Any]:
    """Absent values are left out, as CloudTrail does."""
    read_only = event.name.startswith(READ_ONLY)
    members = {
        "eventVersion": "1.11",
        "userIdentity": _user_identity(event),
        "eventTime": event.time.strftime(TIME),
        "eventSource": f"{event.source}.amazonaws.com",
        "eventName": event.name or "Unknown",
        "awsRegion": event.region,
        "sourceIPAddress": event.source_address,
        "userAgent": event.user_agent[:MAX_TEXT],
        "errorCode": type(event.error).__name__ if event.error else None,
        "errorMessage": (event.error.message or "")[:MAX_TEXT] or None if event.error else None,
        "requestParameters": _parameters(event),
        "responseElements": None if read_only or event.error else to_builtins(event.output) or None,
        "additionalEventData": _deciding_statement(event.decision),
        "requestID": event.request_id,
        "eventID": str(uuid4()),
        "readOnly": read_only,
        "resources": [_resource(arn) for arn in dict.fromkeys(event.resources) if arn != "*"] or None,
        "eventType": "AwsApiCall",
        "managementEvent": event.name not in DATA_EVENTS,
        "recipientAccountId": event.principal.account_id if event.principal else None,
        "eventCategory": "Data" if event.name in DATA_EVENTS else "Management",
    }
    return {name: value for name, value in members.items() if value is not None}


class Change(Struct, frozen=True):
    """Of identities or keys, by an operator on the command line; without secrets."""

    action: str
    account_id: str | None
    parameters: dict[str, Any]
    resource: str | None = None
    response: dict[str, Any] | None = None


class Operator(Struct, frozen=True):
    """Nobody whom AWS knows: a user of a machine."""

    user: str
    host: str


def change_record(change: Change, operator: Operator, region: str, time: datetime) -> dict[str, Any]:
    service, _, name = change.action.partition(":")
    members = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "Unknown", "userName": operator.user},
        "eventTime": time.strftime(TIME),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": operator.host,
        "userAgent": "pgs3vectors",
        "requestParameters": _within_bounds(
            {key: value for key, value in change.parameters.items() if value is not None}
        ),
        "responseElements": change.response,
        "requestID": str(uuid4()),
        "eventID": str(uuid4()),
        "readOnly": False,
        "resources": [_resource(change.resource)] if change.resource else None,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": change.account_id,
        "eventCategory": "Management",
    }
    return {name: value for name, value in members.items() if value is not None}


def _user_identity(event: Event) -> dict[str, Any]:
    """Of whom no signature proves to be anybody, only the key that was claimed is known."""
    principal = event.principal
    if principal is None:
        return {"type": "Unknown"} | ({"accessKeyId": event.access_key_id} if event.access_key_id else {})
    identity: dict[str, Any] = {
        "type": "Root" if principal.is_root else "IAMUser",
        "principalId": principal.user_id,
        "arn": principal.arn,
        "accountId": principal.account_id,
        "accessKeyId": event.access_key_id,
    }
    if principal.user_name:
        identity["userName"] = principal.user_name
    if principal.token_issue_time:
        issued = principal.token_issue_time.strftime(TIME)
        identity["sessionContext"] = {"attributes": {"creationDate": issued, "mfaAuthenticated": "false"}}
    return identity


def _parameters(event: Event) -> dict[str, Any] | None:
    if event.input is None:
        return None
    if event.name in DATA_EVENTS:
        fields = zip(event.input.__struct_fields__, event.input.__struct_encode_fields__, strict=True)
        members = {wire: getattr(event.input, name) for name, wire in fields if wire in NAMES}
    else:
        members = to_builtins(event.input)
    return _within_bounds({name: value for name, value in members.items() if value is not None})


def _within_bounds(parameters: dict[str, Any]) -> dict[str, Any]:
    """Left out where they are too long, as CloudTrail does, since what is refused for its length has any length."""
    return parameters if len(json.encode(parameters)) <= MAX_PARAMETERS_BYTES else OMITTED


def _deciding_statement(decision: Decision | None) -> dict[str, Any] | None:
    """Which statement denied, or allowed; a root user needs none."""
    if decision is None:
        return None
    statement = getattr(decision, "statement", None)
    kind = "explicitDeny" if isinstance(decision, ExplicitDeny) else type(decision).__name__
    told = {"decision": kind[0].lower() + kind[1:], "policyType": decision.source}
    return told | ({"statementId": statement.sid} if statement and statement.sid else {})


def _resource(arn: str) -> dict[str, str]:
    service, account_id = arn.split(":")[2], arn.split(":")[4]
    kind = "AWS::S3Vectors::Index" if "/index/" in arn else KINDS[service]
    return {"type": kind, "ARN": arn, "accountId": account_id}
