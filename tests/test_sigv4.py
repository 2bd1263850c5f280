import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate, product
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import normalize_url_path
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from app import sigv4
from app.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    SignatureError,
    ValidationException,
)
from app.sigv4 import Authorization, Credential, SignedRequest

KEY_ID = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SKEW = timedelta(minutes=15)
ENDPOINT = "http://localhost:8333"
ARN = "arn:aws:s3vectors:us-east-1:123456789012:bucket/media/index/films"
TAGS = f"/tags/{quote(ARN, safe='')}"
TAG_QUERY = urlencode([("tagKeys", "a b"), ("tagKeys", "ü"), ("tagKeys", "a+b"), ("tagKeys", "")], quote_via=quote)
JSON = {"Content-Type": "application/json"}
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# --- Published examples of AWS: the test suite of Signature Version 4, and ListUsers of its documentation. ---


class Example(Struct, frozen=True):
    request: SignedRequest
    canonical_request: str
    digest: str
    signature: str
    signed_headers: str = "host;x-amz-date"
    service: str = "service"
    body: bytes = b""

    @property
    def authorization(self) -> Authorization:
        credential = Credential(KEY_ID, "20150830", "us-east-1", self.service, "aws4_request")
        names = tuple(self.signed_headers.split(";"))
        return Authorization(credential, names, self.signature, "20150830T123600Z", None, None)

    @property
    def string_to_sign(self) -> str:
        return f"AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/{self.service}/aws4_request\n{self.digest}"


def arrived(method: str, path: str, query: bytes = b"", *headers: tuple[bytes, bytes]) -> SignedRequest:
    host_and_date = ((b"host", b"example.amazonaws.com"), (b"x-amz-date", b"20150830T123600Z"))
    return SignedRequest(method, path.encode(), query, headers + host_and_date)


