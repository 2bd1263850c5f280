import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


@pytest.fixture
def run(endpoint: str, client_environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `aws s3vectors <operation>`; options are given as in Python, documents as JSON."""
    environment = {name: value for name, value in client_environment.items() if not name.startswith("AWS_ENDPOINT")}
    aws = [str(Path(sys.executable).with_name("aws")), "--endpoint-url", endpoint, "--output", "json", "s3vectors"]

    def run(operation: str, **options: Any) -> subprocess.CompletedProcess[str]:
        words = [word for name, value in options.items() for word in option(name, value)]
        command = [*aws, operation, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603

    return run


def option(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    match value:
        case True:
            return [flag]
        case str():
            return [flag, value]
        case _:
            return [flag, json.dumps(value)]


@pytest.fixture
def aws(run: Callable[..., subprocess.CompletedProcess[str]]) -> Cli:
    """What the command printed, decoded; None if nothing."""

    def aws(operation: str, **options: Any) -> Any:
        done = run(operation, **options)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout) if done.stdout else None

    return aws


def test_buckets(aws: Cli, bucket_name: str) -> None:
    arn = aws("create-vector-bucket", vector_bucket_name=bucket_name)["vectorBucketArn"]
    bucket = aws("get-vector-bucket", vector_bucket_name=bucket_name)["vectorBucket"]
    assert bucket == bucket | {
        "vectorBucketName": bucket_name,
        "vectorBucketArn": arn,
        "encryptionConfiguration": {"sseType": "AES256"},
    }
    assert abs(time.time() - bucket["creationTime"]) < 120
    (listed,) = aws("list-vector-buckets", prefix=bucket_name)["vectorBuckets"]
    assert listed == {name: bucket[name] for name in ("vectorBucketName", "vectorBucketArn", "creationTime")}
    assert aws("delete-vector-bucket", vector_bucket_name=bucket_name) is None
    assert aws("list-vector-buckets", prefix=bucket_name) == {"vectorBuckets": []}


def test_indexes_and_vectors(aws: Cli, bucket_name: str) -> None:
    aws("create-vector-bucket", vector_bucket_name=bucket_name)
    names = {"vector_bucket_name": bucket_name, "index_name": "films"}
    metadata_configuration = {"nonFilterableMetadataKeys": ["text"]}
    definition = {"data_type": "float32", "dimension": 2, "distance_metric": "cosine"}
    arn = aws("create-index", **names, **definition, metadata_configuration=metadata_configuration)["indexArn"]
    index = aws("get-index", index_arn=arn)["index"]
    assert index == index | {
        "vectorBucketName": bucket_name,
        "indexName": "films",
        "indexArn": arn,
        "dataType": "float32",
        "dimension": 2,
        "distanceMetric": "cosine",
        "metadataConfiguration": metadata_configuration,
    }
    (listed,) = aws("list-indexes", vector_bucket_name=bucket_name)["indexes"]
    assert listed == {name: index[name] for name in ("vectorBucketName", "indexName", "indexArn", "creationTime")}

    films = {
        "été": {"data": {"float32": [1, 0]}, "metadata": {"year": 1959, "text": "À bout de souffle"}},
        "nemo": {"data": {"float32": [0.5, 0.5]}, "metadata": {"year": 2003, "genre": ["animation", "family"]}},
        "千と千尋": {"data": {"float32": [0, 1]}, "metadata": {"year": 2001, "genre": ["animation"]}},
    }
    vectors = [{"key": key, **film} for key, film in films.items()]
    assert aws("put-vectors", **names, vectors=vectors) is None
    got = aws("get-vectors", **names, keys=["été", "absent"], return_data=True, return_metadata=True)
    assert got == {"vectors": [{"key": "été", **films["été"]}]}
    pages = aws("list-vectors", **names, page_size=1, return_data=True, return_metadata=True)["vectors"]
    assert {vector.pop("key"): vector for vector in pages} == films

    query = {"query_vector": {"float32": [1, 0]}, "top_k": 2, "filter": {"genre": "animation"}}
    nearest = aws("query-vectors", **names, **query, return_distance=True, return_metadata=True)
    assert nearest["distanceMetric"] == "cosine"
    assert [vector["key"] for vector in nearest["vectors"]] == ["nemo", "千と千尋"]
    assert [vector["distance"] for vector in nearest["vectors"]] == pytest.approx([1 - 0.5**0.5, 1])
    assert nearest["vectors"][0]["metadata"] == films["nemo"]["metadata"]

    assert aws("delete-vectors", **names, keys=["nemo", "absent"]) is None
    left = aws("list-vectors", **names)["vectors"]
    assert sorted(vector["key"] for vector in left) == ["été", "千と千尋"]
    assert aws("delete-index", **names) is None
    assert aws("list-indexes", vector_bucket_name=bucket_name) == {"indexes": []}
    aws("delete-vector-bucket", vector_bucket_name=bucket_name)


def test_policies(aws: Cli, run: Callable[..., subprocess.CompletedProcess[str]], bucket_name: str) -> None:
    arn = aws("create-vector-bucket", vector_bucket_name=bucket_name)["vectorBucketArn"]
    account = arn.split(":")[4]
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["s3vectors:QueryVectors", "s3vectors:GetVectors"],
        "Resource": f"{arn}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    assert aws("put-vector-bucket-policy", vector_bucket_name=bucket_name, policy=policy) is None
    assert json.loads(aws("get-vector-bucket-policy", vector_bucket_arn=arn)["policy"]) == policy
    assert aws("delete-vector-bucket-policy", vector_bucket_name=bucket_name) is None
    gone = run("get-vector-bucket-policy", vector_bucket_name=bucket_name)
    assert "The specified vector bucket policy could not be found" in gone.stderr
    aws("delete-vector-bucket", vector_bucket_name=bucket_name)


def test_tags(aws: Cli, bucket_name: str) -> None:
    tags = {"team": "search", "cost center": "a+b/c=d"}
    arn = aws("create-vector-bucket", vector_bucket_name=bucket_name, tags=tags)["vectorBucketArn"]
    assert aws("list-tags-for-resource", resource_arn=arn) == {"tags": tags}
    assert aws("tag-resource", resource_arn=arn, tags={"team": "vidéo", "kept": ""}) is None
    assert aws("untag-resource", resource_arn=arn, tag_keys=["team", "cost center"]) is None
    assert aws("list-tags-for-resource", resource_arn=arn) == {"tags": {"kept": ""}}
    aws("delete-vector-bucket", vector_bucket_name=bucket_name)


def test_an_error(run: Callable[..., subprocess.CompletedProcess[str]], bucket_name: str) -> None:
    done = run("get-index", vector_bucket_name=bucket_name, index_name="absent")
    assert (done.returncode, done.stdout) == (255, "")
    assert done.stderr.strip() == (
        "An error occurred (NotFoundException) when calling the GetIndex operation: "
        "The specified index could not be found"
    )
