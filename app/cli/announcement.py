"""What the operator reads when the server answers: where it is, the credentials, and a command to try."""

import shlex
import sys
import time
from collections.abc import Callable
from threading import Thread

from app.credentials import Credentials, credentials_file
from app.settings import Settings

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask, not what to listen on


def announce_when_ready(
    settings: Settings, address: str, created: Credentials | None, is_up: Callable[[], bool]
) -> None:
    """The thread waits for a worker's sign of life while the caller, in the main thread, supervises them."""
    host = ANY_ADDRESS.get(address, address)
    Thread(target=_announce, args=(settings, host, created, is_up), daemon=True).start()


def _announce(settings: Settings, address: str, created: Credentials | None, is_up: Callable[[], bool]) -> None:
    while not is_up():
        time.sleep(0.02)
    sys.stdout.write("".join(f"{line}\n" for line in lines(settings, endpoint(address, settings.port), created)))
    sys.stdout.flush()


def endpoint(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def lines(settings: Settings, url: str, created: Credentials | None) -> list[str]:
    """A generated secret is shown once, when it is made."""
    command = f"aws s3vectors list-vector-buckets --region {settings.region} --endpoint-url {url}"
    file = credentials_file(settings)
    if file.exists():
        source = f"Root credentials: {file}"
        command = f"AWS_SHARED_CREDENTIALS_FILE={shlex.quote(str(file))} {command}"
    else:
        source = "Root credentials: from the environment"
    secret = [f"  {created.access_key_id} {created.secret_access_key}  (shown this once)"] if created else []
    return [f"pgs3vectors answers at {url}", *health(settings), source, *secret, f"Try: {command}"]


def health(settings: Settings) -> list[str]:
    if settings.operator_address is None:
        return []
    host, port = settings.operator_address
    return [f"Health and metrics: {endpoint(ANY_ADDRESS.get(host, host), port)}/readyz and /metrics"]
