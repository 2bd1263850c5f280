from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from app.policy.condition_keys import MULTIVALUED, NEVER_PRESENT, SINGLE_VALUED
from app.policy.principals import Principal, root_user
from app.request_context import Peer, parse_networks, peer_of, request_context
from app.settings import Settings
from app.sigv4 import SignedRequest
from tests.conftest import open_directory
from tests.tenants import ACCOUNT, Tenants, serving

Headers = list[tuple[str, str]]

CLIENT = "203.0.113.7"
OTHER = "198.51.100.1"
PROXY = "10.0.0.1"
INNER_PROXY = "10.0.0.2"
TRUSTED = "10.0.0.0/8, fd00::/8 ,192.0.2.9"
HTTPS = ("x-forwarded-proto", "https")


def forwarded(*values: str) -> Headers:
    return [("x-forwarded-for", value) for value in values]


def request(headers: Headers) -> SignedRequest:
    encoded = tuple((name.encode(), value.encode("latin-1")) for name, value in headers)
    return SignedRequest(method="POST", raw_path=b"/ListVectorBuckets", query=b"", headers=encoded)


def told(socket_peer: str, headers: Headers, trusted: str, scheme: str = "http") -> tuple[str, bool]:
    peer = peer_of(request(headers), socket_peer, scheme, parse_networks(trusted))
    return str(peer.address or ""), peer.secure


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "::/0"], ids=["none", "others", "all of IPv6"])
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([], id="nothing"),
        pytest.param(forwarded(OTHER), id="X-Forwarded-For"),
        pytest.param(forwarded(PROXY, OTHER), id="repeated"),
        pytest.param([HTTPS], id="X-Forwarded-Proto"),
        pytest.param([("forwarded", f"for={OTHER};proto=https")], id="Forwarded"),
        pytest.param([("x-real-ip", OTHER), ("x-forwarded-scheme", "https"), ("front-end-https", "on")], id="others"),
    ],
)
def test_nobody_is_believed_but_trusted_proxies(headers: Headers, trusted: str) -> None:
    assert told(CLIENT, headers, trusted) == (CLIENT, False)