HOST_AND_DATE = "host:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n" + sha256(b"")
EXAMPLES = {
    "get-vanilla": Example(
        arrived("GET", "/"),
        f"GET\n/\n\n{HOST_AND_DATE}",
        "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-relative-relative": Example(
        arrived("GET", "/example1/./example2/../..//"),
        f"GET\n/\n\n{HOST_AND_DATE}",
        "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-utf8": Example(
        arrived("GET", "/ሴ"),
        f"GET\n/%E1%88%B4\n\n{HOST_AND_DATE}",
        "2a0a97d02205e45ce2e994789806b19270cfbbb0921b278ccf58f5249ac42102",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-vanilla-query-order": Example(
        arrived("GET", "/", b"Param2=value2&Param1=value1"),
        f"GET\n/\nParam1=value1&Param2=value2\n{HOST_AND_DATE}",
        "816cd5b414d056048ba4f7c5386d6e0533120fb1fcfa93762cf0fc39e2cf19e0",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-header-value-trim": Example(
        arrived("GET", "/", b"", (b"my-header1", b" value1"), (b"my-header2", b' "a   b   c"')),
        'GET\n/\n\nhost:example.amazonaws.com\nmy-header1:value1\nmy-header2:"a b c"\nx-amz-date:20150830T123600Z\n\n'
        "host;my-header1;my-header2;x-amz-date\n" + sha256(b""),
        "a726db9b0df21c14f559d0a978e563112acb1b9e05476f0a6a1c7d68f28605c7",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        signed_headers="host;my-header1;my-header2;x-amz-date",
    ),
    "get-header-key-duplicate": Example(
        arrived("GET", "/", b"", *((b"my-header1", value) for value in (b"value2", b"value2", b"value1"))),
        "GET\n/\n\nhost:example.amazonaws.com\nmy-header1:value2,value2,value1\nx-amz-date:20150830T123600Z\n\n"
        "host;my-header1;x-amz-date\n" + sha256(b""),
        "dc7f04a3abfde8d472b0ab1a418b741b7c67174dad1551b4117b15527fbe966c",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        signed_headers="host;my-header1;x-amz-date",
    ),
    "post-x-www-form-urlencoded": Example(
        arrived("POST", "/", b"", (b"content-type", b"application/x-www-form-urlencoded")),
        "POST\n/\n\ncontent-type:application/x-www-form-urlencoded\nhost:example.amazonaws.com\n"
        "x-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\n" + sha256(b"Param1=value1"),
        "42a5e5bb34198acb3e84da4f085bb7927f2bc277ca766e6d19c73c2154021281",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        signed_headers="content-type;host;x-amz-date",
        body=b"Param1=value1",
    ),
}
examples = pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)


@examples
def test_canonical_request(example: Example) -> None:
    canonical = sigv4.canonical_request(
        example.request, example.authorization.signed_headers, payload_hash=sha256(example.body)
    )
    assert canonical.decode() == example.canonical_request
    assert sha256(canonical) == example.digest


@examples
def test_string_to_sign(example: Example) -> None:
    canonical = example.canonical_request.encode()
    assert sigv4.string_to_sign(example.authorization, canonical) == example.string_to_sign


@examples
def test_signature(example: Example) -> None:
    key = sigv4.signing_key(SECRET, example.authorization.credential)
    assert sigv4.signature(key, example.string_to_sign) == example.signature
    sigv4.verify(example.request, example.authorization, SECRET, sha256(example.body))


def test_signing_key() -> None:
    key = sigv4.signing_key(SECRET, Credential(KEY_ID, "20150830", "us-east-1", "iam", "aws4_request"))
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"


@pytest.mark.parametrize(
    ("wire", "canonical"),
    [
        ("/tags/arn%3Aaws%2Fb", "/tags/arn%253Aaws%252Fb"),
        ("/a//b/./c/../", "/a/b/"),
        ("/a/..", "/"),
        ("/%2E%2E/a", "/%252E%252E/a"),
        ("/a~b-c_d.e+f:g", "/a~b-c_d.e%2Bf%3Ag"),
    ],
)
def test_canonical_path_as_botocore_has_it(wire: str, canonical: str) -> None:
    assert sigv4.canonical_path(wire.encode()).decode() == canonical
    assert quote(normalize_url_path(wire), safe="/~") == canonical


def canonical_or_refused(wire: bytes) -> bytes | None:
    try:
        return sigv4.canonical_path(wire)
    except ValidationException:
        return None


def as_botocore_or_refused(wire: bytes) -> bytes | None:
    depths = accumulate({b"": 0, b".": 0, b"..": -1}.get(segment, 1) for segment in wire.split(b"/"))
    if min(depths) < 0 or re.search(rb"%(?![0-9A-Fa-f]{2})", wire):
        return None
    path = normalize_url_path(wire.decode(errors="surrogateescape"))
    return quote(path.encode(errors="surrogateescape"), safe="/~").encode()


letters = st.sampled_from([b"a", b"Z", b"9", b"_", b"-", b".", b"~", b"/", b"%41", b"%2e", b"%2F"])


@given(st.lists(letters | st.binary(max_size=2)).map(b"".join))
def test_every_path_is_canonical_as_botocore_has_it_or_refused(path: bytes) -> None:
    assert canonical_or_refused(b"/" + path) == as_botocore_or_refused(b"/" + path)


def test_no_short_path_is_mistaken_for_one_that_is_canonical_already() -> None:
    dots_and_slashes = [b"".join(path) for n in range(7) for path in product([b"/", b".", b"a"], repeat=n)]
    bytes_ = [bytes([byte]) for byte in range(256)]
    odd_bytes = [
        before + byte + after for byte in bytes_ for before in (b"", b"a", b"a/") for after in (b"", b"b", b"/")
    ]
    wrong = [
        p for p in dots_and_slashes + odd_bytes if canonical_or_refused(b"/" + p) != as_botocore_or_refused(b"/" + p)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("wire", "canonical"),
    [
        (b"", b""),
        (b"b=2&a=1&b=1", b"a=1&b=1&b=2"),
        (b"a&a=", b"a=&a="),
        (b"a=b=c", b"a=b%3Dc"),
        (b"a=b+c%20%2b", b"a=b%2Bc%20%2B"),
        (b"%61=%7e&&", b"a=~"),
        (b"a=%c3%bc&a=\xc3\xbc", b"a=%C3%BC&a=%C3%BC"),
    ],
)
def test_canonical_query(wire: bytes, canonical: bytes) -> None:
    assert sigv4.canonical_query(wire) == canonical


# --- Whatever botocore signs. ---


class Sent(Struct, frozen=True):
    request: SignedRequest
    body: bytes = b""

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.header("x-amz-date"))

    def header(self, name: str) -> str:
        return dict(self.request.headers)[name.encode()].decode()

    def with_header(self, name: str, value: str) -> "Sent":
        headers = {**dict(self.request.headers), name.encode(): value.encode()}
        return self.changed(headers=tuple(headers.items()))

    def replaced(self, name: str, old: str, new: str) -> "Sent":
        assert old in self.header(name)
        return self.with_header(name, self.header(name).replace(old, new))

    def without(self, name: str) -> "Sent":
        return self.changed(headers=[header for header in self.request.headers if header[0] != name.encode()])

    def and_also(self, name: str, value: str) -> "Sent":
        return self.changed(headers=[*self.request.headers, (name.encode(), value.encode())])

    def changed(self, **changes: object) -> "Sent":
        return Sent(msgspec.structs.replace(self.request, **changes), self.body)


