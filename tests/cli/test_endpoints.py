"""Buckets copied between two servers, of which one stands for AWS: in another account and another Region."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import numpy as np
import psycopg
import pytest
from msgspec import Struct

from tests.cli.indexes import Indexes, indexes_at
from tests.cli.test_iam import Deployment, deployed
from tests.cli.test_import import make, started, wait_for
from tests.interchange.files import rows

AWS, REGION = "444455556666", "eu-central-1"
ROOT = {"AWS_ACCESS_KEY_ID": "PGSVROOT", "AWS_SECRET_ACCESS_KEY": "root-secret", "AWS_REGION": REGION}
METADATA = {
    "nonFilterableMetadataKeys": ["text"],
    "textSearchConfigurations": [{"metadataKey": "text", "language": "en"}, {"metadataKey": "title"}],
}
MANY = 1_300


class There(Struct):
    """What stands for AWS."""

    deployment: Deployment
    client: Any

    @property
    def url(self) -> str:
        return self.deployment.endpoint

    def arn(self, name: str) -> str:
        return f"arn:aws:s3vectors:{REGION}:{AWS}:bucket/{name}"

    def vectors(self, bucket: str, index: str) -> dict[str, Any]:
        pages = self.client.get_paginator("list_vectors").paginate(
            vectorBucketName=bucket, indexName=index, returnData=True, returnMetadata=True
        )
        return {vector["key"]: vector for page in pages for vector in page["vectors"]}


@contextmanager
def credentials(values: dict[str, str]) -> Iterator[None]:
    """For commands, which find them as boto3 does."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_"):
                patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def there(copied_database: Callable[[], str]) -> Iterator[There]:
    settings = {"ROOT_ACCESS_KEY_ID": "PGSVROOT", "ROOT_SECRET_ACCESS_KEY": "root-secret"}
    with deployed(copied_database(), **settings, ACCOUNT_ID=AWS, REGION=REGION) as deployment:
        client = boto3.client(
            "s3vectors",
            endpoint_url=deployment.endpoint,
            region_name=REGION,
            aws_access_key_id="PGSVROOT",
            aws_secret_access_key="root-secret",
        )
        fill(client)
        yield There(deployment, client)


def fill(client: Any) -> None:
    """Bucket `library` with three indexes, `bare` with one that nothing was said of."""
    client.create_vector_bucket(vectorBucketName="library", tags={"team": "red"})
    common = {"vectorBucketName": "library", "dataType": "float32"}
    client.create_index(
        **common,
        indexName="books",
        dimension=4,
        distanceMetric="cosine",
        metadataConfiguration=METADATA,
        tags={"kind": "paper", "ä": ""},
    )
    client.create_index(**common, indexName="maps.old", dimension=2, distanceMetric="euclidean")
    client.create_index(**common, indexName="empty", dimension=3, distanceMetric="cosine")
    put(client, "library", "books", MANY)
    client.put_vectors(
        vectorBucketName="library",
        indexName="maps.old",
        vectors=[
            {"key": "ключ", "data": {"float32": [-0.0, 3.4028234663852886e38]}},
            {"key": "b", "data": {"float32": [0.1, 1e-45]}, "metadata": {"list": [1, 2.5], "t": True, "s": "😀\n"}},
        ],
    )
    client.create_vector_bucket(vectorBucketName="bare")
    client.create_index(
        vectorBucketName="bare", indexName="bare", dataType="float32", dimension=4, distanceMetric="cosine"
    )


def put(client: Any, bucket: str, index: str, number: int) -> None:
    made = rows(number)
    vectors = [
        {"key": key, "data": {"float32": vector}, "metadata": json.loads(text)}
        for key, vector, text in zip(made.keys, made.vectors, made.metadata, strict=True)
    ]
    for first in range(0, number, 500):
        client.put_vectors(vectorBucketName=bucket, indexName=index, vectors=vectors[first : first + 500])


@pytest.fixture(scope="module")
def here(copied_database: Callable[[], str]) -> Iterator[Indexes]:
    with credentials(ROOT), indexes_at(copied_database(), make) as indexes:
        yield indexes


def from_there(there: There, here: Indexes, *arguments: str) -> Any:
    done = here.command.run("import", *arguments, "--endpoint-url", there.url, "--json")
    assert (done.returncode, done.stderr) == (0, f"From {there.url}\n")
    return json.loads(done.stdout)


def to_there(there: There, here: Indexes, *arguments: str) -> Any:
    done = here.command.run("export", *arguments, "--endpoint-url", there.url, "--json")
    assert (done.returncode, done.stderr) == (0, f"To {there.url}\n")
    return json.loads(done.stdout)


