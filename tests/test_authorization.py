"""Who may do what, asked over HTTP by real clients with real credentials."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import psycopg
import pytest
from msgspec import Struct

from app.main import OPERATIONS
from app.settings import Settings
from tests.identities import EVERYTHING, Identities, allow, client, deny, policy
from tests.operations.vectors import refusal
from tests.signed import SignedClient

VECTOR = {"float32": [1.0, 0.0]}
OTHER_VECTOR = {"float32": [0.0, 1.0]}
TAGS = {"team": "red"}


class Call(Struct, frozen=True):
    """A call on bucket and index, and the permissions that it takes: actions on B the bucket, I the index, or `*`."""

    operation: str
    members: dict[str, Any]
    needs: dict[str, str]

    def on(self, bucket: str, index: str = "movies", account: str = "000000000000") -> dict[str, Any]:
        arns = {"B": bucket_arn(account, bucket), "I": f"{bucket_arn(account, bucket)}/index/{index}"}
        names = {"bucket": bucket, "index": index}
        return {
            name: arns.get(value, names.get(value, value)) if isinstance(value, str) else value
            for name, value in self.members.items()
        }

    def permissions(self, bucket: str, index: str = "movies", account: str = "000000000000") -> dict[str, str]:
        arns = {"B": bucket_arn(account, bucket), "I": f"{bucket_arn(account, bucket)}/index/{index}", "*": "*"}
        return {f"s3vectors:{action}": arns[kind] for action, kind in self.needs.items()}


def bucket_arn(account: str, bucket: str) -> str:
    return f"arn:aws:s3vectors:us-east-1:{account}:bucket/{bucket}"


BUCKET = {"vectorBucketName": "bucket"}
INDEX = {"vectorBucketName": "bucket", "indexName": "index"}
CREATE_INDEX = {
    **INDEX,
    "dataType": "float32",
    "dimension": 2,
    "distanceMetric": "cosine",
    "metadataConfiguration": {"textSearchConfigurations": [{"metadataKey": "plot"}]},
}
SOME_POLICY = policy(allow("s3vectors:GetIndex", "*", Principal={"AWS": "000000000000"}))

CALLS = {
    "CreateVectorBucket": Call("create_vector_bucket", BUCKET, {"CreateVectorBucket": "B"}),
    "CreateVectorBucket with tags": Call(
        "create_vector_bucket", {**BUCKET, "tags": TAGS}, {"CreateVectorBucket": "B", "TagResource": "B"}
    ),
    "GetVectorBucket": Call("get_vector_bucket", BUCKET, {"GetVectorBucket": "B"}),
    "GetVectorBucket by ARN": Call("get_vector_bucket", {"vectorBucketArn": "B"}, {"GetVectorBucket": "B"}),
    "ListVectorBuckets": Call("list_vector_buckets", {}, {"ListVectorBuckets": "*"}),
    "DeleteVectorBucket": Call("delete_vector_bucket", BUCKET, {"DeleteVectorBucket": "B"}),
    "PutVectorBucketPolicy": Call(
        "put_vector_bucket_policy", {**BUCKET, "policy": SOME_POLICY}, {"PutVectorBucketPolicy": "B"}
    ),
    "GetVectorBucketPolicy": Call("get_vector_bucket_policy", BUCKET, {"GetVectorBucketPolicy": "B"}),
    "DeleteVectorBucketPolicy": Call("delete_vector_bucket_policy", BUCKET, {"DeleteVectorBucketPolicy": "B"}),
    "CreateIndex": Call("create_index", CREATE_INDEX, {"CreateIndex": "I"}),
    "CreateIndex with tags": Call(
        "create_index", {**CREATE_INDEX, "tags": TAGS}, {"CreateIndex": "I", "TagResource": "I"}
    ),
    "GetIndex": Call("get_index", INDEX, {"GetIndex": "I"}),
    "GetIndex by ARN": Call("get_index", {"indexArn": "I"}, {"GetIndex": "I"}),
    "ListIndexes": Call("list_indexes", BUCKET, {"ListIndexes": "B"}),
    "DeleteIndex": Call("delete_index", INDEX, {"DeleteIndex": "I"}),
    "UpdateIndexMode": Call("update_index_mode", {**INDEX, "indexMode": "ENHANCED"}, {"UpdateIndexMode": "I"}),
    "UpdateIndexMode by ARN": Call(
        "update_index_mode", {"indexArn": "I", "indexMode": "ENHANCED"}, {"UpdateIndexMode": "I"}
    ),
    "PutVectorBucketDefaultIndexMode": Call(
        "put_vector_bucket_default_index_mode",
        {**BUCKET, "defaultIndexMode": "ENHANCED"},
        {"PutVectorBucketDefaultIndexMode": "B"},
    ),
    "UpdateMetadataConfiguration": Call(
        "update_metadata_configuration",
        {**INDEX, "add": {"textSearchConfigurations": [{"metadataKey": "title"}]}},
        {"UpdateMetadataConfiguration": "I"},
    ),
    "PutVectors": Call("put_vectors", {**INDEX, "vectors": [{"key": "k", "data": VECTOR}]}, {"PutVectors": "I"}),
    "GetVectors": Call("get_vectors", {**INDEX, "keys": ["k"]}, {"GetVectors": "I"}),
    "ListVectors": Call("list_vectors", INDEX, {"ListVectors": "I"}),
    "ListVectors with data": Call(
        "list_vectors", {**INDEX, "returnData": True}, {"ListVectors": "I", "GetVectors": "I"}
    ),
    "ListVectors with metadata": Call(
        "list_vectors", {**INDEX, "returnMetadata": True}, {"ListVectors": "I", "GetVectors": "I"}
    ),
    "DeleteVectors": Call("delete_vectors", {**INDEX, "keys": ["k"]}, {"DeleteVectors": "I"}),
    "QueryVectors": Call("query_vectors", {**INDEX, "topK": 1, "queryVector": VECTOR}, {"QueryVectors": "I"}),
    "QueryVectors with distance": Call(
        "query_vectors", {**INDEX, "topK": 1, "queryVector": VECTOR, "returnDistance": True}, {"QueryVectors": "I"}
    ),
    "QueryVectors with filter": Call(
        "query_vectors",
        {**INDEX, "topK": 1, "queryVector": VECTOR, "filter": {"year": 1979}},
        {"QueryVectors": "I", "GetVectors": "I"},
    ),
    "QueryVectors with metadata": Call(
        "query_vectors",
        {**INDEX, "topK": 1, "queryVector": VECTOR, "returnMetadata": True},
        {"QueryVectors": "I", "GetVectors": "I"},
    ),
    "QueryVectors with texts": Call(
        "query_vectors",
        {**INDEX, "topK": 1, "queryTexts": [{"metadataKey": "plot", "text": "x"}]},
        {"QueryVectors": "I", "GetVectors": "I"},
    ),
    "TagResource of a bucket": Call("tag_resource", {"resourceArn": "B", "tags": TAGS}, {"TagResource": "B"}),
    "TagResource of an index": Call("tag_resource", {"resourceArn": "I", "tags": TAGS}, {"TagResource": "I"}),
    "UntagResource": Call("untag_resource", {"resourceArn": "I", "tagKeys": ["team"]}, {"UntagResource": "I"}),
    "ListTagsForResource": Call("list_tags_for_resource", {"resourceArn": "B"}, {"ListTagsForResource": "B"}),
}
CREATING = {"CreateVectorBucket", "CreateVectorBucket with tags"}
WITHOUT_INDEX = {"CreateIndex", "CreateIndex with tags", "DeleteVectorBucket"}

calls = pytest.mark.parametrize("name", CALLS)


@pytest.fixture
def present(s3vectors: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a bucket in which the call named by the test has what it needs."""
    name, needed = f"authorized-{uuid4().hex}", request.getfixturevalue("name")
    if needed not in CREATING:
        s3vectors.create_vector_bucket(vectorBucketName=name)
        s3vectors.put_vector_bucket_policy(vectorBucketName=name, policy=SOME_POLICY)
    if needed not in CREATING | WITHOUT_INDEX:
        s3vectors.create_index(**CALLS["CreateIndex"].on(name))
    yield name
    for delete in (s3vectors.delete_index, s3vectors.delete_vector_bucket):
        try:
            delete(**(CALLS["GetIndex"] if delete == s3vectors.delete_index else CALLS["GetVectorBucket"]).on(name))
        except (s3vectors.exceptions.NotFoundException, s3vectors.exceptions.ConflictException):
            continue