@pytest.mark.parametrize(
    ("socket_peer", "values", "address"),
    [
        pytest.param(PROXY, [], PROXY, id="the proxy itself"),
        pytest.param(PROXY, [CLIENT], CLIENT, id="one hop"),
        pytest.param("192.0.2.9", [CLIENT], CLIENT, id="a single address is trusted"),
        pytest.param(PROXY, [f"{OTHER}, {CLIENT}"], CLIENT, id="what the client said before is its own word"),
        pytest.param(PROXY, [f"{PROXY}, {CLIENT}"], CLIENT, id="even if it names a proxy"),
        pytest.param(PROXY, [f"{OTHER}, {CLIENT}, {INNER_PROXY}"], CLIENT, id="two proxies"),
        pytest.param(PROXY, [f"{CLIENT},{INNER_PROXY}"], CLIENT, id="no blanks"),
        pytest.param(PROXY, [f"  {CLIENT}  ,\t{INNER_PROXY} "], CLIENT, id="many blanks"),
        pytest.param(PROXY, [OTHER, CLIENT], CLIENT, id="repeated headers are one list"),
        pytest.param(PROXY, [CLIENT, INNER_PROXY], CLIENT, id="repeated by two proxies"),
        pytest.param(PROXY, [f"{INNER_PROXY}, 10.9.9.9"], INNER_PROXY, id="all trusted: the first"),
        pytest.param(PROXY, [f"{CLIENT}, garbage"], PROXY, id="garbage at the end"),
        pytest.param(PROXY, [f"{OTHER}, garbage, {CLIENT}"], CLIENT, id="garbage behind the client"),
        pytest.param(PROXY, [f"{CLIENT}, garbage, {INNER_PROXY}"], INNER_PROXY, id="garbage between proxies"),
        pytest.param(PROXY, [""], PROXY, id="empty"),
        pytest.param(PROXY, [f"{CLIENT},"], PROXY, id="empty at the end"),
        pytest.param(PROXY, [f"{CLIENT}:4711"], PROXY, id="a port is no part of an address"),
        pytest.param(PROXY, ["unknown"], PROXY, id="unknown"),
        pytest.param(PROXY, ["203.0.113.007"], PROXY, id="leading zeros"),
        pytest.param(PROXY, ["203.0.113.0/24"], PROXY, id="a network"),
        pytest.param(PROXY, ["3405803783"], PROXY, id="a number"),
        pytest.param(PROXY, ["\xb2\xb9.0.0.1"], PROXY, id="digits that are none"),
        pytest.param(PROXY, ["2001:DB8:0::1"], "2001:db8::1", id="IPv6, in its one spelling"),
        pytest.param(PROXY, [f"::ffff:{CLIENT}"], CLIENT, id="IPv4 mapped"),
        pytest.param("fd00::1", ["2001:db8::1"], "2001:db8::1", id="a proxy with IPv6"),
        pytest.param("fd00::1", [f"2001:db8::1, fd00::2, {INNER_PROXY}"], "2001:db8::1", id="proxies of both"),
        pytest.param(f"::ffff:{PROXY}", [CLIENT], CLIENT, id="a proxy mapped"),
        pytest.param(f"::ffff:{CLIENT}", [OTHER], CLIENT, id="a stranger mapped"),
        pytest.param("2001:db8::1", [OTHER], "2001:db8::1", id="a stranger with IPv6"),
        pytest.param("", [OTHER], "", id="no TCP peer"),
        pytest.param("/run/socket", [OTHER], "", id="a socket's path"),
    ],
)
def test_behind_proxies_the_last_address_that_is_none_of_theirs_counts(
    socket_peer: str, values: list[str], address: str
) -> None:
    assert told(socket_peer, forwarded(*values), TRUSTED) == (address, False)


@pytest.mark.parametrize(
    ("socket_peer", "scheme", "values", "secure"),
    [
        (PROXY, "http", [], False),
        (PROXY, "http", ["http"], False),
        (PROXY, "http", ["https"], True),
        (PROXY, "http", ["https", "https"], True),
        (PROXY, "http", ["https", "http"], False),
        (PROXY, "http", ["http", "https"], False),
        (PROXY, "http", ["https,http"], False),
        (PROXY, "http", [""], False),
        (PROXY, "http", ["wss"], False),
        (PROXY, "https", ["http"], True),
        (CLIENT, "http", ["https"], False),
        (CLIENT, "https", [], True),
        (CLIENT, "https", ["http"], True),
        ("", "http", ["https"], False),
    ],
)
def test_transport_is_secure_if_ours_is_or_if_all_that_a_proxy_says_is_https(
    socket_peer: str, scheme: str, values: list[str], *, secure: bool
) -> None:
    headers = [("x-forwarded-proto", value) for value in values]
    assert told(socket_peer, headers, TRUSTED, scheme)[1] is secure


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "*"])
def test_networks_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        parse_networks(text)


NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
ANN = Principal(
    f"arn:aws:iam::{ACCOUNT}:user/ann", ACCOUNT, "AIDAEXAMPLE", "ann", {"Team": "search", "team2": "x", "Größe": "ä"}
)
OF_EVERY_REQUEST = {
    "aws:currenttime": "2026-03-04T05:06:07Z",
    "aws:epochtime": "1772600767",
    "aws:principalaccount": ACCOUNT,
    "aws:requestedregion": "eu-west-1",
    "aws:securetransport": "true",
    "aws:sourceip": CLIENT,
    "aws:useragent": "Boto3/1 md/x",
}
PEER = Peer(ip_address(CLIENT), secure=True)


def test_the_keys_of_a_root_user() -> None:
    assert request_context(root_user(ACCOUNT), PEER, "Boto3/1 md/x", "eu-west-1", NOW) == OF_EVERY_REQUEST | {
        "aws:principalarn": f"arn:aws:iam::{ACCOUNT}:root",
        "aws:principaltype": "Account",
        "aws:userid": ACCOUNT,
    }


