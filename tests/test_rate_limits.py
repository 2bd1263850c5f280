from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from app.errors import TooManyRequestsException
from app.rate_limits import Rate, TokenBuckets, parse_rate
from app.settings import InvalidSetting, Settings
from tests.identities import client
from tests.server_process import ServerProcess, running

ROOT = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100", Rate(100, 100)), ("100:200", Rate(100, 200)), ("0.5", Rate(0.5, 1)), ("1e3:1", Rate(1000, 1))],
)
def test_rates_are_read(text: str, expected: Rate) -> None:
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["a", "0", "-1", "1:0", "1:0.5", "1:b", "nan", "inf", "1:2:3", "1:nan", ":1"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match="requests per second"):
        Settings.from_environment({"PGS3VECTORS_RATE_LIMIT": text})


def taken(buckets: TokenBuckets, name: str, now: float) -> bool:
    try:
        buckets.check(name, now)
    except TooManyRequestsException:
        return False
    buckets.take(name, now)
    return True


def test_a_burst_passes_and_then_so_many_a_second() -> None:
    buckets = TokenBuckets(Rate(per_second=2, burst=3))
    assert [taken(buckets, "a", 0) for _ in range(5)] == [True, True, True, False, False]
    assert [taken(buckets, "b", 0) for _ in range(4)] == [True, True, True, False]
    assert [taken(buckets, "a", 1) for _ in range(3)] == [True, True, False]
    assert [taken(buckets, "a", 1000) for _ in range(4)] == [True, True, True, False]


def test_it_is_told_when_to_come_again() -> None:
    buckets = TokenBuckets(Rate(per_second=2, burst=1))
    buckets.take("a", 0)
    with pytest.raises(TooManyRequestsException) as raised:
        buckets.check("a", 0.125)
    assert raised.value.retry_after_seconds == 0.375
    buckets.check("a", 0.5)


def test_whoever_only_claims_a_name_empties_no_bucket() -> None:
    buckets = TokenBuckets(Rate(per_second=1, burst=1))
    for _ in range(10):
        buckets.check("a", 0)


def test_the_longest_unseen_is_forgotten() -> None:
    buckets = TokenBuckets(Rate(per_second=1, burst=1), max_kept=2)
    for name in ("a", "b", "a", "c"):
        buckets.take(name, 0)
    assert [taken(buckets, name, 0) for name in ("a", "c", "b")] == [False, False, True]


@pytest.fixture(scope="module")
def server(copied_database: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data_dir: Path = tmp_path_factory.mktemp("limited") / "data"
    with running(
        "--data-dir",
        str(data_dir),
        "--workers",
        "1",
        DATABASE_URL=copied_database(),
        RATE_LIMIT="1:3",
        ROOT_ACCESS_KEY_ID=ROOT["aws_access_key_id"],
        ROOT_SECRET_ACCESS_KEY=ROOT["aws_secret_access_key"],
    ) as server:
        server.wait_until_ready()
        yield server


def over_the_limit(server: ServerProcess) -> dict[str, Any]:
    root = client(server.endpoint, **ROOT)
    while True:
        try:
            root.list_vector_buckets()
        except ClientError as error:
            return dict(error.response)


def test_the_answer_says_when_to_come_again(server: ServerProcess) -> None:
    answer = over_the_limit(server)
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Error"]["Code"] == "TooManyRequestsException"
    assert 0 < int(headers["x-amz-retry-after"]) <= 1000
    assert headers["retry-after"] == "1"
    assert {"date", "x-amzn-requestid"} <= headers.keys()


@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_boto3_waits_and_comes_again(server: ServerProcess, mode: str) -> None:
    over_the_limit(server)
    retries = {"mode": mode, "total_max_attempts": 5}
    patient = boto3.client(
        "s3vectors", endpoint_url=server.endpoint, region_name="us-east-1", config=Config(retries=retries), **ROOT
    )
    assert patient.list_vector_buckets()["ResponseMetadata"]["RetryAttempts"] > 0