# A bucket policy as many have it, under which a stranger must not learn from a denial that there is the bucket.
DENYING = policy(deny("s3vectors:*", "*", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}}))


@pytest.fixture(scope="module")
def stranger(endpoint: str, settings: Settings) -> Any:
    """A user of the server's own account whom no policy allows anything."""
    return client(endpoint, **Identities(settings).user("000000000000", f"stranger-{uuid4().hex[:8]}"))


def test_every_operation_is_in_the_table() -> None:
    assert {call.operation.replace("_", "") for call in CALLS.values()} == {
        str(operation.name).lower() for operation in OPERATIONS
    }


def walked(name: str) -> tuple[str, str, bytes]:
    """Method, path and body of a call on what is not there."""
    members = CALLS[name].on("no-such-bucket")
    captured: list[Any] = []
    probe = boto3.client(
        "s3vectors",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )

    def capture(request: Any, **_: Any) -> None:
        captured.append(request)
        raise InterruptedError

    probe.meta.events.register("before-send.s3vectors", capture)
    with pytest.raises(InterruptedError):
        getattr(probe, CALLS[name].operation)(**members)
    sent = captured[0]
    return sent.method, sent.url.removeprefix("http://127.0.0.1:9"), sent.body or b""


@calls
def test_without_credentials_or_with_a_wrong_signature_nobody_gets_in(
    name: str, endpoint: str, settings: Settings
) -> None:
    method, path, body = walked(name)
    headers = {"Content-Type": "application/json"} if body else {}
    wrong = Settings(root_access_key_id=settings.root_access_key_id, root_secret_access_key="x" * 40)
    unsigned = SignedClient(endpoint, settings).unsigned(method, path, body, headers)
    forged = SignedClient(endpoint, wrong).send(method, path, body, headers)
    assert (unsigned.status, unsigned.type) == (403, "MissingAuthenticationTokenException")
    assert (forged.status, forged.type) == (403, "InvalidSignatureException")


