"""Requests signed as real clients sign them, sent as no real client would."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec import Struct

from app.settings import Settings


class Reply(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def type(self) -> str:
        return self.headers.get("x-amzn-errortype", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class SignedClient(Struct, frozen=True):
    endpoint: str
    settings: Settings

    def post(self, path: str, body: bytes | str | dict[str, Any], **headers: str) -> Reply:
        if isinstance(body, dict):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        return self.send("POST", path, data, {"Content-Type": "application/json"} | _dashed(headers))

    def send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        """Headers that are empty texts are left out."""
        request = AWSRequest(
            method, self.endpoint + path, headers={k: v for k, v in (headers or {}).items() if v}, data=body
        )
        SigV4Auth(
            Credentials(self.settings.root_access_key_id, self.settings.root_secret_access_key),
            "s3vectors",
            self.settings.region,
        ).add_auth(request)
        return self.unsigned(method, path, body, dict(request.headers))

    def unsigned(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