def signed(
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    token: str | None = None,
) -> Sent:
    request = AWSRequest(method, ENDPOINT + target, headers or {}, body)
    SigV4Auth(Credentials(KEY_ID, SECRET, token), "s3vectors", "us-east-1").add_auth(request)
    url = urlsplit(ENDPOINT + target)
    pairs = [("host", url.netloc), *request.headers.items()]
    wire = tuple((name.lower().encode(), value.encode()) for name, value in pairs)
    return Sent(SignedRequest(method, url.path.encode(), url.query.encode(), wire), body)


def authenticate(sent: Sent, now: datetime | None = None) -> Authorization:
    authorization = sigv4.parse_authorization(sent.request, regions={"us-east-1"}, now=now or sent.now, skew=SKEW)
    sigv4.verify(sent.request, authorization, SECRET, sha256(sent.body))
    return authorization


BODY = '{"vectorBucketName": "médias"}'.encode()
POST = signed("POST", "/CreateVectorBucket", BODY, {**JSON, "X-Amz-Content-SHA256": sha256(BODY), "X-Amz-Meta": "v"})
UNTAG = signed("DELETE", f"{TAGS}?{TAG_QUERY}")
GENUINE = {
    "post": signed("POST", "/ListVectorBuckets", b"{}", JSON),
    "post-unicode": signed("POST", "/CreateVectorBucket", BODY, JSON),
    "post-without-body": signed("POST", "/ListVectorBuckets", headers=JSON),
    "payload-hash-declared": POST,
    "get-tags": signed("GET", TAGS),
    "delete-tags": UNTAG,
    "query-reordered": UNTAG.changed(query=b"&".join(UNTAG.request.query.split(b"&")[::-1])),
    "session-token": signed("GET", TAGS, token="IQoJb3Jp/+=="),
    "unsigned-header-of-the-connection": POST.and_also("accept-encoding", "identity").and_also("via", "1.1 proxy"),
    "date-of-another-form-besides": POST.and_also("date", "Sun, 30 Aug 2015 12:36:00 GMT"),
    "authorization-without-blanks": POST.replaced("authorization", ", ", ","),
}


@pytest.mark.parametrize("sent", GENUINE.values(), ids=GENUINE)
def test_genuine_requests_are_accepted(sent: Sent) -> None:
    assert authenticate(sent).credential.access_key_id == KEY_ID


def test_claims_are_reported() -> None:
    claim = authenticate(signed("GET", TAGS, token="TOKEN"))
    assert claim.session_token == "TOKEN"
    assert claim.payload_hash is None
    assert claim.credential.scope.endswith("/us-east-1/s3vectors/aws4_request")
    assert claim.signed_headers == ("host", "x-amz-date", "x-amz-security-token")
    assert authenticate(POST).payload_hash == sha256(BODY)


header_values = st.text(st.characters(codec="utf-8", min_codepoint=0x20, exclude_categories=["Cc", "Z"]))
headers = st.dictionaries(st.from_regex(r"x-[a-z]{1,9}", fullmatch=True), header_values, max_size=4)
queries = st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5)