def refusal(there: There, here: Indexes, *arguments: str) -> str:
    done = here.command.run(*arguments, "--endpoint-url", there.url)
    assert (done.returncode, done.stdout) == (1, "")
    return re.sub(r"^(From|To) .*\n", "", done.stderr).removeprefix("pgs3vectors: ").removesuffix("\n")


@pytest.fixture
def name(here: Indexes) -> str:
    """Of a bucket that is not there yet."""
    [(number,)] = here.sql("SELECT nextval('s3_vectors.vector_buckets_id_seq')")
    return f"copy-{number}"


def test_a_bucket_goes_there_and_back_with_its_configuration(there: There, here: Indexes, name: str) -> None:
    told = from_there(there, here, "s3vectors://library", name)
    assert [(row["index"], row["rows"], row["vectors"]) for row in told["indexes"]] == [
        (f"{name}/books", MANY, MANY),
        (f"{name}/empty", 0, 0),
        (f"{name}/maps.old", 2, 2),
    ]
    assert told["remarks"] == []
    told = to_there(there, here, name, f"s3vectors://{name}")
    assert told["indexes"] == [
        {"index": f"{name}/{index}", "target": f"{there.arn(name)}/index/{index}", "vectors": number}
        for index, number in (("books", MANY), ("empty", 0), ("maps.old", 2))
    ]
    assert told["remarks"] == []
    for index in ("books", "empty", "maps.old"):
        assert there.vectors(name, index) == there.vectors("library", index)
        assert configuration(there, name, index) == configuration(there, "library", index)
    assert there.client.list_tags_for_resource(resourceArn=there.arn(name))["tags"] == {"team": "red"}
    assert here.sql("SELECT 1 FROM s3_vectors.transfers") == []
    copied = texts(here.sql, name)
    assert copied == texts(there.deployment.sql, name) == texts(there.deployment.sql, "library")
    assert copied[0] == MANY


def texts(sql: Callable[[str], list[Any]], bucket: str) -> list[Any]:
    """Of the first searchable key of its books: documents, and terms of all of them."""
    [(search_id,)] = sql(
        "SELECT min(s.id) FROM s3_vectors.text_search_configurations s"
        " JOIN s3_vectors.vector_indexes i ON i.id = vector_index_id JOIN s3_vectors.vector_buckets b"
        f" ON b.id = vector_bucket_id WHERE index_name = 'books' AND vector_bucket_name = '{bucket}'"
    )
    [totals] = sql(f"SELECT count(*), sum(length) FROM vectors.text_{search_id}")
    return list(totals)


def configuration(there: There, bucket: str, index: str) -> Any:
    found = there.client.get_index(vectorBucketName=bucket, indexName=index)["index"]
    kept = ("dimension", "distanceMetric", "metadataConfiguration", "encryptionConfiguration")
    tags = there.client.list_tags_for_resource(resourceArn=found["indexArn"])["tags"]
    return {member: found.get(member) for member in kept} | {"tags": tags}


