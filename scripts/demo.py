"""Load 2,000 Debian packages into a running server, or into one of its own, and search them through boto3."""

import configparser
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import boto3
import cyclopts
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

SCRIPTS = Path(__file__).parent
BUCKET, INDEX = "demo", "debian-packages"
TARGET = {"vectorBucketName": BUCKET, "indexName": INDEX}
BATCH = 500  # the most that PutVectors takes
PORTS = {"http": 80, "https": 443}
PATIENCE = 120.0  # seconds a server may take to start: the first start creates a database

QUESTIONS: tuple[tuple[str, dict[str, Any] | None], ...] = (
    ("read and write audio tags for many formats", None),
    ("A library for efficient similarity search and clustering of dense vectors.", None),
    ("Converts the output of popular command-line tools and file-types to JSON.", None),
    (
        "A pure-python PDF library capable of splitting, merging, cropping, and transforming PDF files",
        {"section": "python"},
    ),
    (
        "Import, export, process, analyze and view triangular meshes.",
        {
            "$and": [
                {"section": {"$in": ["libs", "libdevel"]}},
                {"installed_kib": {"$gte": 50, "$lt": 5000}},
                {"tags": {"$exists": True}},
            ]
        },
    ),
    (
        "Source Code Spelling Correction",
        {"$and": [{"tags": "use::checking"}, {"section": {"$ne": "devel"}}]},
    ),
)

console = Console()


class DemoError(Exception):
    """What the user reads as one line."""


def main(*, endpoint_url: str = "http://127.0.0.1:8787", data_dir: Path = Path(".data")) -> None:
    """Put 2,000 Debian packages into a server of the S3 Vectors API and ask six questions.

    Parameters
    ----------
    endpoint_url
        Where the server listens; if nothing answers there, the demo runs one of its own until it ends.
    data_dir
        Where the server wrote `root-credentials`; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY come first.

    """
    try:
        if answers(endpoint_url):
            show(connect(endpoint_url, credentials(data_dir)))
            console.print(SQL_HINT)
        else:
            console.print(f"Nothing answers at {endpoint_url}: starting a server that lives as long as this demo.")
            with own_server() as client:
                show(client)
            console.print(OWN_SERVER_HINT + SQL_HINT)
    except (DemoError, ClientError, BotoCoreError, OSError) as error:
        sys.exit(f"demo: {error}")


def show(client: Any) -> None:
    create_index(client)
    put_vectors(client, rows("debian-packages"))
    vectors = {row["text"]: row["vector"] for row in rows("queries")}
    for text, condition in QUESTIONS:
        console.print(answer_table(text, condition, search(client, vectors[text], condition)))


def rows(name: str) -> list[dict[str, Any]]:
    """Vectors as lists of floats: half floats are exact in the API's float32."""
    return pq.read_table(SCRIPTS / "sample" / f"{name}.parquet").to_pylist()  # type: ignore[no-any-return]


# --- the API -----------------------------------------------------------------------------------------------------


def create_index(client: Any) -> None:
    """A demo begins anew: an index left by an earlier one is deleted."""
    with contextlib.suppress(client.exceptions.ConflictException):
        client.create_vector_bucket(vectorBucketName=BUCKET)
    with contextlib.suppress(client.exceptions.NotFoundException):
        client.delete_index(**TARGET)
    client.create_index(
        **TARGET,
        dataType="float32",
        dimension=384,
        distanceMetric="cosine",
        metadataConfiguration={"nonFilterableMetadataKeys": ["text", "homepage"]},
    )


def put_vectors(client: Any, packages: list[dict[str, Any]]) -> None:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Putting vectors", total=len(packages))
        for start in range(0, len(packages), BATCH):
            batch = [as_vector(row) for row in packages[start : start + BATCH]]
            client.put_vectors(**TARGET, vectors=batch)
            progress.advance(task, len(batch))


def as_vector(row: dict[str, Any]) -> dict[str, Any]:
    return {"key": row["key"], "data": {"float32": row["vector"]}, "metadata": json.loads(row["metadata"])}


def search(client: Any, vector: list[float], condition: dict[str, Any] | None) -> list[dict[str, Any]]:
    response = client.query_vectors(
        **TARGET,
        topK=5,
        queryVector={"float32": vector},
        returnMetadata=True,
        returnDistance=True,
        **({"filter": condition} if condition else {}),
    )
    return response["vectors"]  # type: ignore[no-any-return]