@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    path=st.text(),
    query=queries,
    headers=headers,
    body=st.binary(),
    token=st.none() | st.from_regex(r"[A-Za-z0-9+/=]{1,40}", fullmatch=True),
)
def test_whatever_botocore_signs_is_accepted(
    method: str,
    path: str,
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
    token: str | None,
) -> None:
    target = f"/tags/{quote(path, safe='')}?{urlencode(query, quote_via=quote, safe='')}"
    authenticate(signed(method, target, body, headers, token))


# --- One change after signing. ---


def bumped(text: str, at: int) -> str:
    return text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1 :]


def a_second_later(sent: Sent) -> str:
    return f"{sent.now + timedelta(seconds=1):%Y%m%dT%H%M%SZ}"


def changes_of_signed_header(name: str) -> dict[str, Sent]:
    value, listed = POST.header(name), ";".join(SIGNED)
    return {
        f"{name}-dropped": POST.without(name),
        f"{name}-duplicated": POST.and_also(name, value),
        f"{name}-added-empty": POST.and_also(name, ""),
        f"{name}-changed": POST.with_header(name, value + "0"),
        f"{name}-unlisted": POST.replaced("authorization", listed, ";".join(n for n in SIGNED if n != name)),
        f"{name}-relisted": POST.replaced("authorization", listed, f"{listed};{name}"),
        f"{name}-re-cased": POST.replaced("authorization", name, name.title()),
        f"{name}-removed-and-unlisted": POST.without(name).replaced(
            "authorization", listed, ";".join(n for n in SIGNED if n != name)
        ),
    }