def test_the_keys_of_a_user() -> None:
    assert request_context(ANN, PEER, "Boto3/1 md/x", "eu-west-1", NOW) == OF_EVERY_REQUEST | {
        "aws:principalarn": f"arn:aws:iam::{ACCOUNT}:user/ann",
        "aws:principaltype": "User",
        "aws:userid": "AIDAEXAMPLE",
        "aws:username": "ann",
        "aws:principaltag/Team": "search",
        "aws:principaltag/team": "search",
        "aws:principaltag/team2": "x",
        "aws:principaltag/Größe": "ä",
        "aws:principaltag/größe": "ä",
    }


def test_the_keys_of_temporary_credentials() -> None:
    session = msgspec.structs.replace(ANN, token_issue_time=datetime(2026, 3, 4, 5, 0, 0, 999_999, tzinfo=UTC))
    lasting, temporary = (request_context(who, PEER, "", "eu-west-1", NOW) for who in (ANN, session))
    own = {"aws:tokenissuetime": "2026-03-04T05:00:00Z", "aws:multifactorauthpresent": "false"}
    assert temporary == {**lasting, **own}
    assert not own.keys() & lasting.keys()


def test_the_keys_of_a_principal_go_to_no_other() -> None:
    """They are kept once they have been asked for, and neither requests nor copies may change them."""
    bob = msgspec.structs.replace(ANN, arn=f"{ANN.arn}-bob", user_name="bob", user_id="AIDABOB", tags={})
    of_ann = dict(ANN.context)
    told = [request_context(who, PEER, agent, "eu-west-1", NOW) for who, agent in ((ANN, "x"), (bob, "y"), (ANN, "z"))]
    assert [(context["aws:username"], context["aws:userid"], context["aws:useragent"]) for context in told] == [
        ("ann", "AIDAEXAMPLE", "x"),
        ("bob", "AIDABOB", "y"),
        ("ann", "AIDAEXAMPLE", "z"),
    ]
    assert not any(key.startswith("aws:principaltag/") for key in told[1])
    assert ANN.context == of_ann


def test_what_a_request_does_not_have_is_absent() -> None:
    context = request_context(root_user(ACCOUNT), Peer(None, secure=False), None, "eu-west-1", NOW)
    assert not {"aws:sourceip", "aws:useragent", "aws:username"} & context.keys()
    assert context["aws:securetransport"] == "false"


def test_the_keys_are_those_that_policies_may_name() -> None:
    context = request_context(msgspec.structs.replace(ANN, token_issue_time=NOW), PEER, "", "eu-west-1", NOW)
    keys = {key for key in context if not key.startswith("aws:principaltag/")}
    of_resources = {"aws:resourceaccount", "s3vectors:ssetype", "s3vectors:kmskeyarn"}
    assert keys == SINGLE_VALUED - of_resources
    assert not keys & (MULTIVALUED | NEVER_PRESENT)


def test_a_user_agent_is_what_the_client_says_and_nothing_else() -> None:
    """The one key that a client fills in itself, as at AWS; it can write no other with it."""
    said = '", "aws:username": "admin\r\naws:SourceIp: 10.0.0.1'
    context = request_context(ANN, PEER, said, "eu-west-1", NOW)
    assert context["aws:useragent"] == said
    assert context == {**request_context(ANN, PEER, "", "eu-west-1", NOW), "aws:useragent": said}


def policy(user: str, bucket: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{user}"},
            "Action": "s3vectors:GetVectorBucket",
            "Resource": f"arn:aws:s3vectors:us-east-1:{ACCOUNT}:bucket/{bucket}",
            "Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}, "Bool": {"aws:SecureTransport": "true"}},
        },
    }