@calls
def test_a_user_without_policy_learns_nothing(name: str, present: str, stranger: Any) -> None:
    """Not even whether there is what he asks for."""
    call, absent = CALLS[name], f"absent-{uuid4().hex}"
    there = refusal(lambda: getattr(stranger, call.operation)(**call.on(present)))
    not_there = refusal(lambda: getattr(stranger, call.operation)(**call.on(absent)))
    first_action, resource = next(iter(call.permissions(present).items()))
    assert there[:2] == (403, "AccessDeniedException")
    assert there[2].endswith(
        f" is not authorized to perform: {first_action} on resource: {resource}"
        f" because no identity-based policy allows the {first_action} action"
    )
    assert (*not_there[:2], not_there[2].replace(absent, present)) == there[:3]


@pytest.mark.parametrize("name", ["GetVectorBucket by ARN", "GetIndex by ARN", "ListTagsForResource"])
def test_a_deny_in_a_bucket_policy_tells_strangers_nothing(
    name: str, present: str, s3vectors: Any, stranger: Any, endpoint: str, identities: Identities
) -> None:
    """Neither those of the account whom nothing lets in, nor those of another whom the bucket policy does not."""
    s3vectors.put_vector_bucket_policy(vectorBucketName=present, policy=DENYING)
    foreign, call, absent = identities.account(), CALLS[name], f"absent-{uuid4().hex}"
    others = (identities.root(foreign), identities.user(foreign, "ana", EVERYTHING), identities.user(foreign, "eve"))

    def told(asking: Any, bucket: str) -> tuple[int, str, str]:
        return refusal(lambda: getattr(asking, call.operation)(**call.on(bucket)))[:3]

    for asking in (stranger, *(client(endpoint, **key) for key in others)):
        status, code, message = told(asking, present)
        assert (status, code) == (403, "AccessDeniedException")
        assert message.replace(present, absent) == told(asking, absent)[2]
    s3vectors.delete_vector_bucket_policy(vectorBucketName=present)