SIGNED = ["content-type", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-meta"]
SIGNATURE = POST.header("authorization").rpartition("=")[2]
PATH = UNTAG.request.raw_path.decode()
FORGERIES = {
    **{f"signature-byte-{at}": POST.replaced("authorization", SIGNATURE, bumped(SIGNATURE, at)) for at in range(64)},
    **{name: forgery for header in SIGNED for name, forgery in changes_of_signed_header(header).items()},
    **{f"path-byte-{at}": UNTAG.changed(raw_path=bumped(PATH, at).encode()) for at in range(1, len(PATH))},
    **{f"body-byte-{at}": Sent(POST.request, BODY[:at] + b"~" + BODY[at + 1 :]) for at in range(len(BODY))},
    "signature-empty": POST.replaced("authorization", SIGNATURE, ""),
    "signature-shorter": POST.replaced("authorization", SIGNATURE, SIGNATURE[:-1]),
    "signature-longer": POST.replaced("authorization", SIGNATURE, f"{SIGNATURE}0"),
    "signature-in-capitals": POST.replaced("authorization", SIGNATURE, SIGNATURE.upper()),
    "signature-not-ascii": POST.replaced("authorization", SIGNATURE, "é" * 32),
    "authorization-duplicated": POST.and_also("authorization", POST.header("authorization")),
    "signed-headers-unsorted": POST.replaced("authorization", "content-type;host", "host;content-type"),
    "x-amz-header-added": POST.and_also("x-amz-unsigned", "v"),
    "session-token-added": POST.and_also("x-amz-security-token", "v"),
    "method": POST.changed(method="GET"),
    "method-in-small-letters": POST.changed(method="post"),
    "path-decoded": UNTAG.changed(raw_path=f"/tags/{ARN}".encode()),
    "path-with-slash": POST.changed(raw_path=POST.request.raw_path + b"/"),
    "query-added": POST.changed(query=b"a"),
    "query-dropped": UNTAG.changed(query=b""),
    "query-pair-dropped": UNTAG.changed(query=UNTAG.request.query.partition(b"&")[2]),
    "query-pair-repeated": UNTAG.changed(query=UNTAG.request.query + b"&tagKeys="),
    "query-blank-as-plus": UNTAG.changed(query=UNTAG.request.query.replace(b"%20", b"+")),
    "query-plus-as-blank": UNTAG.changed(query=UNTAG.request.query.replace(b"%2B", b"%20")),
    "presigned-besides": POST.changed(query=b"X-Amz-Algorithm=AWS4-HMAC-SHA256"),
    "body-byte-of-undeclared-hash": Sent(GENUINE["post-unicode"].request, BODY.replace(b"m", b"n")),
    "body-dropped": Sent(POST.request),
    "body-added": Sent(GENUINE["get-tags"].request, b"{}"),
    "payload-unsigned": POST.with_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    "date-a-second-later": POST.with_header("x-amz-date", a_second_later(POST)),
    "scope-access-key-id": POST.replaced("authorization", f"{KEY_ID}/", f"{KEY_ID}/x/"),
    "scope-date": POST.replaced("authorization", f"/{POST.now:%Y%m%d}/", "/20150830/"),
    "scope-region": POST.replaced("authorization", "/us-east-1/", "/us-east-2/"),
    "scope-service": POST.replaced("authorization", "/s3vectors/", "/s3/"),
    "scope-terminator": POST.replaced("authorization", "/aws4_request", "/aws5_request"),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_forgeries_are_refused(forgery: Sent) -> None:
    with pytest.raises(SignatureError) as refusal:
        authenticate(forgery, now=POST.now)
    assert refusal.value.status_code == 403
    assert SIGNATURE not in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_another_secret_is_refused() -> None:
    claim = sigv4.parse_authorization(POST.request, regions={"us-east-1"}, now=POST.now, skew=SKEW)
    with pytest.raises(InvalidSignatureException, match=MISMATCH):
        sigv4.verify(POST.request, claim, SECRET.lower(), sha256(BODY))


@pytest.mark.parametrize(
    "declared",
    [
        "",
        "UNSIGNED-PAYLOAD",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        sha256(b"").upper(),
        sha256(b"")[:-1],
        sha256(b"") + "0",
    ],
)
def test_payload_hash_is_a_hash_even_if_signed_otherwise(declared: str) -> None:
    sent = signed("POST", "/ListVectorBuckets", headers={"X-Amz-Content-SHA256": declared})
    with pytest.raises(InvalidSignatureException, match="must be the SHA-256 of the payload in lower-case hex"):
        authenticate(sent)


def signed_by_hand(sent: Sent, *names: str) -> Sent:
    """A client that lists what it likes and signs just that."""
    credential = Credential(KEY_ID, f"{sent.now:%Y%m%d}", "us-east-1", "s3vectors", "aws4_request")
    claim = Authorization(credential, names, "", sent.header("x-amz-date"), None, None)
    to_sign = sigv4.string_to_sign(claim, sigv4.canonical_request(sent.request, names, sha256(sent.body)))
    signature = sigv4.signature(sigv4.signing_key(SECRET, credential), to_sign)
    parts = f"Credential={KEY_ID}/{credential.scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return sent.with_header("authorization", f"AWS4-HMAC-SHA256 {parts}")


UNSIGNED = POST.without("authorization")
WELL_SIGNED_BUT_WRONG = {
    "unsorted": signed_by_hand(UNSIGNED, *SIGNED[::-1]),
    "repeated": signed_by_hand(UNSIGNED, *sorted([*SIGNED, "host"])),
    "absent": signed_by_hand(UNSIGNED, "accept", *SIGNED),
    "in-capitals": signed_by_hand(UNSIGNED.and_also("via", "proxy"), "Via", *SIGNED),
    "hash-of-another-body": signed_by_hand(UNSIGNED.with_header("x-amz-content-sha256", sha256(b"{}")), *SIGNED),
}


def test_signed_by_hand() -> None:
    assert signed_by_hand(UNSIGNED, *SIGNED).header("authorization") == POST.header("authorization")


@pytest.mark.parametrize("sent", WELL_SIGNED_BUT_WRONG.values(), ids=WELL_SIGNED_BUT_WRONG)
def test_wrong_lists_and_hashes_are_refused_however_well_signed(sent: Sent) -> None:
    with pytest.raises(InvalidSignatureException, match=MISMATCH):
        authenticate(sent)


def test_content_type_of_a_body_must_be_signed() -> None:
    unsigned = signed("POST", "/ListVectorBuckets", b"{}").and_also("content-type", "application/json")
    with pytest.raises(InvalidSignatureException, match="'content-type' must be a 'SignedHeader'"):
        authenticate(unsigned)
    authenticate(signed("GET", TAGS).and_also("content-type", "application/json"))


# --- Exact answers. ---

COMPLETE = "AWS4-HMAC-SHA256 Credential=K/20150830/us-east-1/s3vectors/aws4_request, SignedHeaders={}, Signature=" + (
    "0" * 64
)
GOOD = COMPLETE.format("host;x-amz-date")
NOW = datetime(2015, 8, 30, 12, 36, 0, 999999, tzinfo=UTC)
MISSING_CREDENTIAL = "Authorization header requires 'Credential' parameter."
MISSING_SIGNATURE = "Authorization header requires 'Signature' parameter."
MISSING_SIGNED_HEADERS = "Authorization header requires 'SignedHeaders' parameter."
MISSING_DATE = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
BAD_DATE = "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601"
NOT_FIVE = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
Alter = Callable[[Sent], Sent]


def authorized(header: str) -> Alter:
    return lambda sent: sent.with_header("authorization", header)


def scoped(credential: str) -> Alter:
    return authorized(GOOD.replace("K/20150830/us-east-1/s3vectors/aws4_request", credential))


def dated(date: str) -> Alter:
    return lambda sent: sent.with_header("x-amz-date", date)


INVALID, INCOMPLETE, MISSING = (
    InvalidSignatureException,
    IncompleteSignatureException,
    MissingAuthenticationTokenException,
)
ANSWERS: dict[str, tuple[Alter, type[Exception], str | None]] = {
    "nothing": (lambda sent: sent.without("authorization"), MISSING, "Missing Authentication Token"),
    "presigned": (
        lambda sent: sent.without("authorization").changed(query=b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0"),
        MISSING,
        "Missing Authentication Token",
    ),
    "presigned-too": (lambda sent: sent.changed(query=b"X-Amz-%53ignature=0"), INVALID, None),
    "path-escape": (lambda sent: sent.changed(raw_path=b"/%4"), ValidationException, "Invalid path"),
    "path-relative": (lambda sent: sent.changed(raw_path=b"a"), ValidationException, "Invalid path"),
    "path-above-root": (lambda sent: sent.changed(raw_path=b"/a/../../b"), ValidationException, "Invalid path"),
    "query-escape": (lambda sent: sent.changed(query=b"a=%zz"), ValidationException, "Malformed query string"),
    "two-hosts": (lambda sent: sent.and_also("host", "b"), INVALID, "The header 'host' must not be repeated."),
    "two-dates": (
        lambda sent: sent.and_also("x-amz-date", "20150830T123600Z"),
        INVALID,
        "The header 'x-amz-date' must not be repeated.",
    ),
    "no-algorithm": (authorized(""), INCOMPLETE, "Unsupported AWS 'algorithm'."),
    "basic": (authorized("Basic QUtJRDpzZWNyZXQ="), INCOMPLETE, "Unsupported AWS 'algorithm'."),
    "other-algorithm": (
        authorized(GOOD.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256")),
        INCOMPLETE,
        "Unsupported AWS 'algorithm'.",
    ),
    "no-equal-sign": (
        authorized(GOOD.replace("Signature=", "Signature")),
        INCOMPLETE,
        "Not a valid key=value pair (missing equal-sign) in Authorization header.",
    ),
    "two-credentials": (
        authorized(f"{GOOD}, Credential=K"),
        INCOMPLETE,
        "Authorization header must not repeat a parameter.",
    ),
    "algorithm-only": (
        lambda sent: sent.with_header("authorization", "AWS4-HMAC-SHA256").without("x-amz-date"),
        INCOMPLETE,
        f"{MISSING_CREDENTIAL} {MISSING_SIGNATURE} {MISSING_SIGNED_HEADERS} {MISSING_DATE}",
    ),
    "no-credential": (authorized(GOOD.replace("Credential", "credential")), INCOMPLETE, MISSING_CREDENTIAL),
    "no-signature": (authorized(GOOD.rpartition(",")[0]), INCOMPLETE, MISSING_SIGNATURE),
    "no-signed-headers": (authorized(GOOD.replace("SignedHeaders", "Headers")), INCOMPLETE, MISSING_SIGNED_HEADERS),
    "no-date": (lambda sent: sent.without("x-amz-date"), INCOMPLETE, MISSING_DATE),
    "host-unsigned": (
        authorized(COMPLETE.format("x-amz-date")),
        INVALID,
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    "date-unsigned": (
        authorized(COMPLETE.format("host")),
        INVALID,
        "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    "plain-date-unsigned": (
        lambda sent: sent.without("x-amz-date").and_also("date", "20150830T123600Z"),
        INVALID,
        "'date' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    "x-amz-header-unsigned": (
        lambda sent: sent.and_also("x-amz-unsigned", "v"),
        INVALID,
        "'x-amz-unsigned' must be a 'SignedHeader' in the AWS Authorization.",
    ),
    "signed-header-absent": (authorized(COMPLETE.format("accept;host;x-amz-date")), INVALID, MISMATCH),
    "signed-headers-unsorted": (authorized(COMPLETE.format("x-amz-date;host")), INVALID, MISMATCH),
    "host-absent": (lambda sent: sent.without("host"), INVALID, MISMATCH),
    **{
        f"date-{name}": (dated(date), INCOMPLETE, BAD_DATE.format(date))
        for name, date in {
            "rfc-7231": "Sun, 30 Aug 2015 12:36:00 GMT",
            "iso-extended": "2015-08-30T12:36:00Z",
            "with-offset": "20150830T123600+00:00",
            "impossible": "20150231T123600Z",
            "leap-second": "20150830T123660Z",
            "in-small-letters": "20150830t123600z",
        }.items()
    },
    "expired": (
        dated("20150830T122059Z"),
        INVALID,
        "Signature expired: 20150830T122059Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)",
    ),
    "not-yet-current": (
        dated("20150830T125101Z"),
        INVALID,
        "Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z (20150830T123600Z + 15 min.)",
    ),
    "oldest-accepted": (dated("20150830T122100Z"), INVALID, MISMATCH),
    "newest-accepted": (dated("20150830T125100Z"), INVALID, MISMATCH),
    "credential-of-four-parts": (scoped("K/20150830/us-east-1/s3vectors"), INCOMPLETE, NOT_FIVE),
    "credential-of-six-parts": (scoped("K/y/20150830/us-east-1/s3vectors/aws4_request"), INCOMPLETE, NOT_FIVE),
    "region": (
        scoped("K/20150830/mars-1/s3vectors/aws4_request"),
        INVALID,
        "Credential should be scoped to a valid region, not 'mars-1'.",
    ),
    "all-of-the-scope": (
        scoped("K/20150831/mars-1/s3/aws5_request"),
        INVALID,
        (
            "Credential should be scoped to a valid region, not 'mars-1'."
            " Credential should be scoped to correct service: 's3vectors'."
            " Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
            " Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
            " '20150831' != '20150830', from '20150830T123600Z'."
        ),
    ),
    "signature": (lambda sent: sent, INVALID, MISMATCH),
}


@pytest.mark.parametrize(("alter", "error", "message"), ANSWERS.values(), ids=ANSWERS)
def test_answer(alter: Alter, error: type[Exception], message: str | None) -> None:
    sent = alter(Sent(arrived("POST", "/ListVectorBuckets", b"", (b"authorization", GOOD.encode()))))
    with pytest.raises(error) as refusal:
        authenticate(sent, NOW)
    assert type(refusal.value) is error
    assert refusal.value.args == (message,)


def test_plain_date_counts_when_it_is_the_only_one() -> None:
    sent = Sent(arrived("GET", "/", b"", (b"authorization", COMPLETE.format("date;host").encode())))
    sent = sent.without("x-amz-date").and_also("date", "20150830T123600Z")
    claim = sigv4.parse_authorization(sent.request, regions={"us-east-1"}, now=NOW, skew=SKEW)
    assert claim.timestamp == "20150830T123600Z"
