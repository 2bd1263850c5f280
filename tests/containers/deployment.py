"""What `docker-compose.yml` describes, brought up under a name, secrets and a port of a test's own."""

import os
import subprocess
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

from scripts.testbed.ports import free_port
from tests.identities import client
from tests.server_process import ROOT

UP_SECONDS = 600


class Deployment(Struct, frozen=True):
    name: str
    secrets: Path
    port: int

    def compose(self, *arguments: str, timeout: float = 120) -> str:
        """What the command printed."""
        done = self.attempt(*arguments, timeout=timeout)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def attempt(self, *arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603
            ["docker", "compose", *arguments],  # noqa: S607 - whichever engine the container stage has found
            cwd=ROOT,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Ours without the developer's own settings, but for the images that the container stage has found."""
        images = ("PGS3VECTORS_PYTHON_IMAGE", "PGS3VECTORS_POSTGRES_IMAGE")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PGS3VECTORS_") or k in images}
        return inherited | {
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_DISABLE_ENV_FILE": "1",
            "PGS3VECTORS_IMAGE": self.name,
            "PGS3VECTORS_SECRETS": str(self.secrets),
            "PGS3VECTORS_PORT": str(self.port),
            "PGS3VECTORS_WORKERS": "1",
        }

    def make_secrets(self) -> None:
        subprocess.run([ROOT / "scripts/secrets"], env=self.environment, check=True, capture_output=True)  # noqa: S603

    def up(self) -> None:
        done = self.attempt("up", "--build", "--wait", timeout=UP_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()

    def logs(self) -> str:
        return self.attempt("logs", "--no-color").stdout

    def inspect(self, service: str) -> Any:
        container = self.compose("ps", "--all", "--quiet", service).strip()
        found = subprocess.run(["docker", "inspect", container], capture_output=True, check=True)  # noqa: S603, S607
        return msgspec.json.decode(found.stdout)[0]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        credentials = ConfigParser()
        credentials.read(self.secrets / "root-credentials")
        return client(self.endpoint, **credentials["default"])


@contextmanager
def deployed(secrets: Path) -> Iterator[Deployment]:
    deployment = Deployment(f"pgs3vectors-test-{uuid4().hex[:8]}", secrets, free_port())
    deployment.make_secrets()
    try:
        deployment.up()
        yield deployment
    finally:
        deployment.compose("down", "--volumes", "--rmi", "local")
        subprocess.run(["docker", "image", "rm", deployment.name], check=False, capture_output=True)  # noqa: S603, S607
