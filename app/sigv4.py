"""Signature Version 4 as a server sees it: what a request claims, and whether a secret key stands behind it."""

import hashlib
import hmac
import re
from collections.abc import Container, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

from msgspec import Struct

from app.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    ValidationException,
)

ALGORITHM = "AWS4-HMAC-SHA256"
TERMINATOR = "aws4_request"
EMPTY_PAYLOAD_HASH = hashlib.sha256().hexdigest()
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
CLOCK = "clock_skew"

_PRESIGNED = frozenset({b"x-amz-algorithm", b"x-amz-signature"})
_ONCE = ("host", "authorization", "x-amz-date", "date", "x-amz-content-sha256", "x-amz-security-token")
_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+/?")
_MALFORMED_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_TIMESTAMP_FORMAT = "%Y%m%dT%H%M%SZ"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SignedRequest(Struct, frozen=True, dict=True):
    """The wire without the body: header names in lower case, all else byte for byte, nothing merged or decoded."""

    method: str
    raw_path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]

    @cached_property
    def _by_name(self) -> Mapping[str, list[bytes]]:
        by_name: dict[str, list[bytes]] = {}
        for name, value in self.headers:
            by_name.setdefault(name.decode("latin-1"), []).append(value)
        return by_name

    @cached_property
    def canonical_path(self) -> bytes:
        """Raises ValidationException."""
        return canonical_path(self.raw_path)

    @cached_property
    def canonical_query(self) -> bytes:
        """Raises ValidationException."""
        return canonical_query(self.query)

    def values(self, name: str) -> list[bytes]:
        return self._by_name.get(name, [])

    def value(self, name: str) -> str | None:
        """The first one; parse_authorization has refused a second where it matters."""
        values = self.values(name)
        return values[0].strip().decode("latin-1") if values else None


class Credential(Struct, frozen=True):
    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


class Authorization(Struct, frozen=True):
    """A claim of well-formed parts; payload_hash is the declared one, None when the client left it out."""

    credential: Credential
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    session_token: str | None
    payload_hash: str | None


def parse_authorization(
    request: SignedRequest, *, regions: Container[str], service: str = "s3vectors", now: datetime, skew: timedelta
) -> Authorization:
    """Refuses all that can be refused before a key is looked up or a body read, in AWS's order and words."""
    _ = request.canonical_path, request.canonical_query
    parameters = _parameters(_authorization_header(request))
    date_header = "x-amz-date" if request.values("x-amz-date") else "date"
    timestamp = request.value(date_header) or ""
    _check_complete(parameters, timestamp)
    signed_headers = tuple(parameters["SignedHeaders"].split(";"))
    _check_signed_headers(request, signed_headers, date_header)
    _check_clock(timestamp, now.replace(microsecond=0), skew)
    credential = _credential(parameters["Credential"])
    _check_scope(credential, timestamp, regions, service)
    return Authorization(
        credential=credential,
        signed_headers=signed_headers,
        signature=_signature(parameters["Signature"]),
        timestamp=timestamp,
        session_token=request.value("x-amz-security-token"),
        payload_hash=_declared_payload_hash(request),
    )


def verify(request: SignedRequest, authorization: Authorization, secret_key: str, payload_hash: str) -> None:
    """payload_hash is that of the body which arrived; the declared one is only ever compared with it."""
    if authorization.payload_hash not in (None, payload_hash):
        raise InvalidSignatureException(MISMATCH)
    if payload_hash != EMPTY_PAYLOAD_HASH and request.values("content-type"):
        _check_signed("content-type", authorization.signed_headers)
    calculated = signature(
        signing_key(secret_key, authorization.credential),
        string_to_sign(authorization, canonical_request(request, authorization.signed_headers, payload_hash)),
    )
    if not hmac.compare_digest(calculated.encode(), authorization.signature.encode()):
        raise InvalidSignatureException(MISMATCH)


def canonical_request(request: SignedRequest, signed_headers: Sequence[str], payload_hash: str) -> bytes:
    lines = [request.method.encode(), request.canonical_path, request.canonical_query]
    for name in signed_headers:
        values = b",".join(b" ".join(value.split()) for value in request.values(name))
        lines.append(name.encode("latin-1") + b":" + values)
    return b"\n".join([*lines, b"", ";".join(signed_headers).encode("latin-1"), payload_hash.encode()])


def string_to_sign(authorization: Authorization, canonical_request: bytes) -> str:
    digest = hashlib.sha256(canonical_request).hexdigest()
    return f"{ALGORITHM}\n{authorization.timestamp}\n{authorization.credential.scope}\n{digest}"


def signing_key(secret_key: str, credential: Credential) -> bytes:
    return _derived_key(secret_key, credential.date, credential.region, credential.service, credential.terminator)


@lru_cache(maxsize=1024)
def _derived_key(secret_key: str, *scope: str) -> bytes:
    """Good for a day, as clients keep it too: four of the five HMACs of a request."""
    key = f"AWS4{secret_key}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature(signing_key: bytes, string_to_sign: str) -> str:
    return hmac.digest(signing_key, string_to_sign.encode(), "sha256").hex()


def canonical_path(raw_path: bytes) -> bytes:
    """Without dots and empty segments, and encoded once more than on the wire, as for every service but S3."""
    if _PLAIN_PATH.fullmatch(raw_path):  # that of every operation but for tags: nothing of this would change it
        return raw_path
    if not raw_path.startswith(b"/") or _MALFORMED_ESCAPE.search(raw_path):
        raise ValidationException("Invalid path")
    segments: list[bytes] = []
    for segment in raw_path.split(b"/"):
        if segment == b"..":
            if not segments:
                raise ValidationException("Invalid path")
            segments.pop()
        elif segment not in (b"", b"."):
            segments.append(segment)
    slash = b"/" if segments and raw_path.endswith(b"/") else b""
    return quote_from_bytes(b"/" + b"/".join(segments) + slash, safe="/").encode()