def test_index_modes_go_along_where_they_may(there: There, here: Indexes, name: str) -> None:
    """Of an original of before CLASSIC ended; a copy that is made there now cannot have it."""
    there.client.create_vector_bucket(vectorBucketName=name)
    there.deployment.sql(
        "UPDATE s3_vectors.vector_buckets SET creation_time = '2026-09-01', default_index_mode = 'CLASSIC'"
        f" WHERE vector_bucket_name = '{name}'"
    )
    common = {"vectorBucketName": name, "dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
    for index in ("old", "new"):
        there.client.create_index(**common, indexName=index)
    there.client.update_index_mode(vectorBucketName=name, indexName="new", indexMode="ENHANCED")
    assert from_there(there, here, f"s3vectors://{name}")["remarks"] == []
    modes = "SELECT default_index_mode, index_name, index_mode FROM s3_vectors.vector_buckets b"
    modes += f" JOIN s3_vectors.vector_indexes i ON vector_bucket_id = b.id WHERE vector_bucket_name = '{name}'"
    assert here.sql(f"{modes} ORDER BY 2") == [("CLASSIC", "new", "ENHANCED"), ("CLASSIC", "old", "CLASSIC")]
    refused = "ValidationException: CLASSIC can be specified only for vector buckets that were created before"
    told = to_there(there, here, name, f"s3vectors://{name}-new")["remarks"]
    assert [remark.removesuffix(" September 30, 2026") for remark in told] == [
        f"Bucket {name}-new keeps the index mode that it was given there: {refused}",
        f"Index old keeps the index mode that it was given there: {refused}",
    ]
    there.client.create_vector_bucket(vectorBucketName=f"{name}-old")
    there.deployment.sql(
        "UPDATE s3_vectors.vector_buckets SET creation_time = '2026-09-01', default_index_mode = 'CLASSIC'"
        f" WHERE vector_bucket_name = '{name}-old'"
    )
    told = to_there(there, here, name, f"s3vectors://{name}-old")["remarks"]
    assert told == [f"Bucket {name}-old was there and keeps its own encryption, tags, policy and default index mode."]
    shown = [there.client.get_index(vectorBucketName=f"{name}-old", indexName=index) for index in ("new", "old")]
    assert [index["index"]["indexMode"] for index in shown] == ["ENHANCED", "CLASSIC"]


def test_one_index_is_copied_by_its_arn_and_under_another_name(there: There, here: Indexes, name: str) -> None:
    arn = f"{there.arn('library')}/index/maps.old"
    [row] = from_there(there, here, arn, f"{name}/maps")["indexes"]
    assert (row["index"], row["vectors"]) == (f"{name}/maps", 2)
    [row] = to_there(there, here, f"{name}/maps", f"s3vectors://{name}/charts")["indexes"]
    assert row["target"] == f"{there.arn(name)}/index/charts"
    assert there.vectors(name, "charts") == there.vectors("library", "maps.old")
    told = to_there(there, here, f"{name}/maps", f"{there.arn(name)}/index/charts")
    assert told["remarks"] == [
        f"Bucket {name} was there and keeps its own encryption, tags, policy and default index mode."
    ]


def test_copying_again_replaces_what_has_changed(there: There, here: Indexes, name: str) -> None:
    from_there(there, here, "s3vectors://library/books", name)
    here.sql(f"""UPDATE "{name}".books SET metadata = '{{}}' WHERE key = 'k000007'""")
    here.sql(f"""DELETE FROM "{name}".books WHERE key = 'k000008'""")
    told = from_there(there, here, "s3vectors://library/books", name)
    assert told["remarks"] == [
        f"Bucket {name} was there and keeps its own encryption, tags, policy and default index mode."
    ]
    changed = here.sql(f"""SELECT key, metadata FROM "{name}".books WHERE key IN ('k000007', 'k000008') ORDER BY 1""")
    assert changed == [("k000007", {"n": 7}), ("k000008", {"n": 8})]


def test_a_policy_is_in_force_for_the_copy(there: There, here: Indexes, name: str) -> None:
    deny = policy(there.arn(name), "*")
    there.client.create_vector_bucket(vectorBucketName=name)
    there.client.put_vector_bucket_policy(vectorBucketName=name, policy=deny)
    from_there(there, here, f"s3vectors://{name}")
    here_arn = f"arn:aws:s3vectors:us-east-1:000000000000:bucket/{name}"
    [(stored,)] = here.sql(f"SELECT policy FROM s3_vectors.vector_buckets WHERE vector_bucket_name = '{name}'")
    assert stored == policy(here_arn, "*")
    to_there(there, here, name, f"s3vectors://{name}-back")
    back = there.client.get_vector_bucket_policy(vectorBucketName=f"{name}-back")["policy"]
    assert json.loads(back) == json.loads(policy(there.arn(f"{name}-back"), "*"))


def policy(arn: str, principal: Any) -> str:
    statement = {
        "Effect": "Deny",
        "Principal": principal,
        "Action": "s3vectors:DeleteIndex",
        "Resource": [arn, f"{arn}/*"],
    }
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def test_a_policy_that_cannot_be_in_force_stops_the_copy(there: There, here: Indexes, name: str) -> None:
    there.deployment.command("iam", "user", "create", name)
    there.client.create_vector_bucket(vectorBucketName=name)
    of_user = policy(there.arn(name), {"AWS": f"arn:aws:iam::{AWS}:user/{name}"})
    there.client.put_vector_bucket_policy(vectorBucketName=name, policy=of_user)
    assert refusal(there, here, "import", f"s3vectors://{name}") == (
        f"The bucket policy cannot be in force here: Invalid principal in policy: arn:aws:iam::{AWS}:user/{name} "
        "does not exist. --without-policy leaves it out."
    )
    assert here.sql(f"SELECT 1 FROM s3_vectors.vector_buckets WHERE vector_bucket_name = '{name}'") == []
    told = from_there(there, here, f"s3vectors://{name}", "--without-policy")
    assert told["remarks"] == ["The bucket policy was left out."]


def test_what_may_not_be_read_is_told(there: There, here: Indexes, name: str) -> None:
    there.deployment.command("iam", "user", "create", name)
    allowed = ["GetVectorBucket", "ListIndexes", "GetIndex", "ListVectors", "GetVectors"]
    statement = {"Effect": "Allow", "Action": [f"s3vectors:{action}" for action in allowed], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    there.deployment.command("iam", "policy", "put", name, "read", "/dev/stdin", stdin=document)
    key = there.deployment.command.json("iam", "key", "create", name)
    reader = ROOT | {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    with credentials(reader), indexes_at_same(here) as as_reader:
        told = from_there(there, as_reader, "s3vectors://bare", name)
    assert [remark.partition(": ")[0] for remark in told["remarks"]] == [
        "The tags of bucket bare could not be read",
        "The policy of bucket bare could not be read",
        "The tags of index bare could not be read",
    ]


@contextmanager
def indexes_at_same(indexes: Indexes) -> Iterator[Indexes]:
    """With the environment of now."""
    from tests.cli.test_iam import Command  # noqa: PLC0415

    yield Indexes(indexes.url, Command(**indexes.command.settings))


def test_a_key_that_is_not_known_here_stops_the_copy(there: There, here: Indexes, name: str) -> None:
    key_arn = there.deployment.command("kms", "create").strip()
    encryption = {"sseType": "aws:kms", "kmsKeyArn": key_arn}
    there.client.create_vector_bucket(vectorBucketName=name, encryptionConfiguration=encryption)
    there.client.create_index(
        vectorBucketName=name,
        indexName="sealed",
        dataType="float32",
        dimension=4,
        distanceMetric="cosine",
        metadataConfiguration=METADATA,
    )
    put(there.client, name, "sealed", 20)
    assert refusal(there, here, "import", f"s3vectors://{name}") == (
        f"Bucket {name} is under {key_arn}, which cannot be used here: Key '{key_arn}' does not exist "
        "Register it with `kms create --key-arn`, or say --encryption AES256 or the ARN of another key."
    )
    ours = here.command("kms", "create").strip()
    from_there(there, here, f"s3vectors://{name}", "--encryption", ours)
    kinds = "SELECT b.kms_key_arn, i.kms_key_arn FROM s3_vectors.vector_buckets b JOIN s3_vectors.vector_indexes i"
    assert here.sql(f"{kinds} ON vector_bucket_id = b.id WHERE vector_bucket_name = '{name}'") == [(ours, ours)]
    [(sealed,)] = here.sql(f"""SELECT non_filterable_metadata FROM "{name}".sealed LIMIT 1""")
    assert isinstance(sealed, bytes)
    to_there(there, here, name, f"s3vectors://{name}-back", "--encryption", "AES256")
    assert there.vectors(f"{name}-back", "sealed") == there.vectors(name, "sealed")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["import", "s3vectors://nope"], "NotFoundException: The specified vector bucket could not be found"),
        (["import", "s3vectors://library/nope"], "NotFoundException: The specified index could not be found"),
        (
            ["import", "s3vectors://library", "media/index"],
            "A whole bucket is copied into a bucket, not into the index media/index.",
        ),
        (
            ["import", "s3vectors://library", "--distance-metric", "cosine"],
            "Indexes of another endpoint are copied as they are, without options for files.",
        ),
        (["import", "vectors.parquet", "media/index"], "Options of endpoints say nothing of a file."),
        (["export", "media/index", "vectors.parquet"], "Options of endpoints say nothing of a file."),
        (["export", "nope", "s3vectors://nope"], "There is no bucket nope in account 000000000000."),
        (["export", "media/nope", "s3vectors://nope"], "There is no index media/nope in account 000000000000."),
        (["export", "media", "s3vectors://nope/nope"], "A whole bucket is put into a bucket, not into an index."),
        (["export", "media", "s3vectors://No_no"], "ValidationException: Invalid vector bucket name"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    there: There, here: Indexes, arguments: list[str], reason: str
) -> None:
    assert refusal(there, here, *arguments).startswith(reason)


def test_an_endpoint_that_does_not_answer_is_told(here: Indexes) -> None:
    done = here.command.run("import", "s3vectors://library", "--endpoint-url", "http://127.0.0.1:1")
    assert done.stderr.splitlines()[1] == (
        'pgs3vectors: Could not connect to the endpoint URL: "http://127.0.0.1:1/GetVectorBucket"'
    )


def test_indexes_of_another_kind_are_not_mixed(there: There, here: Indexes, name: str) -> None:
    from_there(there, here, "s3vectors://library/books", name)
    refused = [
        refusal(there, here, "import", "s3vectors://library/maps.old", f"{name}/books"),
        refusal(there, here, "import", "s3vectors://bare/bare", f"{name}/books"),
        refusal(there, here, "export", f"{name}/books", "s3vectors://library/maps.old"),
    ]
    assert refused == [
        f"{name}/books is there, of another kind than {there.arn('library')}/index/maps.old.",
        f"{name}/books is there, of another kind than {there.arn('bare')}/index/bare.",
        f"{there.arn('library')}/index/maps.old is there, of another kind than {name}/books.",
    ]


def test_an_import_that_is_killed_goes_on_where_it_was(there: There, here: Indexes, name: str) -> None:
    """One page at a time, of which the second waits for a lock."""
    first = from_there(there, here, "s3vectors://bare", name)["indexes"][0]
    assert first["vectors"] == 0
    put(there.client, "bare", "bare", 3_000)
    keys = [vector["key"] for vector in listed(there, "bare", "bare")]
    [(table,)] = here.sql(
        "SELECT 'vectors.index_' || i.id FROM s3_vectors.vector_indexes i JOIN s3_vectors.vector_buckets b"
        f" ON b.id = vector_bucket_id WHERE vector_bucket_name = '{name}'"
    )
    here.sql(
        f"INSERT INTO {table} (key, embedding, metadata, non_filterable_metadata)"
        f" VALUES ('{keys[-1]}', '[1,2,3,4]', '{{}}', '{{}}')"
    )
    command = ("import", "s3vectors://bare", name, "--endpoint-url", there.url, "--connections", "1")
    with psycopg.connect(here.url) as other:
        other.execute(f"SELECT FROM {table} FOR UPDATE".encode())
        process = started(here, *command)
        wait_for(here, "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid'")
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_for(here, "SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid')")
    [(done,)] = here.sql("SELECT (progress ->> 'rows')::int FROM s3_vectors.transfers")
    assert 0 < int(str(done)) < 3_000
    finished = here.command.run(*command, "--json")
    assert finished.stderr == (
        f"From {there.url}\n{name}/bare: going on behind {done} vectors, where this import was interrupted.\n"
    )
    assert json.loads(finished.stdout)["indexes"][0]["vectors"] == 3_000
    stored = {str(key): vector for key, vector in here.sql(f"SELECT key, embedding::text FROM {table}")}
    original = there.vectors("bare", "bare")
    assert stored.keys() == original.keys()
    for key, vector in stored.items():
        np.testing.assert_array_equal(np.float32(json.loads(str(vector))), np.float32(original[key]["data"]["float32"]))


def listed(there: There, bucket: str, index: str) -> list[Any]:
    pages = there.client.get_paginator("list_vectors").paginate(vectorBucketName=bucket, indexName=index)
    return [vector for page in pages for vector in page["vectors"]]


def test_an_export_that_is_interrupted_goes_on_where_it_was(there: There, here: Indexes, name: str) -> None:
    from_there(there, here, "s3vectors://library/books", name)
    to_there(there, here, f"{name}/books", f"s3vectors://{name}")
    keys = [vector["key"] for vector in listed(there, name, "books")]
    for first in range(0, MANY, 500):
        there.client.delete_vectors(vectorBucketName=name, indexName="books", keys=keys[first : first + 500])
    [(hash_,)] = here.sql(f"SELECT hashtextextended('{keys[599]}', 0)")
    [(index_id,)] = here.sql(
        "SELECT i.id FROM s3_vectors.vector_indexes i JOIN s3_vectors.vector_buckets b"
        f" ON b.id = vector_bucket_id WHERE vector_bucket_name = '{name}'"
    )
    progress = json.dumps({"hash": hash_, "key": keys[599], "vectors": 600})
    peer = f"to endpoint {there.url} {there.arn(name)}/index/books"
    here.sql(
        "INSERT INTO s3_vectors.transfers (vector_index_id, peer, progress)"
        f" VALUES ({index_id}, '{peer}', '{progress}')"
    )
    command = ("export", f"{name}/books", f"s3vectors://{name}", "--endpoint-url", there.url, "--json")
    done = here.command.run(*command)
    assert done.stderr == (
        f"To {there.url}\n{name}/books: going on behind 600 vectors, where this export was interrupted.\n"
    )
    assert json.loads(done.stdout)["indexes"][0]["vectors"] == MANY
    assert set(there.vectors(name, "books")) == set(keys[600:])
    to_there(there, here, f"{name}/books", f"s3vectors://{name}", "--restart")
    assert set(there.vectors(name, "books")) == set(keys)