@calls
def test_each_permission_is_needed_on_its_own_resource(
    name: str, present: str, endpoint: str, identities: Identities
) -> None:
    """Without one of them the call is denied for it, and with all of them, and no others, it succeeds."""
    call, user = CALLS[name], f"user-{uuid4().hex[:8]}"
    needed = call.permissions(present)
    allowed = client(endpoint, **identities.user("000000000000", user))
    for missing in needed:
        others = [allow(action, resource) for action, resource in needed.items() if action != missing]
        # Everything on everything else: what is needed is needed right there.
        elsewhere = {"Effect": "Allow", "Action": missing, "NotResource": needed[missing]}
        identities.put_policy("000000000000", user, *others, elsewhere)
        status, code, message, _ = refusal(lambda: getattr(allowed, call.operation)(**call.on(present)))
        assert (status, code) == (403, "AccessDeniedException")
        assert f"perform: {missing} on resource: {needed[missing]} because" in message
    identities.put_policy("000000000000", user, *(allow(action, resource) for action, resource in needed.items()))
    getattr(allowed, call.operation)(**call.on(present))


@pytest.fixture
def movies(s3vectors: Any, bucket: str) -> dict[str, str]:
    s3vectors.create_index(**CALLS["CreateIndex"].on(bucket))
    return {"vectorBucketName": bucket, "indexName": "movies"}


Denial = Callable[[Any], tuple[int, str, str, list[dict[str, str]]]]


@pytest.fixture
def denial(movies: dict[str, str]) -> Denial:
    """What GetIndex answers to a client that may not."""
    return lambda asking: refusal(lambda: asking.get_index(**movies))


def test_the_refusal_says_which_kind_of_policy_denies(
    s3vectors: Any, movies: dict[str, str], endpoint: str, identities: Identities, denial: Denial
) -> None:
    bucket, arn = movies["vectorBucketName"], bucket_arn("000000000000", movies["vectorBucketName"])
    name = f"user-{uuid4().hex[:8]}"
    asking = client(endpoint, **identities.user("000000000000", name, EVERYTHING))
    user = f"arn:aws:iam::000000000000:user/{name}"
    prefix = f"User: {user} is not authorized to perform: s3vectors:GetIndex on resource: {arn}/index/movies "
    asking.get_index(**movies)

    identities.put_policy("000000000000", name, EVERYTHING, deny("s3vectors:GetIndex", "*"))
    assert denial(asking)[2] == prefix + "with an explicit deny in an identity-based policy"

    identities.put_policy("000000000000", name, EVERYTHING)
    document = policy(deny("s3vectors:GetIndex", f"{arn}/*", Principal={"AWS": user}))
    s3vectors.put_vector_bucket_policy(vectorBucketName=bucket, policy=document)
    assert denial(asking)[2] == prefix + "with an explicit deny in a resource-based policy"

    s3vectors.delete_vector_bucket_policy(vectorBucketName=bucket)
    identities.put_policy("000000000000", name, allow("s3vectors:GetIndex", f"{arn}/index/other"))
    assert denial(asking)[2] == prefix + "because no identity-based policy allows the s3vectors:GetIndex action"