@pytest.fixture(scope="module")
def servers(copied_database: Callable[[], str], settings: Settings) -> Iterator[dict[str, Tenants]]:
    """On the same database, one that trusts nobody and one that trusts the proxy on this machine."""
    own = msgspec.structs.replace(settings, database_url=copied_database())
    with (
        open_directory() as data_dir,
        serving(own, data_dir, "--workers", "1") as alone,
        serving(own, data_dir, "--workers", "1", TRUSTED_PROXIES="192.0.2.1, 127.0.0.0/8") as behind_a_proxy,
    ):
        yield {"alone": alone, "behind a proxy": behind_a_proxy}


@pytest.fixture(scope="module")
def get_bucket(servers: dict[str, Tenants]) -> Callable[[str, dict[str, str]], int]:
    """The status for a user to whom only the bucket's policy gives anything."""
    alone = servers["alone"]
    user, root = alone.user("ann"), alone.client(alone.root)
    root.create_vector_bucket(vectorBucketName="by-address")
    document = msgspec.json.encode(policy("ann", "by-address")).decode()
    root.put_vector_bucket_policy(vectorBucketName="by-address", policy=document)

    def get(server: str, headers: dict[str, str]) -> int:
        json_type = {"Content-Type": "application/json"}
        body = b'{"vectorBucketName":"by-address"}'
        reply = servers[server].send("POST", "/GetVectorBucket", body, json_type | headers, credentials=user)
        assert reply.type == {200: "", 403: "AccessDeniedException"}[reply.status]
        return reply.status

    return get


FROM_CLIENT = {"X-Forwarded-For": CLIENT, "X-Forwarded-Proto": "https"}


@pytest.mark.parametrize(
    ("server", "headers", "status"),
    [
        pytest.param("behind a proxy", FROM_CLIENT, 200, id="from there and secure"),
        pytest.param("behind a proxy", FROM_CLIENT | {"X-Forwarded-Proto": "http"}, 403, id="not secure"),
        pytest.param("behind a proxy", FROM_CLIENT | {"X-Forwarded-For": OTHER}, 403, id="from elsewhere"),
        pytest.param("behind a proxy", FROM_CLIENT | {"X-Forwarded-For": f"{OTHER}, {CLIENT}"}, 200, id="last hop"),
        pytest.param("behind a proxy", FROM_CLIENT | {"X-Forwarded-For": f"{CLIENT}, {OTHER}"}, 403, id="first hop"),
        pytest.param(
            "behind a proxy", FROM_CLIENT | {"X-Forwarded-For": f"{CLIENT}, 192.0.2.1"}, 200, id="two proxies"
        ),
        pytest.param("behind a proxy", FROM_CLIENT | {"X-Forwarded-For": f"::ffff:{CLIENT}"}, 200, id="mapped"),
        pytest.param("behind a proxy", FROM_CLIENT | {"X-Forwarded-For": "garbage"}, 403, id="garbage"),
        pytest.param("behind a proxy", {"X-Forwarded-For": CLIENT}, 403, id="no protocol"),
        pytest.param("behind a proxy", {}, 403, id="nothing"),
        pytest.param("alone", FROM_CLIENT, 403, id="nobody is trusted"),
        pytest.param("alone", FROM_CLIENT | {"Forwarded": f"for={CLIENT};proto=https"}, 403, id="nor in other words"),
        pytest.param("alone", {}, 403, id="nothing to trust"),
        pytest.param(
            "alone",
            {"Aws-SourceIp": CLIENT, "Aws-SecureTransport": "true", "X-Amz-Source-Ip": CLIENT, "SourceIp": CLIENT},
            403,
            id="headers named like keys",
        ),
        pytest.param(
            "behind a proxy",
            FROM_CLIENT | {"Aws-SourceIp": OTHER, "Aws-SecureTransport": "false"},
            200,
            id="headers override none",
        ),
    ],
)
def test_bucket_policies_know_the_address_and_the_transport(
    get_bucket: Callable[[str, dict[str, str]], int], server: str, headers: dict[str, str], status: int
) -> None:
    assert get_bucket(server, headers) == status
