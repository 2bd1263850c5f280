"""A server on a database of its own, whose users the real command makes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec import Struct

from app.settings import Settings
from tests.identities import client
from tests.server_process import ROOT, environment, running
from tests.signed import Reply, SignedClient

ACCOUNT = "000000000000"
REGION = "us-east-1"


class Tenants(Struct, frozen=True):
    endpoint: str
    data_dir: Path
    settings: Settings

    def iam(self, *words: str, document: Any = None) -> str:
        """What `pgs3vectors iam` prints; a document is its standard input."""
        command = [sys.executable, "-m", "app.cli", "iam", *words]
        settings = environment(DATABASE_URL=self.settings.database_url or "", DATA_DIR=str(self.data_dir))
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=settings, cwd=ROOT, input=json.dumps(document), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def user(self, name: str, policy: Any = None) -> Credentials:
        """A new one, with an access key and at most one policy."""
        self.iam("user", "create", name)
        if policy is not None:
            self.iam("policy", "put", name, "only", "/dev/stdin", document=policy)
        return self.credentials("key", "create", name)

    def credentials(self, *words: str) -> Credentials:
        shown = json.loads(self.iam(*words, "--json"))
        return Credentials(shown["AccessKeyId"], shown["SecretAccessKey"], shown.get("SessionToken"))

    @property
    def root(self) -> Credentials:
        return Credentials(self.settings.root_access_key_id, self.settings.root_secret_access_key)

    def client(self, credentials: Credentials, service: str = "s3vectors") -> Any:
        return client(
            self.endpoint,
            service,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            **({"aws_session_token": credentials.token} if credentials.token else {}),
        )

    def send(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: dict[str, str],
        *,
        credentials: Credentials,
        service: str = "s3vectors",
        region: str = REGION,
    ) -> Reply:
        request = AWSRequest(method, self.endpoint + path, headers=headers, data=body)
        SigV4Auth(credentials, service, region).add_auth(request)
        return SignedClient(self.endpoint, self.settings).unsigned(method, path, body, dict(request.headers))


@contextmanager
def serving(settings: Settings, data_dir: Path, *options: str, **more: str) -> Iterator[Tenants]:
    with running(
        *("--data-dir", str(data_dir), *options),
        DATABASE_URL=settings.database_url or "",
        ROOT_ACCESS_KEY_ID=settings.root_access_key_id,
        ROOT_SECRET_ACCESS_KEY=settings.root_secret_access_key,
        LOG_LEVEL="warning",
        **more,
    ) as server:
        server.wait_until_ready()
        yield Tenants(server.endpoint, data_dir, settings)
