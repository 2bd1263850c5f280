import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from app.settings import Settings, variable
from tests.containers.deployment import Deployment, deployed
from tests.operations.vectors import keys, record

INDEX = {"vectorBucketName": "media", "indexName": "movies"}

# What the image has of its own, and other ways to give what is given as a file.
FIXED = {"data_dir", "host", "port", "root_access_key_id", "root_secret_access_key", "key_encryption_key_command"}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("secrets")) as deployment:
        yield deployment


def test_data_outlives_the_containers(deployment: Deployment) -> None:
    s3vectors = deployment.client()
    s3vectors.create_vector_bucket(vectorBucketName="media")
    s3vectors.create_index(**INDEX, dataType="float32", dimension=2, distanceMetric="cosine")
    s3vectors.put_vectors(**INDEX, vectors=[record("heat", [1, 0], year=1995), record("alien", [0, 1], year=1979)])
    assert found_before_1990(s3vectors) == ["alien"]

    deployment.compose("stop")
    assert [deployment.inspect(s)["State"]["ExitCode"] for s in ("server", "migrate", "database")] == [0, 0, 0]
    assert "database system is shut down" in deployment.logs()
    deployment.compose("down")
    deployment.up()
    s3vectors = deployment.client()
    assert found_before_1990(s3vectors) == ["alien"]
    assert s3vectors.get_vectors(**INDEX, keys=["heat"], returnMetadata=True)["vectors"][0]["metadata"] == {
        "year": 1995
    }
    assert sorted(keys(s3vectors.list_vectors(**INDEX))) == ["alien", "heat"]
    s3vectors.delete_vectors(**INDEX, keys=["alien"])
    assert found_before_1990(s3vectors) == []
    s3vectors.delete_index(**INDEX)
    s3vectors.delete_vector_bucket(vectorBucketName="media")
    log = deployment.compose("exec", "server", "cat", "/var/lib/pgs3vectors/audit.log")
    assert log.count('"eventName":"CreateVectorBucket"') == log.count('"eventName":"DeleteVectorBucket"') == 1


def found_before_1990(s3vectors: Any) -> list[str]:
    query = {"queryVector": {"float32": [1, 0]}, "filter": {"year": {"$lt": 1990}}}
    return keys(s3vectors.query_vectors(**INDEX, topK=2, **query))


def test_containers_may_do_little(deployment: Deployment) -> None:
    for service in ("server", "migrate", "database"):
        found = deployment.inspect(service)
        assert found["Config"]["User"] not in {"", "root", "0"}
        host = found["HostConfig"]
        assert (host["ReadonlyRootfs"], host["CapDrop"], host["CapAdd"], host["Init"]) == (True, ["ALL"], None, True)
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
    status = deployment.compose("exec", "server", "cat", "/proc/self/status")
    assert re.findall(r"^(?:Uid|CapEff|CapBnd|NoNewPrivs):\t(\S+)", status, re.MULTILINE) == [
        "10001",
        "0" * 16,
        "0" * 16,
        "1",
    ]


def test_only_this_host_reaches_the_server_and_only_the_server_the_database(deployment: Deployment) -> None:
    ports = {s: deployment.inspect(s)["HostConfig"]["PortBindings"] or {} for s in ("server", "database", "migrate")}
    assert [binding["HostIp"] for binding in ports["server"]["8787/tcp"]] == ["127.0.0.1"]
    assert ports["database"] == ports["migrate"] == {}
    networks = {
        name.removeprefix(f"{deployment.name}_")
        for name in deployment.inspect("database")["NetworkSettings"]["Networks"]
    }
    assert networks == {"database"}


def test_secrets_are_in_files_of_those_who_need_them(deployment: Deployment) -> None:
    """And neither in the environment, which `docker inspect` shows, nor in a layer of the image."""
    assert deployment.secrets.stat().st_mode & 0o777 == 0o700
    texts = {path.name: path.read_text().strip() for path in deployment.secrets.iterdir()}
    held = {s: deployment.compose("exec", s, "ls", "/run/secrets").split() for s in ("server", "database")}
    assert held["server"] == ["app-url", "key-encryption-key", "root-credentials"]
    assert held["database"] == ["app-url", "metrics-url", "owner-url", "superuser-password"]
    shown = repr([deployment.inspect(service) for service in ("server", "migrate", "database")]) + deployment.logs()
    secret = r"[0-9a-f]{64}|[A-Za-z0-9+/]{43}=|(?<=secret_access_key = )\S+"
    assert {name for name, text in texts.items() for s in re.findall(secret, text) if s in shown} == set()
    assert all(re.search(secret, text) for text in texts.values())


@pytest.mark.parametrize(
    ("user", "database"), [("postgres", "pgs3vectors"), ("postgres", "postgres"), ("pgs3vectors_app", "postgres")]
)
def test_over_the_network_only_our_roles_come_in_and_only_to_our_database(
    deployment: Deployment, user: str, database: str
) -> None:
    connect = f"import psycopg; psycopg.connect('host=database user={user} dbname={database} password=x')"
    refused = deployment.attempt("exec", "server", "python", "-c", connect)
    assert "no pg_hba.conf entry" in refused.stderr


def test_the_command_line_works_beside_the_server(deployment: Deployment) -> None:
    deployment.compose("exec", "server", "pgs3vectors", "iam", "user", "create", "ana")
    assert "ana" in deployment.compose("exec", "server", "pgs3vectors", "iam", "user", "list")
    roles = deployment.compose("exec", "database", "psql", "--dbname", "pgs3vectors", "-Atc", "SELECT current_user")
    assert roles == "postgres\n"


def test_without_secrets_it_says_how_to_make_them(deployment: Deployment) -> None:
    refused = deployment.attempt("config", "--quiet", PGS3VECTORS_SECRETS="")
    assert refused.returncode != 0
    assert refused.stderr.endswith(
        "required variable PGS3VECTORS_SECRETS is missing a value: run ./scripts/secrets first\n"
    )


def test_every_setting_reaches_the_server(deployment: Deployment) -> None:
    """From .env, or as a file."""
    configuration = msgspec.json.decode(deployment.compose("config", "--format", "json"))
    given = configuration["services"]["server"]["environment"]
    settings = {variable(name) for name in Settings.__struct_fields__ if name not in FIXED}
    assert {name for name in settings if not {name, f"{name}_FILE"} & given.keys()} == set()
