"""What the rounds of real clients share: an environment that points at the server."""

import os
import subprocess
from collections.abc import Callable
from uuid import uuid4

import pytest

from app.settings import Settings
from tests.installations import CLIENTS, FRAMEWORKS, node_packages, python_packages


@pytest.fixture
def bucket_name() -> str:
    return f"clients-{uuid4().hex}"


@pytest.fixture
def client_environment(endpoint: str, settings: Settings) -> dict[str, str]:
    """All that a client learns about AWS; the developer's own profile and instance metadata stay out."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return own | {
        "AWS_ENDPOINT_URL_S3VECTORS": endpoint,
        "AWS_ACCESS_KEY_ID": settings.root_access_key_id,
        "AWS_SECRET_ACCESS_KEY": settings.root_secret_access_key,
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture
def node_round(client_environment: dict[str, str], bucket_name: str) -> Callable[[str], None]:
    """Runs `<folder>/round.mjs`, which asserts for itself."""

    def run(folder: str) -> None:
        node_packages(CLIENTS / folder)
        run_round(["node", f"{folder}/round.mjs", bucket_name], client_environment)

    return run


@pytest.fixture
def framework_round(client_environment: dict[str, str], bucket_name: str) -> Callable[[str], None]:
    """Runs a script of `frameworks/` in that folder's own environment, since the packages are heavy."""

    def run(script: str) -> None:
        python = python_packages(FRAMEWORKS)
        run_round([str(python), f"frameworks/{script}", bucket_name], client_environment)

    return run


def run_round(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(  # noqa: S603
        command, cwd=CLIENTS, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