def test_a_bucket_policy_alone_lets_in_a_user_of_the_account_whom_it_names(
    s3vectors: Any, movies: dict[str, str], endpoint: str, identities: Identities, denial: Denial
) -> None:
    name = f"user-{uuid4().hex[:8]}"
    asking = client(endpoint, **identities.user("000000000000", name))
    for principal, let_in in ((f"arn:aws:iam::000000000000:user/{name}", True), ("000000000000", False)):
        document = policy(allow("s3vectors:GetIndex", "*", Principal={"AWS": principal}))
        s3vectors.put_vector_bucket_policy(vectorBucketName=movies["vectorBucketName"], policy=document)
        if let_in:
            asking.get_index(**movies)
        else:
            assert denial(asking)[:2] == (403, "AccessDeniedException")


def test_a_successor_of_the_same_name_inherits_nothing_from_a_bucket_policy(
    s3vectors: Any, movies: dict[str, str], endpoint: str, identities: Identities, denial: Denial
) -> None:
    name = f"user-{uuid4().hex[:8]}"
    asking = client(endpoint, **identities.user("000000000000", name))
    document = policy(allow("s3vectors:GetIndex", "*", Principal={"AWS": f"arn:aws:iam::000000000000:user/{name}"}))
    s3vectors.put_vector_bucket_policy(vectorBucketName=movies["vectorBucketName"], policy=document)
    asking.get_index(**movies)
    identities.delete_user("000000000000", name)
    assert denial(asking)[:2] == (403, "UnrecognizedClientException")
    successor = client(endpoint, **identities.user("000000000000", name))
    assert denial(successor)[:2] == (403, "AccessDeniedException")


def test_an_explicit_deny_binds_the_root_user_too_but_locks_nobody_out(
    s3vectors: Any, movies: dict[str, str], denial: Denial
) -> None:
    bucket = {"vectorBucketName": movies["vectorBucketName"]}
    s3vectors.put_vector_bucket_policy(**bucket, policy=policy(deny("*", "*", Principal="*")))
    assert denial(s3vectors)[2].endswith("with an explicit deny in a resource-based policy")
    assert json.loads(s3vectors.get_vector_bucket_policy(**bucket)["policy"])["Statement"][0]["Effect"] == "Deny"
    s3vectors.put_vector_bucket_policy(**bucket, policy=policy(deny("s3vectors:DeleteIndex", "*", Principal="*")))
    s3vectors.get_index(**movies)
    s3vectors.delete_vector_bucket_policy(**bucket)


def test_bucket_names_belong_to_their_account(endpoint: str, identities: Identities) -> None:
    """Two tenants have a bucket of the same name, and each sees its own."""
    name = f"shared-{uuid4().hex}"
    accounts = [identities.account(), identities.account()]
    for account in accounts:
        tenant = client(endpoint, **identities.root(account))
        created = tenant.create_vector_bucket(vectorBucketName=name)
        assert created["vectorBucketArn"] == bucket_arn(account, name)
        tenant.create_index(**CALLS["CreateIndex"].on(name))
        vectors = [{"key": account, "data": VECTOR}]
        tenant.put_vectors(vectorBucketName=name, indexName="movies", vectors=vectors)
    for account in accounts:
        tenant = client(endpoint, **identities.root(account))
        assert [b["vectorBucketName"] for b in tenant.list_vector_buckets()["vectorBuckets"]] == [name]
        listed = tenant.list_vectors(vectorBucketName=name, indexName="movies")["vectors"]
        assert [vector["key"] for vector in listed] == [account]