# --- what is printed ---------------------------------------------------------------------------------------------


SQL_HINT = f"""
The same data in PostgreSQL, for psql or any other client:

    SELECT key, metadata FROM "{BUCKET}"."{INDEX}" LIMIT 5;

Go on with README.md, docs/compatibility.md (what of the API is served) and scripts/sample/README.md (this data).
"""  # noqa: S608 - only shown
OWN_SERVER_HINT = """
The demo's server is gone, and its data with it. Run ./scripts/serve, then ./scripts/demo again, to keep them.
"""


def answer_table(text: str, condition: dict[str, Any] | None, found: list[dict[str, Any]]) -> Table:
    table = Table(title=title(text, condition), title_justify="left", title_style="", box=box.SIMPLE_HEAD, expand=True)
    table.add_column("#", justify="right")
    table.add_column("package", no_wrap=True)
    table.add_column("section", no_wrap=True)
    table.add_column("installed", justify="right", no_wrap=True)
    table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("description", no_wrap=True, ratio=1)
    for rank, vector in enumerate(found, start=1):
        about = vector["metadata"]
        size, distance = f"{about['installed_kib']:,} KiB", f"{vector['distance']:.3f}"
        table.add_row(*map(Text, (str(rank), vector["key"], about["section"], size, distance, about["text"])))
    return table


def title(text: str, condition: dict[str, Any] | None) -> Text:
    heading = Text(f"\n{text}", style="bold")
    if condition:
        heading.append(f"\nfilter {json.dumps(condition)}", style="not bold cyan")
    return heading


# --- the server --------------------------------------------------------------------------------------------------


def answers(endpoint_url: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address(endpoint_url), timeout=2):
        return True
    return False


def address(endpoint_url: str) -> tuple[str, int]:
    with contextlib.suppress(ValueError):  # a port that is none
        parts = urlsplit(endpoint_url)
        if parts.hostname and parts.scheme in PORTS:
            return parts.hostname, parts.port or PORTS[parts.scheme]
    raise DemoError(f"--endpoint-url takes http://host:port or https://host:port, not {endpoint_url}")


def connect(endpoint_url: str, keys: dict[str, str]) -> Any:
    return boto3.client("s3vectors", endpoint_url=endpoint_url, region_name=region(), **keys)


def region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def credentials(data_dir: Path) -> dict[str, str]:
    """Nothing when the environment has credentials: boto3 reads those itself."""
    return {} if "AWS_ACCESS_KEY_ID" in os.environ else root_credentials(data_dir)


def root_credentials(data_dir: Path) -> dict[str, str]:
    path = data_dir / "root-credentials"
    if not path.exists():
        raise DemoError(f"no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --data-dir (no {path})")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
        return {name: parser["default"][name] for name in ("aws_access_key_id", "aws_secret_access_key")}
    except (KeyError, configparser.Error):  # whose texts are long and quote the file
        raise DemoError(f"{path} is no credentials file with a profile `default`") from None


@contextlib.contextmanager
def own_server() -> Iterator[Any]:
    """A client of a server whose data lives in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="pgs3vectors-demo-") as folder, tempfile.TemporaryFile() as log:
        Path(folder).chmod(0o711)  # PostgreSQL does not run as root: the user it runs as must get through
        data_dir, port = Path(folder) / "data", free_port()
        process = serve(port, data_dir, log)
        try:
            wait_until_answers(f"http://127.0.0.1:{port}", process, log)
            yield connect(f"http://127.0.0.1:{port}", root_credentials(data_dir))
        finally:
            stop(process)


def serve(port: int, data_dir: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Settings of the environment are kept away: they could name a database that is no place for a demo."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PGS3VECTORS_")}
    return subprocess.Popen(  # noqa: S603 - our own script
        [SCRIPTS / "serve", "--port", str(port), "--data-dir", data_dir],
        env={**environment, "PGS3VECTORS_REGION": region(), "PGS3VECTORS_OPERATOR_PORT": "off"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def wait_until_answers(endpoint_url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    with console.status("Starting the server"):
        while not answers(endpoint_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"./scripts/serve did not start: {last_line(log)}")
            time.sleep(0.1)


def last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a server of our own is stopped as well
    cyclopts.run(main)