def canonical_query(query: bytes) -> bytes:
    """Sorted as encoded; a plus sign is a plus sign."""
    if not query:  # that of every operation but UntagResource
        return b""
    if _MALFORMED_ESCAPE.search(query):
        raise ValidationException("Malformed query string")
    encoded = [tuple(quote_from_bytes(part, safe="").encode() for part in pair) for pair in _query_pairs(query)]
    return b"&".join(b"=".join(pair) for pair in sorted(encoded))


def _query_pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    pairs = (pair.partition(b"=") for pair in query.split(b"&") if pair)
    return [(unquote_to_bytes(key), unquote_to_bytes(value)) for key, _, value in pairs]


def _authorization_header(request: SignedRequest) -> str:
    """Credentials come from this one place; presigned queries are not served."""
    header = request.value("authorization")
    if header is None:
        raise MissingAuthenticationTokenException("Missing Authentication Token")
    if request.query and not _PRESIGNED.isdisjoint(key.lower() for key, _ in _query_pairs(request.query)):
        raise InvalidSignatureException
    for name in _ONCE:
        if len(request.values(name)) > 1:
            raise InvalidSignatureException(f"The header '{name}' must not be repeated.")
    return header


def _parameters(header: str) -> dict[str, str]:
    """AWS quotes the header in its answers; here it never leaves, for what is malformed may be a secret."""
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        raise IncompleteSignatureException("Unsupported AWS 'algorithm'.")
    pairs = [pair.strip().partition("=") for pair in rest.split(",") if pair.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise IncompleteSignatureException("Not a valid key=value pair (missing equal-sign) in Authorization header.")
    parameters = {key: value for key, _, value in pairs}
    if len(parameters) != len(pairs):
        raise IncompleteSignatureException("Authorization header must not repeat a parameter.")
    return parameters


def _check_complete(parameters: dict[str, str], timestamp: str) -> None:
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if name not in parameters
    ]
    if not timestamp:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing:
        raise IncompleteSignatureException(" ".join(missing))


def _check_signed_headers(request: SignedRequest, signed_headers: Sequence[str], date_header: str) -> None:
    """An x-amz-* header that nobody signed could have been added on the way; a name in capitals is in no request."""
    if "host" not in signed_headers:
        raise InvalidSignatureException("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    _check_signed(date_header, signed_headers)
    for name, _ in request.headers:
        if name.startswith(b"x-amz-"):
            _check_signed(name.decode("latin-1"), signed_headers)
    if list(signed_headers) != sorted(set(signed_headers)) or not all(map(request.values, signed_headers)):
        raise InvalidSignatureException(MISMATCH)


def _check_signed(name: str, signed_headers: Sequence[str]) -> None:
    if name not in signed_headers:
        raise InvalidSignatureException(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")


def _check_clock(timestamp: str, now: datetime, skew: timedelta) -> None:
    signed_at = _signed_at(timestamp)
    if abs(signed_at - now) <= skew:
        return
    minutes = f"{skew / timedelta(minutes=1):g} min."
    clock, earliest, latest = (moment.strftime(_TIMESTAMP_FORMAT) for moment in (now, now - skew, now + skew))
    if signed_at < now - skew:
        raise InvalidSignatureException(
            f"Signature expired: {timestamp} is now earlier than {earliest} ({clock} - {minutes})", reason=CLOCK
        )
    raise InvalidSignatureException(
        f"Signature not yet current: {timestamp} is still later than {latest} ({clock} + {minutes})", reason=CLOCK
    )


def _signed_at(timestamp: str) -> datetime:
    try:
        if _TIMESTAMP.fullmatch(timestamp):
            return datetime.fromisoformat(timestamp)
    except ValueError:
        pass
    raise IncompleteSignatureException(
        f"Date must be in ISO-8601 'basic format'. Got '{timestamp}'. See http://en.wikipedia.org/wiki/ISO_8601"
    )


def _credential(text: str) -> Credential:
    parts = text.split("/")
    if len(parts) != 5:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        )
    return Credential(*parts)


def _check_scope(credential: Credential, timestamp: str, regions: Container[str], service: str) -> None:
    wrong = []
    if credential.region not in regions:
        wrong.append(f"Credential should be scoped to a valid region, not '{credential.region}'.")
    if credential.service != service:
        wrong.append(f"Credential should be scoped to correct service: '{service}'.")
    if credential.terminator != TERMINATOR:
        wrong.append(
            f"Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{credential.terminator}'."
        )
    if credential.date != timestamp[:8]:
        wrong.append(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
            f" '{credential.date}' != '{timestamp[:8]}', from '{timestamp}'."
        )
    if wrong:
        raise InvalidSignatureException(" ".join(wrong), reason="wrong_scope")


def _signature(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise InvalidSignatureException(MISMATCH)
    return text


def _declared_payload_hash(request: SignedRequest) -> str | None:
    """A hash or nothing: every word that stands for an unsigned payload has once been a way round the signature."""
    declared = request.value("x-amz-content-sha256")
    if declared is not None and not _SHA256.fullmatch(declared):
        raise InvalidSignatureException("'x-amz-content-sha256' must be the SHA-256 of the payload in lower-case hex.")
    return declared
