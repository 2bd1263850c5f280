import re
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import psycopg
import pytest

from app.access_keys import new_account_key
from app.envelope import KeyEncryptionKeys, kek_id, new_key
from tests.cli.test_iam import TENANT, Deployment, answer, answers, deployed
from tests.operations.vectors import record
from tests.server_process import ROOT, environment

MANY = 1_201
INDEX = {"vectorBucketName": "sealed", "indexName": "idx"}


@pytest.fixture(scope="module")
def deployment(copied_database: Callable[[], str]) -> Iterator[Deployment]:
    """With a tenant, and many accounts beside."""
    with deployed(copied_database()) as deployment:
        deployment.command("iam", "account", "create", TENANT)
        keys = KeyEncryptionKeys(lambda: keys_of(deployment))
        wrapped = [(f"{i:012}", new_account_key(keys, f"{i:012}")) for i in range(1, MANY)]
        with psycopg.connect(deployment.url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO s3_vectors.accounts (account_id, account_name, kek_id, data_key) VALUES (%s, '', %s, %s)",
                [(account_id, key.kek_id, key.ciphertext) for account_id, key in wrapped],
            )
        yield deployment


def keys_of(deployment: Deployment) -> list[bytes]:
    return [b64decode(word) for word in (deployment.data_dir / "key-encryption-key").read_text().split()]


def give(deployment: Deployment, *keys: bytes) -> None:
    text = "\n".join(b64encode(key).decode() for key in keys)
    (deployment.data_dir / "key-encryption-key").write_text(text)


def wrapped_by(deployment: Deployment) -> dict[str, int]:
    return dict(
        deployment.sql(
            "SELECT kek_id, count(*) FROM (SELECT kek_id FROM s3_vectors.accounts"
            " UNION ALL SELECT kek_id FROM s3_vectors.kms_keys) AS w GROUP BY kek_id"
        )
    )


@contextmanager
def asked_meanwhile(*calls: Callable[[], Any]) -> Iterator[set[str]]:
    """The answers of all calls, which are made again and again while the block runs."""
    seen: set[str] = set()
    enough, stop = Event(), Event()

    def ask() -> None:
        while not stop.is_set():
            seen.update(answer(call) for call in calls)
            enough.set()

    thread = Thread(target=ask)
    thread.start()
    assert enough.wait(60)
    yield seen
    stop.set()
    thread.join()


def test_a_running_server_goes_on_answering_while_its_key_is_replaced(deployment: Deployment) -> None:
    command, [old], new = deployment.command, keys_of(deployment), new_key()
    root = deployment.client(command.json("iam", "key", "create"))
    tenant = deployment.client(command.json("iam", "key", "create", "--account", TENANT))
    encryption = {"sseType": "aws:kms", "kmsKeyArn": command("kms", "create").strip()}
    root.create_vector_bucket(vectorBucketName="sealed", encryptionConfiguration=encryption)
    root.create_index(**INDEX, dataType="float32", dimension=2, distanceMetric="cosine")
    calls: list[Callable[[], Any]] = [
        tenant.list_vector_buckets,
        lambda: root.put_vectors(**INDEX, vectors=[record("k", [1, 2], text="hidden")]),
        lambda: root.get_vectors(**INDEX, keys=["k"], returnMetadata=True),
    ]
    before = wrapped_by(deployment)
    assert set(before) == {kek_id(old)}
    with asked_meanwhile(*calls) as seen:
        give(deployment, new, old)
        said = command("rotate-kek")
    assert seen == {"200"}
    assert said == f"{before[kek_id(old)]} keys are now wrapped by key-encryption key {kek_id(new)}.\n"
    assert wrapped_by(deployment) == {kek_id(new): before[kek_id(old)]}
    assert [answers(call) for call in calls] == [{"200"}] * 3
    assert command("rotate-kek") == f"0 keys are now wrapped by key-encryption key {kek_id(new)}.\n"
    give(deployment, new)
    late = deployment.client(command.json("iam", "key", "create", "--account", TENANT))
    assert [answers(call) for call in (*calls, late.list_vector_buckets)] == [{"200"}] * 4


def test_a_worker_that_has_not_seen_the_new_key_looks_for_it(deployment: Deployment) -> None:
    """Also one that nobody asked anything between the rotation and the end of the old key."""
    command, [old], new = deployment.command, keys_of(deployment), new_key()
    key = command.json("iam", "key", "create")
    client = deployment.client(key)
    give(deployment, new, old)
    command("rotate-kek")
    give(deployment, new)
    assert answers(client.list_vector_buckets) == {"200"}
    command("iam", "key", "delete", key["AccessKeyId"])


def test_a_rotation_that_is_killed_is_finished_by_the_next(deployment: Deployment) -> None:
    [old], new = keys_of(deployment), new_key()
    client = deployment.client(deployment.command.json("iam", "key", "create", "--account", f"{MANY - 1:012}"))
    total = sum(wrapped_by(deployment).values())
    give(deployment, new, old)
    with psycopg.connect(deployment.url) as connection:
        connection.execute("SELECT 1 FROM s3_vectors.accounts ORDER BY ctid DESC LIMIT 1 FOR UPDATE")
        rotation = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "rotate-kek"],
            env=environment(**deployment.command.settings),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while (done := wrapped_by(deployment).get(kek_id(new), 0)) == 0:
            time.sleep(0.02)
        rotation.kill()
        rotation.wait(60)
    assert 0 < done < total
    assert answers(client.list_vector_buckets) == {"200"}
    left = wrapped_by(deployment)[kek_id(old)]
    said = deployment.command("rotate-kek")
    assert said == f"{left} keys are now wrapped by key-encryption key {kek_id(new)}.\n"
    assert wrapped_by(deployment) == {kek_id(new): total}
    give(deployment, new)
    assert answers(client.list_vector_buckets) == {"200"}


def test_without_the_old_key_nothing_is_rotated(deployment: Deployment) -> None:
    [right], before = keys_of(deployment), wrapped_by(deployment)
    give(deployment, new_key())
    told = deployment.command.refusal("rotate-kek")
    give(deployment, right)
    assert re.fullmatch(
        rf"The secrets in this database are under key-encryption key {kek_id(right)}, and it is not the one given"
        rf" \(that is [0-9a-f]{{16}}\): Key-encryption key {kek_id(right)} is missing",
        told,
    )
    assert wrapped_by(deployment) == before


def test_a_wrapped_key_that_was_changed_is_named_in_one_line(deployment: Deployment) -> None:
    [old], last = keys_of(deployment), f"{MANY - 2:012}"
    row = f"FROM s3_vectors.accounts WHERE account_id = '{last}'"
    [(kept,)] = deployment.sql(f"SELECT encode(data_key, 'hex') {row}")
    deployment.sql(f"UPDATE s3_vectors.accounts SET data_key = 'changed' WHERE account_id = '{last}'")
    give(deployment, new_key(), old)
    told = deployment.command.refusal("rotate-kek")
    deployment.sql(f"UPDATE s3_vectors.accounts SET data_key = decode('{kept}', 'hex') WHERE account_id = '{last}'")
    deployment.command("rotate-kek")
    give(deployment, keys_of(deployment)[0])
    assert told == f"Cannot open what belongs to {kek_id(old)} account {last}"
