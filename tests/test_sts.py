import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.session
import msgspec
import psycopg
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.parsers import create_parser

from app.audit import Event
from app.errors import InternalServerException
from app.settings import Settings
from app.sts import error_document
from tests.conftest import open_directory
from tests.signed import Reply, SignedClient
from tests.tenants import ACCOUNT, REGION, Tenants, serving

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
ASK = b"Action=GetCallerIdentity&Version=2011-06-15"
GET_CALLER_IDENTITY = (
    botocore.session.get_session().get_service_model("sts").operation_model("GetCallerIdentity").output_shape
)
DENY_ALL = {"Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}


@pytest.fixture(scope="module")
def tenants(copied_database: Callable[[], str], settings: Settings) -> Iterator[Tenants]:
    own = msgspec.structs.replace(settings, database_url=copied_database())
    with open_directory() as data_dir, serving(own, data_dir, "--workers", "1") as served:
        yield served


@pytest.fixture(scope="module")
def callers(tenants: Tenants) -> dict[str, tuple[Credentials, str, str]]:
    """Credentials, ARN and unique id of each."""
    with ThreadPoolExecutor() as pool:
        denied = pool.submit(tenants.user, "denied", DENY_ALL)
        nobody = tenants.user("nobody")
        temporary = tenants.credentials("session", "create", "nobody")
        credentials = {"nobody": nobody, "denied": denied.result()}
    ids = dict(rows(tenants, "SELECT user_name, user_id FROM s3_vectors.users"))
    users = {name: (key, f"arn:aws:iam::{ACCOUNT}:user/{name}", ids[name]) for name, key in credentials.items()}
    return users | {
        "root": (tenants.root, f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT),
        "temporary": (temporary, *users["nobody"][1:]),
    }


def rows(tenants: Tenants, statement: str) -> list[Any]:
    with psycopg.connect(tenants.settings.database_url or "", autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("who", ["root", "nobody", "denied", "temporary"])
def test_everybody_may_ask_who_they_are(
    tenants: Tenants, callers: dict[str, tuple[Credentials, str, str]], who: str
) -> None:
    credentials, arn, user_id = callers[who]
    told = tenants.client(credentials, "sts").get_caller_identity()
    answered = told.pop("ResponseMetadata")
    assert told == {"Arn": arn, "UserId": user_id, "Account": ACCOUNT}
    assert answered["HTTPHeaders"]["content-type"].startswith("text/xml")
    assert answered["RequestId"] == answered["HTTPHeaders"]["x-amzn-requestid"]
    assert len(answered["RequestId"]) == 36


@pytest.mark.parametrize("who", ["nobody", "denied", "temporary"])
def test_they_may_do_nothing_else(tenants: Tenants, callers: dict[str, tuple[Credentials, str, str]], who: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        tenants.client(callers[who][0]).list_vector_buckets()


@pytest.mark.parametrize("who", ["root", "temporary"])
def test_the_command_line_interface_asks_too(
    tenants: Tenants, callers: dict[str, tuple[Credentials, str, str]], who: str
) -> None:
    credentials, arn, user_id = callers[who]
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(  # noqa: S603 - the client that people use
        [str(Path(sys.executable).with_name("aws")), "sts", "get-caller-identity", "--output", "json"],
        env=own
        | {
            "AWS_ENDPOINT_URL_STS": tenants.endpoint,
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        | ({"AWS_SESSION_TOKEN": credentials.token} if credentials.token else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"UserId": user_id, "Account": ACCOUNT, "Arn": arn}


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        pytest.param(
            Credentials("AKIAIOSFODNN7EXAMPLE", "wrong"), "SignatureDoesNotMatch.*does not match", id="wrong secret"
        ),
        pytest.param(
            Credentials("PGSVUNKNOWN", "x" * 40), "InvalidClientTokenId.*token included.*invalid", id="unknown key"
        ),
        pytest.param(
            Credentials("AKIAIOSFODNN7EXAMPLE", "x" * 40, "made-up"), "InvalidClientTokenId.*invalid", id="token"
        ),
    ],
)
def test_clients_are_told_why_they_are_refused(tenants: Tenants, credentials: Credentials, expected: str) -> None:
    with pytest.raises(ClientError, match=expected) as refused:
        tenants.client(credentials, "sts").get_caller_identity()
    answered = refused.value.response["ResponseMetadata"]
    assert answered["HTTPStatusCode"] == 403
    assert answered["RequestId"] == answered["HTTPHeaders"]["x-amzn-requestid"]


INVALID_ACTION = (404, "InvalidAction")
MISMATCH = (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize(
    ("method", "body", "more", "expected"),
    [
        pytest.param("POST", b"Version=2011-06-15&Action=GetCallerIdentity&Other=1", {}, (200, ""), id="another order"),
        pytest.param("POST", b"Action=AssumeRole&Version=2011-06-15", {}, INVALID_ACTION, id="another action"),
        pytest.param("POST", b"Action=getcalleridentity&Version=2011-06-15", {}, INVALID_ACTION, id="another case"),
        pytest.param("POST", b"Action=GetCallerIdentity&Version=2012-01-01", {}, INVALID_ACTION, id="another version"),
        pytest.param("POST", b"Action=GetCallerIdentity", {}, INVALID_ACTION, id="no version"),
        pytest.param("POST", ASK + b"&Action=AssumeRole", {}, INVALID_ACTION, id="two actions"),
        pytest.param("POST", b"", {}, INVALID_ACTION, id="nothing"),
        pytest.param("POST", b"\xff=%ff&%", {}, INVALID_ACTION, id="no form"),
        pytest.param("POST", ASK + b"&a" * 1_000_000, {}, INVALID_ACTION, id="a million fields"),
        pytest.param("GET", b"", {}, INVALID_ACTION, id="GET"),
        pytest.param("DELETE", b"", {}, INVALID_ACTION, id="DELETE"),
        pytest.param("POST", ASK, {"Content-Type": "application/json"}, (415, "UnsupportedMediaType"), id="JSON"),
        pytest.param("POST", ASK, {"Content-Type": "text/plain"}, (415, "UnsupportedMediaType"), id="plain text"),
    ],
)
def test_one_call_is_served_and_no_other(
    tenants: Tenants, method: str, body: bytes, more: dict[str, str], expected: tuple[int, str]
) -> None:
    headers = FORM | more if body else {}
    reply = tenants.send(method, "/", body, headers, credentials=tenants.root, service="sts")
    assert (reply.status, code(reply)) == expected, reply.body


def code(reply: Reply) -> str:
    """Of the document's error, read as SDKs read it; the request ids of document and header are the same."""
    assert reply.headers["content-type"].startswith("text/xml")
    read = {"status_code": reply.status, "headers": reply.headers, "body": reply.body}
    shape = None if reply.status >= 300 else GET_CALLER_IDENTITY
    document = create_parser("query").parse(read, shape)
    assert document["ResponseMetadata"]["RequestId"] == reply.headers["x-amzn-requestid"]
    if "Error" not in document:
        return ""
    assert set(document["Error"]) == {"Type", "Code", "Message"}
    assert document["Error"]["Type"] == "Sender"
    return str(document["Error"]["Code"])


def test_without_credentials_nobody_is_told_anything(tenants: Tenants) -> None:
    reply = SignedClient(tenants.endpoint, tenants.settings).unsigned("POST", "/", ASK, FORM)
    assert (reply.status, code(reply)) == (403, "MissingAuthenticationToken")


def test_a_signature_for_one_service_is_none_for_the_other(tenants: Tenants) -> None:
    reply = tenants.send("POST", "/", ASK, FORM, credentials=tenants.root, service="s3vectors")
    assert (reply.status, code(reply)) == MISMATCH
    assert b"Credential should be scoped to correct service: 'sts'." in reply.body
    json_type = {"Content-Type": "application/json"}
    reply = tenants.send("POST", "/ListVectorBuckets", b"{}", json_type, credentials=tenants.root, service="sts")
    assert (reply.status, reply.type) == (403, "InvalidSignatureException")
    assert reply.json["message"] == "Credential should be scoped to correct service: 's3vectors'."


def test_a_changed_body_is_refused(tenants: Tenants) -> None:
    headers = FORM | {"X-Amz-Content-SHA256": hashlib.sha256(ASK).hexdigest()}
    reply = tenants.send("POST", "/", ASK + b"&Extra=1", headers, credentials=tenants.root, service="sts")
    assert (reply.status, code(reply)) == MISMATCH


def test_an_expired_session_is_told_so(tenants: Tenants, callers: dict[str, tuple[Credentials, str, str]]) -> None:
    assert callers
    expired = tenants.credentials("session", "create", "nobody")
    statement = "UPDATE s3_vectors.access_keys SET expiration_time = now() - interval '1 s' WHERE access_key_id = "
    rows(tenants, f"{statement}'{expired.access_key}'")
    with pytest.raises(ClientError, match="ExpiredToken") as refused:
        tenants.client(expired, "sts").get_caller_identity()
    assert refused.value.response["Error"]["Code"] == "ExpiredToken"


SPECIAL = """<b>&amp;"'</Message>"""


def test_names_with_special_characters_come_back_whole(tenants: Tenants) -> None:
    """No command makes such a user, but the document must not rely on it."""
    credentials = tenants.user("plain")
    quoted = SPECIAL.replace("'", "''")
    rows(tenants, f"UPDATE s3_vectors.users SET user_name = '{quoted}' WHERE user_name = 'plain'")
    told = tenants.client(credentials, "sts").get_caller_identity()
    assert told["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{SPECIAL}"


def test_what_clients_sent_comes_back_whole_in_an_error(tenants: Tenants) -> None:
    reply = tenants.send("POST", "/", ASK, FORM, credentials=tenants.root, service="sts", region="<&>]]>")
    assert (reply.status, code(reply)) == MISMATCH
    assert b"not '&lt;&amp;&gt;]]&gt;'." in reply.body


def test_our_own_faults_are_the_receivers() -> None:
    document = error_document(InternalServerException("Internal server error"), Event(request_id="id"))
    read = create_parser("query").parse({"status_code": 500, "headers": {}, "body": document}, None)
    assert read["Error"] == {"Type": "Receiver", "Code": "InternalFailure", "Message": "Internal server error"}
    assert read["ResponseMetadata"]["RequestId"] == "id"
