import json
import re
import socket
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import pytest
from botocore import xform_name
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from msgspec import Struct

from app.audit import MAX_PARAMETERS_BYTES
from app.main import OPERATIONS
from app.settings import Settings
from tests.conftest import open_directory
from tests.server_process import START_SECONDS, running
from tests.signed import Reply, SignedClient
from tests.tenants import ACCOUNT, REGION, Tenants, serving
from tests.test_sts import ASK, FORM

DATA_PLANE = {"PutVectors", "GetVectors", "ListVectors", "DeleteVectors", "QueryVectors"}
DENIED = {
    "AccessDeniedException",
    "MissingAuthenticationTokenException",
    "InvalidSignatureException",
    "UnrecognizedClientException",
}
CROWD = 100
JSON = {"Content-Type": "application/json"}

BUCKET_ARN = f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:bucket/story"
BUCKET = {"vectorBucketName": "story"}
INDEX = BUCKET | {"indexName": "pages"}
DEFINITION = {"dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
RESOURCE = {"resourceArn": BUCKET_ARN}

# Whatever of these is found in the log is there by mistake.
KEY, TEXT, NUMBER = "key-7f3a91", "text-7f3a91", 0.7319173
FILTER = {"field-7f3a91": {"$eq": "filter-7f3a91"}}
VECTOR = {"key": KEY, "data": {"float32": [NUMBER, 1.0]}, "metadata": {"text": TEXT}}
TEXTS = [{"metadataKey": "text", "text": TEXT}]
QUERY = {
    "queryVector": {"float32": [NUMBER, 1.0]},
    "queryTexts": TEXTS,
    "topK": 1,
    "filter": FILTER,
    "returnMetadata": True,
}
TWICE = {"textSearchConfigurations": [{"metadataKey": "text"}, {"metadataKey": "text"}]}
METADATA = {"nonFilterableMetadataKeys": ["text"], "textSearchConfigurations": [{"metadataKey": "text"}]}

READER = {
    "Statement": [
        {"Sid": "MayList", "Effect": "Allow", "Action": "s3vectors:List*", "Resource": "*"},
        {"Sid": "NeverDelete", "Effect": "Deny", "Action": "s3vectors:Delete*", "Resource": "*"},
    ]
}
BUCKET_POLICY = {
    "Version": "2012-10-17",
    "Statement": {
        "Sid": "The root user\u2028alone",
        "Effect": "Allow",
        "Principal": {"AWS": ACCOUNT},
        "Action": "s3vectors:*",
        "Resource": BUCKET_ARN,
    },
}

ALL_OPERATIONS: list[tuple[str, dict[str, Any]]] = [
    ("CreateVectorBucket", BUCKET | {"tags": {"team": "search"}}),
    ("GetVectorBucket", BUCKET),
    ("ListVectorBuckets", {"prefix": "sto"}),
    ("PutVectorBucketPolicy", BUCKET | {"policy": json.dumps(BUCKET_POLICY, indent=1, ensure_ascii=False)}),
    ("GetVectorBucketPolicy", BUCKET),
    ("DeleteVectorBucketPolicy", BUCKET),
    ("CreateIndex", INDEX | DEFINITION | {"metadataConfiguration": METADATA}),
    ("GetIndex", INDEX),
    ("ListIndexes", BUCKET),
    ("UpdateIndexMode", INDEX | {"indexMode": "ENHANCED"}),
    ("PutVectorBucketDefaultIndexMode", BUCKET | {"defaultIndexMode": "ENHANCED"}),
    ("TagResource", RESOURCE | {"tags": {"a b": "c+d", "line\u2028end": "paragraph\u2029end"}}),
    ("ListTagsForResource", RESOURCE),
    ("UntagResource", RESOURCE | {"tagKeys": ["a b", "line\u2028end"]}),
    ("PutVectors", INDEX | {"vectors": [VECTOR]}),
    ("GetVectors", INDEX | {"keys": [KEY], "returnData": True, "returnMetadata": True}),
    ("ListVectors", INDEX | {"returnData": True, "returnMetadata": True}),
    ("QueryVectors", INDEX | QUERY),
    ("UpdateMetadataConfiguration", INDEX | {"delete": {"textSearchConfigurations": [{"metadataKey": "text"}]}}),
    ("DeleteVectors", INDEX | {"keys": [KEY]}),
    ("DeleteIndex", INDEX),
    ("DeleteVectorBucket", BUCKET),
]

HOSTILE_AGENTS = {
    "quotes": 'x","errorCode":"none","y":"\\"',
    "line ends of others": "x\x85y",
    "terminal escapes": "\x9b31mred\x9b0m",
    "huge": "x" * 12_000,
    "other tongues": "é",
}


class Call(Struct, frozen=True):
    """What a client knows of a call of its own; `error` is empty for a success."""

    who: str
    operation: str
    request_id: str
    error: str

    @property
    def is_recorded(self) -> bool:
        return self.error in DENIED if self.operation in DATA_PLANE | {"Unknown"} else True


class Story(Struct, frozen=True):
    """All that clients did to a server, and what stood in its files when it had stopped."""

    tenants: Tenants
    calls: list[Call]
    access_key_ids: dict[str, str]
    secrets: list[str]
    moved: list[str]
    """Lines of the file that was moved away in the middle."""
    lines: list[str]
    records: dict[str, Any]
    """By request id."""
    mode: int

    def record_of(self, who: str, operation: str, error: str = "") -> Any:
        call = next(c for c in self.calls if (c.who, c.operation, c.error) == (who, operation, error))
        return self.records[call.request_id]


class Clients(Struct, frozen=True):
    """Notes every call that goes through it."""

    tenants: Tenants
    credentials: dict[str, Credentials]
    calls: list[Call] = []

    def all_operations(self, who: str) -> None:
        client = self.tenants.client(self.credentials[who])
        for operation, members in ALL_OPERATIONS:
            self.call(who, client, operation, members)
        self.call(who, self.tenants.client(self.credentials[who], "sts"), "GetCallerIdentity", {})

    def call(self, who: str, client: Any, operation: str, members: dict[str, Any]) -> None:
        try:
            answer, error = getattr(client, xform_name(operation))(**members), ""
        except ClientError as refused:
            answer, error = refused.response, refused.response["Error"]["Code"]
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        self.calls.append(Call(who, operation, headers["x-amzn-requestid"], error))

    def send(self, who: str, operation: str, body: Any, credentials: Credentials | None = None, **more: str) -> None:
        """Bodies and headers that no real client sends."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = JSON | {name.replace("_", "-"): value for name, value in more.items()}
        as_whom = credentials or self.credentials[who]
        reply = self.tenants.send("POST", f"/{operation}", data, headers, credentials=as_whom)
        self.note(who, operation, reply)

    def note(self, who: str, operation: str, reply: Reply) -> None:
        self.calls.append(Call(who, operation, reply.headers["x-amzn-requestid"], reply.type))


def of_clients(file: Path) -> list[str]:
    """Without what operators changed meanwhile, by the command line (`tests/cli/test_audit.py`)."""
    lines = file.read_text().splitlines()
    return [line for line in lines if json.loads(line)["userIdentity"].keys() != {"type", "userName"}]


@pytest.fixture(scope="module")
def story(copied_database: Callable[[], str], settings: Settings) -> Iterator[Story]:
    own = msgspec.structs.replace(settings, database_url=copied_database())
    with open_directory() as data_dir:
        file, moved = data_dir / "audit.log", data_dir / "audit.log.1"
        with serving(own, data_dir, "--workers", "2") as tenants:
            clients = Clients(tenants, identities(tenants))
            for who in clients.credentials:
                clients.all_operations(who)
            file.rename(moved)
            refused(clients)
            strangers(clients)
            leave_at_once(tenants)
            crowd(clients)
        before, after = of_clients(moved), of_clients(file)
        yield Story(
            tenants=tenants,
            calls=clients.calls,
            access_key_ids={who: key.access_key for who, key in clients.credentials.items()},
            secrets=[c for key in clients.credentials.values() for c in (key.secret_key, key.token) if c],
            moved=before,
            lines=after,
            records={record["requestID"]: record for record in map(json.loads, before + after)},
            mode=stat.S_IMODE(file.stat().st_mode),
        )


def identities(tenants: Tenants) -> dict[str, Credentials]:
    with ThreadPoolExecutor() as pool:
        nobody, reader = pool.map(tenants.user, ("nobody", "reader"), (None, READER))
    session = tenants.credentials("session", "create", "reader")
    return {"root": tenants.root, "nobody": nobody, "reader": reader, "session": session}


def refused(clients: Clients) -> None:
    """Calls of the root user that fail for other reasons than who it is."""
    clients.send("root", "GetVectorBucket", {"vectorBucketName": "absent"})
    clients.send("root", "CreateVectorBucket", {"vectorBucketName": "X"})
    clients.send("root", "CreateVectorBucket", b"no json")
    clients.send("root", "CreateVectorBucket", b"{}", Content_Type="text/plain")
    clients.send("root", "CreateIndex", INDEX | DEFINITION | {"metadataConfiguration": TWICE})
    clients.send("root", "PutVectorBucketPolicy", BUCKET | {"policy": " " * (MAX_PARAMETERS_BYTES + 1)})
    clients.send("root", "PutVectors", INDEX | {"vectors": [VECTOR | {"key": ""}]})
    clients.send("root", "QueryVectors", INDEX | QUERY)


def strangers(clients: Clients) -> None:
    """Who nobody knows, with bodies that must not be told for all that."""
    tenants, root = clients.tenants, clients.credentials["root"]
    body = INDEX | QUERY
    for operation in ("QueryVectors", "ListVectorBuckets", "Unknown"):
        clients.send("wrong signature", operation, body, Credentials(root.access_key, "x" * 40))
        clients.send("unknown key", operation, body, Credentials("PGSVUNKNOWN", "x" * 40))
        clients.send("made-up token", operation, body, Credentials(root.access_key, root.secret_key, "token-7f3a91"))
        unsigned = SignedClient(tenants.endpoint, tenants.settings).unsigned
        clients.note("no credentials", operation, unsigned("POST", f"/{operation}", json.dumps(body).encode(), JSON))
    reply = tenants.send("POST", "/", ASK, FORM, credentials=Credentials("PGSVUNKNOWN", "x"), service="sts")
    clients.note("unknown key", "GetCallerIdentity", reply)
    clients.send("root", "Unknown", b"{}")
    for name, agent in HOSTILE_AGENTS.items():
        clients.send(name, "QueryVectors", body, clients.credentials["nobody"], User_Agent=agent)


def leave_at_once(tenants: Tenants) -> None:
    """A client that does not wait for the answer: the operation waits for a lock when the connection is closed."""
    body = b'{"vectorBucketName":"left"}'
    request = AWSRequest("POST", f"{tenants.endpoint}/CreateVectorBucket", headers=JSON, data=body)
    SigV4Auth(tenants.root, "s3vectors", REGION).add_auth(request)
    address = urlsplit(tenants.endpoint)
    headers = {"Host": address.netloc, "Content-Length": str(len(body)), **request.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with psycopg.connect(tenants.settings.database_url or "") as lock:
        lock.execute("LOCK TABLE s3_vectors.vector_buckets IN SHARE MODE")
        with socket.create_connection((address.hostname or "", address.port or 80)) as connection:
            connection.sendall(f"POST /CreateVectorBucket HTTP/1.1\r\n{head}\r\n".encode() + body)
            until_somebody_waits(lock)


def until_somebody_waits(lock: psycopg.Connection[Any]) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 's3_vectors.vector_buckets'::regclass"
    deadline = time.monotonic() + START_SECONDS
    while lock.execute(waiting).fetchone() == (0,):
        assert time.monotonic() < deadline, "nobody waits for the lock"
        time.sleep(0.01)


def crowd(clients: Clients) -> None:
    """Long lines from both workers at once, and the server stops right after."""
    client = clients.tenants.client(clients.credentials["root"])
    tags = {f"tag{number}": "x" * 256 for number in range(50)}

    def call(number: int) -> None:
        absent = f"arn:aws:s3vectors:{REGION}:{ACCOUNT}:bucket/absent-{number}"
        clients.call("crowd", client, "TagResource", {"resourceArn": absent, "tags": tags})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(CROWD)))


def left_early(record: Any) -> bool:
    return bool(record.get("requestParameters") == {"vectorBucketName": "left"})


def test_each_control_plane_call_and_each_denied_call_has_one_record_and_no_other(story: Story) -> None:
    recorded = [r["requestID"] for r in map(json.loads, story.moved + story.lines) if not left_early(r)]
    assert Counter(recorded) == Counter(call.request_id for call in story.calls if call.is_recorded)
    assert {name for name, _ in ALL_OPERATIONS} == {str(operation.name) for operation in OPERATIONS}
    succeeded = {call.operation for call in story.calls if call.who == "root" and not call.error}
    assert succeeded == {name for name, _ in ALL_OPERATIONS} | {"GetCallerIdentity"}
    denied = {call.operation for call in story.calls if call.who == "nobody" and call.error}
    assert denied == {name for name, _ in ALL_OPERATIONS}


def test_who_does_not_wait_for_an_answer_is_recorded_too(story: Story) -> None:
    (record,) = filter(left_early, map(json.loads, story.lines))
    assert record["eventName"] == "CreateVectorBucket"
    assert "errorCode" not in record


def test_records_say_what_clients_were_told(story: Story) -> None:
    for call in story.calls:
        if call.is_recorded:
            record = story.records[call.request_id]
            assert record["eventName"] == call.operation
            if call.operation != "GetCallerIdentity":  # whose errors have other names on the wire
                assert record.get("errorCode", "") == call.error


ALWAYS: dict[str, type] = {
    "eventVersion": str,
    "userIdentity": dict,
    "eventTime": str,
    "eventSource": str,
    "eventName": str,
    "awsRegion": str,
    "sourceIPAddress": str,
    "userAgent": str,
    "requestID": str,
    "eventID": str,
    "readOnly": bool,
    "eventType": str,
    "managementEvent": bool,
    "eventCategory": str,
}
SOMETIMES: dict[str, type] = {
    "errorCode": str,
    "errorMessage": str,
    "requestParameters": dict,
    "responseElements": dict,
    "additionalEventData": dict,
    "resources": list,
    "recipientAccountId": str,
}


def test_members_have_the_names_and_types_of_cloudtrail(story: Story) -> None:
    for record in story.records.values():
        assert ALWAYS.keys() <= record.keys() <= ALWAYS.keys() | SOMETIMES.keys()
        assert {name: type(value) for name, value in record.items()}.items() <= (ALWAYS | SOMETIMES).items()
        assert record["eventVersion"] == "1.11"
        assert record["eventType"] == "AwsApiCall"
        assert record["awsRegion"] == REGION
        assert record["sourceIPAddress"] == "127.0.0.1"
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["eventTime"])
        assert record["eventCategory"] == ("Data" if record["eventName"] in DATA_PLANE else "Management")
        assert record["managementEvent"] is (record["eventName"] not in DATA_PLANE)
        assert record["readOnly"] is record["eventName"].startswith(("Get", "List", "Query"))
        assert record["eventSource"].removesuffix(".amazonaws.com") == (
            "sts" if record["eventName"] == "GetCallerIdentity" else "s3vectors"
        )
    assert len({record["eventID"] for record in story.records.values()}) == len(story.records)


def test_a_call_that_succeeded(story: Story) -> None:
    record = story.record_of("root", "CreateVectorBucket")
    assert record["userAgent"].startswith("Boto3/")
    assert {name: value for name, value in record.items() if name not in ("eventTime", "eventID", "userAgent")} == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "Root",
            "principalId": ACCOUNT,
            "arn": f"arn:aws:iam::{ACCOUNT}:root",
            "accountId": ACCOUNT,
            "accessKeyId": story.tenants.settings.root_access_key_id,
        },
        "eventSource": "s3vectors.amazonaws.com",
        "eventName": "CreateVectorBucket",
        "awsRegion": REGION,
        "sourceIPAddress": "127.0.0.1",
        "requestParameters": {"vectorBucketName": "story", "tags": {"team": "search"}},
        "responseElements": {"vectorBucketArn": BUCKET_ARN},
        "additionalEventData": {"decision": "allow", "policyType": "identity-based"},
        "requestID": record["requestID"],
        "readOnly": False,
        "resources": [{"type": "AWS::S3Vectors::VectorBucket", "ARN": BUCKET_ARN, "accountId": ACCOUNT}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }


def test_a_call_that_was_denied(story: Story) -> None:
    record = story.record_of("nobody", "QueryVectors", "AccessDeniedException")
    index_arn = f"{BUCKET_ARN}/index/pages"
    assert record == record | {
        "errorMessage": f"User: arn:aws:iam::{ACCOUNT}:user/nobody is not authorized to perform: s3vectors:QueryVectors"
        f" on resource: {index_arn} because no identity-based policy allows the s3vectors:QueryVectors action",
        "requestParameters": INDEX,
        "additionalEventData": {"decision": "implicitDeny", "policyType": "identity-based"},
        "resources": [{"type": "AWS::S3Vectors::Index", "ARN": index_arn, "accountId": ACCOUNT}],
        "managementEvent": False,
        "readOnly": True,
    }
    assert "responseElements" not in record


@pytest.mark.parametrize("who", ["reader", "session"])
def test_the_statement_that_decided_is_named(story: Story, who: str) -> None:
    listed = story.record_of(who, "ListVectorBuckets")
    source = {"policyType": "identity-based"}
    assert listed["additionalEventData"] == {"decision": "allow", "statementId": "MayList"} | source
    assert "resources" not in listed
    deleted = story.record_of(who, "DeleteVectors", "AccessDeniedException")
    assert deleted["additionalEventData"] == {"decision": "explicitDeny", "statementId": "NeverDelete"} | source


@pytest.mark.parametrize(
    ("who", "operation", "error", "expected"),
    [
        ("nobody", "GetIndex", "AccessDeniedException", {"type": "IAMUser", "userName": "nobody"}),
        ("nobody", "GetCallerIdentity", "", {"type": "IAMUser", "userName": "nobody"}),
        ("session", "ListVectorBuckets", "", {"type": "IAMUser", "userName": "reader"}),
    ],
)
def test_users_are_named(story: Story, who: str, operation: str, error: str, expected: dict[str, str]) -> None:
    record = story.record_of(who, operation, error)
    identity = record["userIdentity"]
    assert identity == identity | expected | {"arn": f"arn:aws:iam::{ACCOUNT}:user/{expected['userName']}"}
    assert identity["accountId"] == record["recipientAccountId"] == ACCOUNT
    assert identity["principalId"] not in ("", ACCOUNT)
    assert identity["accessKeyId"] == story.access_key_ids[who]
    assert ("sessionContext" in identity) is (who == "session")
    if who == "session":
        attributes = identity["sessionContext"]["attributes"]
        assert attributes["mfaAuthenticated"] == "false"
        issued, asked = (datetime.fromisoformat(time) for time in (attributes["creationDate"], record["eventTime"]))
        assert timedelta() <= asked - issued < timedelta(hours=1)


@pytest.mark.parametrize("operation", ["QueryVectors", "ListVectorBuckets", "Unknown"])
@pytest.mark.parametrize(
    ("who", "error", "access_key_id"),
    [
        ("wrong signature", "InvalidSignatureException", "AKIAIOSFODNN7EXAMPLE"),
        ("made-up token", "UnrecognizedClientException", "AKIAIOSFODNN7EXAMPLE"),
        ("unknown key", "UnrecognizedClientException", "PGSVUNKNOWN"),
        ("no credentials", "MissingAuthenticationTokenException", None),
    ],
)
def test_of_strangers_only_the_key_they_claim_is_told(
    story: Story, who: str, error: str, access_key_id: str | None, operation: str
) -> None:
    record = story.record_of(who, operation, error)
    claimed = {"accessKeyId": access_key_id} if access_key_id else {}
    assert record["userIdentity"] == {"type": "Unknown"} | claimed
    assert not {"requestParameters", "responseElements", "resources", "recipientAccountId"} & record.keys()


@pytest.mark.parametrize(
    ("operation", "error", "message", "parameters"),
    [
        ("GetVectorBucket", "NotFoundException", "could not be found", {"vectorBucketName": "absent"}),
        ("CreateVectorBucket", "ValidationException", "length between 3 and 63", None),
        ("CreateVectorBucket", "SerializationException", None, None),
        ("CreateVectorBucket", "UnsupportedMediaTypeException", "must be application/json", None),
        (
            "CreateIndex",
            "ValidationException",
            "",
            INDEX | DEFINITION | {"metadataConfiguration": TWICE},
        ),
        ("PutVectorBucketPolicy", "ValidationException", "", {"omitted": True}),
    ],
)
def test_calls_that_failed_are_told_with_their_error(
    story: Story, operation: str, error: str, message: str | None, parameters: dict[str, Any] | None
) -> None:
    record = story.record_of("root", operation, error)
    assert record.get("requestParameters") == parameters
    assert "responseElements" not in record
    assert (message is None) is ("errorMessage" not in record)
    assert (message or "") in record.get("errorMessage", "")


def test_no_secrets_no_vectors_no_metadata_no_filters_no_keys(story: Story) -> None:
    assert len(story.secrets) == 5
    for line in story.moved + story.lines:
        for forbidden in (*story.secrets, KEY, TEXT, "7f3a91", str(NUMBER), "Signature=", "AWS4-HMAC"):
            assert forbidden not in line


@pytest.mark.parametrize(("name", "agent"), HOSTILE_AGENTS.items(), ids=HOSTILE_AGENTS)
def test_user_agents_are_told_as_they_are_and_bounded(story: Story, name: str, agent: str) -> None:
    assert story.record_of(name, "QueryVectors", "AccessDeniedException")["userAgent"] == agent[:1024]


def test_lines_are_whole_printable_and_bounded(story: Story) -> None:
    for line in story.moved + story.lines:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 32_000
        assert json.loads(line)


def test_after_a_rotation_there_is_a_new_file_for_the_owner_alone(story: Story) -> None:
    assert story.mode == 0o600
    assert {json.loads(line)["eventName"] for line in story.moved} >= {name for name, _ in ALL_OPERATIONS}
    assert sum("bucket/absent-" in line for line in story.lines) == CROWD


@pytest.fixture(scope="module")
def elsewhere(story: Story) -> Iterator[dict[str, str]]:
    """What servers with other destinations print from their start to their end, while they answer one call."""
    destinations = ["stdout", "off", "/dev/full"]
    own = story.tenants.settings
    with open_directory() as data_dir, ExitStack() as stack:
        servers = [
            stack.enter_context(
                running(
                    *("--data-dir", str(data_dir), "--workers", "1"),
                    DATABASE_URL=own.database_url or "",
                    ROOT_ACCESS_KEY_ID=own.root_access_key_id,
                    ROOT_SECRET_ACCESS_KEY=own.root_secret_access_key,
                    KEY_ENCRYPTION_KEY_FILE=str(story.tenants.data_dir / "key-encryption-key"),
                    LOG_LEVEL="warning",
                    AUDIT_LOG=destination,
                )
            )
            for destination in destinations
        ]
        printed = {}
        for destination, server in zip(destinations, servers, strict=True):
            before = server.wait_until_ready()
            client = Tenants(server.endpoint, data_dir, own).client(story.tenants.root)
            for _ in range(3):
                client.list_vector_buckets(prefix="elsewhere")
            server.terminate()
            printed[destination] = before + server.rest()
        assert not list(data_dir.glob("**/audit*"))
        yield printed


def test_on_standard_output_it_is_lines_of_json(elsewhere: dict[str, str]) -> None:
    lines = [json.loads(line) for line in elsewhere["stdout"].splitlines() if line.startswith("{")]
    assert [line["requestParameters"] for line in lines] == [{"prefix": "elsewhere"}] * 3


def test_turned_off_it_is_nowhere(elsewhere: dict[str, str]) -> None:
    assert "elsewhere" not in elsewhere["off"]
    assert "audit" not in elsewhere["off"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_what_cannot_be_written_is_complained_of_once_and_holds_up_no_answer(elsewhere: dict[str, str]) -> None:
    (complaint,) = [line for line in elsewhere["/dev/full"].splitlines() if "audit_records_lost" in line]
    assert "No space left on device" in complaint
    assert "lost=1" in complaint