def test_across_accounts_both_sides_must_allow(endpoint: str, identities: Identities) -> None:
    owning, asking_account = identities.account(), identities.account()
    owner, name = client(endpoint, **identities.root(owning)), f"media-{uuid4().hex}"
    owner.create_vector_bucket(vectorBucketName=name)
    owner.create_index(**CALLS["CreateIndex"].on(name))
    arn = f"{bucket_arn(owning, name)}/index/movies"
    asking = client(endpoint, **identities.user(asking_account, "ana"))
    root = client(endpoint, **identities.root(asking_account))

    def put(principal: str) -> None:
        document = policy(allow("s3vectors:*", f"{bucket_arn(owning, name)}/*", Principal={"AWS": principal}))
        owner.put_vector_bucket_policy(vectorBucketName=name, policy=document)

    def answer(who: Any) -> str:
        return refusal(lambda: who.get_index(indexArn=arn))[2].rpartition(" resource: ")[2]

    no_identity = f"{arn} because no identity-based policy allows the s3vectors:GetIndex action"
    no_resource = f"{arn} because no resource-based policy allows the s3vectors:GetIndex action"
    assert answer(asking) == no_identity
    assert answer(root) == no_resource
    identities.put_policy(asking_account, "ana", EVERYTHING)
    assert answer(asking) == no_resource
    for principal in (f"arn:aws:iam::{asking_account}:user/ana", asking_account):
        put(principal)
        asking.get_index(indexArn=arn)
    root.get_index(indexArn=arn)
    identities.put_policy(asking_account, "ana", allow("s3vectors:GetIndex", "arn:aws:s3vectors:*:*:bucket/other/*"))
    assert answer(asking) == no_identity
    # By its name it is the asker's own bucket, which does not exist.
    identities.put_policy(asking_account, "ana", EVERYTHING)
    assert refusal(lambda: asking.get_index(**CALLS["GetIndex"].on(name)))[0] == 404


CONDITIONS = {
    "bucket tag": ("StringEquals", "s3vectors:VectorBucketTag/team", "red", True),
    "another bucket tag": ("StringEquals", "s3vectors:VectorBucketTag/team", "blue", False),
    "index tag": ("StringEquals", "aws:ResourceTag/genre", "noir", True),
    "tag of the bucket is none of the index": ("StringEquals", "aws:ResourceTag/team", "red", False),
    "principal tag": ("StringEquals", "aws:PrincipalTag/role", "reader", True),
    "principal tag as variable": ("StringEquals", "s3vectors:VectorBucketTag/team", "${aws:PrincipalTag/team}", True),
    "user name": ("StringLike", "aws:username", "user-*", True),
    "address": ("IpAddress", "aws:SourceIp", "127.0.0.0/8", True),
    "another address": ("IpAddress", "aws:SourceIp", "10.0.0.0/8", False),
    "TLS": ("Bool", "aws:SecureTransport", "true", False),
    "region": ("StringEquals", "aws:RequestedRegion", "us-east-1", True),
    "time": ("DateGreaterThan", "aws:CurrentTime", "2026-01-01T00:00:00Z", True),
    "owner": ("StringEquals", "aws:ResourceAccount", "000000000000", True),
    "agent": ("StringLike", "aws:UserAgent", "Boto3/*", True),
}


@pytest.fixture(scope="module")
def tagged(s3vectors: Any) -> Iterator[dict[str, str]]:
    name = f"tagged-{uuid4().hex}"
    s3vectors.create_vector_bucket(vectorBucketName=name, tags={"team": "red"})
    s3vectors.create_index(**CALLS["CreateIndex"].on(name), tags={"genre": "noir"})
    yield {"vectorBucketName": name, "indexName": "movies"}
    s3vectors.delete_index(vectorBucketName=name, indexName="movies")
    s3vectors.delete_vector_bucket(vectorBucketName=name)


@pytest.fixture(scope="module")
def conditional(endpoint: str, settings: Settings) -> tuple[str, Any]:
    name = f"user-{uuid4().hex[:8]}"
    key = Identities(settings).user("000000000000", name, role="reader", team="red")
    return name, client(endpoint, **key)


@pytest.mark.parametrize(("operator", "key", "value", "holds"), CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_know_the_request(
    tagged: dict[str, str],
    conditional: tuple[str, Any],
    identities: Identities,
    operator: str,
    key: str,
    value: str,
    holds: bool,  # noqa: FBT001
) -> None:
    name, asking = conditional
    statement = allow("s3vectors:GetIndex", "*", Condition={operator: {key: value}})
    identities.put_policy("000000000000", name, statement)
    if holds:
        asking.get_index(**tagged)
    else:
        assert refusal(lambda: asking.get_index(**tagged))[:2] == (403, "AccessDeniedException")


# Each row: what policies say of temporary credentials, and whether they, and those that last, may get the index.
OF_SESSIONS: dict[str, tuple[dict[str, Any], bool, bool]] = {
    "only without": (allow("*", "*", Condition={"Null": {"aws:TokenIssueTime": "true"}}), False, True),
    "only with": (allow("*", "*", Condition={"Null": {"aws:TokenIssueTime": "false"}}), True, False),
    "older ones revoked": (
        deny("*", "*", Condition={"DateLessThan": {"aws:TokenIssueTime": "2100-01-01"}}),
        False,
        True,
    ),
    "those before the last": (
        deny("*", "*", Condition={"DateLessThan": {"aws:TokenIssueTime": "2026-01-01"}}),
        True,
        True,
    ),
    "without a second factor": (
        deny("*", "*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "false"}}),
        False,
        True,
    ),
}


@pytest.fixture(scope="module")
def temporary(endpoint: str, settings: Settings) -> tuple[str, Any]:
    name = f"user-{uuid4().hex[:8]}"
    return name, client(endpoint, **Identities(settings).session("000000000000", name))


@pytest.mark.parametrize(("statement", "for_temporary", "for_lasting"), OF_SESSIONS.values(), ids=OF_SESSIONS)
def test_conditions_know_temporary_credentials(
    tagged: dict[str, str],
    temporary: tuple[str, Any],
    conditional: tuple[str, Any],
    identities: Identities,
    statement: dict[str, Any],
    for_temporary: bool,  # noqa: FBT001
    for_lasting: bool,  # noqa: FBT001
) -> None:
    allowing = [EVERYTHING] if statement["Effect"] == "Deny" else []

    def may(name: str, asking: Any) -> bool:
        identities.put_policy("000000000000", name, statement, *allowing)
        try:
            asking.get_index(**tagged)
        except asking.exceptions.AccessDeniedException:
            return False
        return True

    assert (may(*temporary), may(*conditional)) == (for_temporary, for_lasting)


KMS = "arn:aws:kms:us-east-1:000000000000:key/1"
ASKED = {
    "tag allowed": ({"tags": {"team": "red"}}, "StringEquals", "aws:RequestTag/team", "red", True),
    "another tag": ({"tags": {"team": "blue"}}, "StringEquals", "aws:RequestTag/team", "red", False),
    "tag missing": ({}, "StringEquals", "aws:RequestTag/team", "red", False),
    "tag keys": ({"tags": {"team": "red"}}, "ForAllValues:StringEquals", "aws:TagKeys", ["team"], True),
    "another tag key": ({"tags": {"a": "b"}}, "ForAllValues:StringEquals", "aws:TagKeys", ["team"], False),
    "AES256 by default": ({}, "StringEquals", "s3vectors:sseType", "AES256", True),
    "KMS wanted, nothing said": ({}, "StringEquals", "s3vectors:sseType", "aws:kms", False),
    "another key": (
        {"encryptionConfiguration": {"sseType": "aws:kms", "kmsKeyArn": KMS}},
        "ArnEquals",
        "s3vectors:kmsKeyArn",
        KMS + "2",
        False,
    ),
}


@pytest.mark.parametrize(("members", "operator", "key", "value", "holds"), ASKED.values(), ids=ASKED)
def test_conditions_know_what_a_create_asks_for(
    conditional: tuple[str, Any],
    identities: Identities,
    s3vectors: Any,
    members: dict[str, Any],
    operator: str,
    key: str,
    value: Any,
    holds: bool,  # noqa: FBT001
) -> None:
    (name, asking), bucket = conditional, f"asked-{uuid4().hex}"
    identities.put_policy("000000000000", name, allow("*", "*", Condition={operator: {key: value}}))
    if holds:
        asking.create_vector_bucket(vectorBucketName=bucket, **members)
        asking.create_index(**CALLS["CreateIndex"].on(bucket), **members)
        s3vectors.delete_index(vectorBucketName=bucket, indexName="movies")
        s3vectors.delete_vector_bucket(vectorBucketName=bucket)
    else:
        status, code, *_ = refusal(lambda: asking.create_vector_bucket(vectorBucketName=bucket, **members))
        assert (status, code) == (403, "AccessDeniedException")


def test_untagging_is_conditional_on_the_keys(
    tagged: dict[str, str], conditional: tuple[str, Any], identities: Identities
) -> None:
    name, asking = conditional
    arn = bucket_arn("000000000000", tagged["vectorBucketName"])
    condition = {"ForAnyValue:StringEquals": {"aws:TagKeys": "team"}}
    identities.put_policy("000000000000", name, EVERYTHING, deny("s3vectors:UntagResource", "*", Condition=condition))
    asking.untag_resource(resourceArn=arn, tagKeys=["other"])
    assert refusal(lambda: asking.untag_resource(resourceArn=arn, tagKeys=["other", "team"]))[0] == 403


def test_a_page_token_is_of_no_use_to_another_user(
    s3vectors: Any, movies: dict[str, str], endpoint: str, identities: Identities
) -> None:
    s3vectors.put_vectors(**movies, vectors=[{"key": key, "data": VECTOR} for key in "abc"])
    readers = [
        client(endpoint, **identities.user("000000000000", f"user-{uuid4().hex[:8]}", EVERYTHING)) for _ in range(2)
    ]
    token = readers[0].list_vectors(**movies, maxResults=1)["nextToken"]
    assert len(readers[0].list_vectors(**movies, maxResults=1, nextToken=token)["vectors"]) == 1
    status, code, message, _ = refusal(lambda: readers[1].list_vectors(**movies, maxResults=1, nextToken=token))
    assert (status, code, message) == (400, "ValidationException", "Invalid nextToken")


UNREADABLE = {"no JSON": "{", "unknown operator": policy(allow("*", "*", Principal="*", Condition={"Like": {}}))}


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE)
def test_a_policy_that_cannot_be_read_denies_and_what_is_changed_in_sql_is_in_force_at_once(
    s3vectors: Any,
    movies: dict[str, str],
    endpoint: str,
    identities: Identities,
    settings: Settings,
    denial: Denial,
    text: str,
) -> None:
    name = f"user-{uuid4().hex[:8]}"
    asking = client(endpoint, **identities.user("000000000000", name, EVERYTHING))
    asking.get_index(**movies)
    changes = {
        "UPDATE s3_vectors.vector_buckets SET policy = %s WHERE vector_bucket_name = %s": movies["vectorBucketName"],
        "UPDATE s3_vectors.user_policies SET document = %s FROM s3_vectors.users u"
        " WHERE u.user_id = user_policies.user_id AND user_name = %s": name,
    }
    for statement, row in changes.items():
        with psycopg.connect(settings.database_url or "") as connection:
            connection.execute(statement.encode(), [text, row])
        assert "with an explicit deny in a" in denial(asking)[2]
        s3vectors.delete_vector_bucket_policy(vectorBucketName=movies["vectorBucketName"])
    identities.put_policy("000000000000", name, EVERYTHING)
    asking.get_index(**movies)
