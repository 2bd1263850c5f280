import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from app.database.deletion import Deletion
from app.database.engine import Database
from app.envelope import KeyEncryptionKeys
from app.kms import new_key_material
from tests.cli.test_iam import Deployment, answer, answers, deployed
from tests.operations.vectors import record

HOME, TENANT = "000000000000", "111111111111"
ROOT = {"AccessKeyId": "PGSVROOT", "SecretAccessKey": "root-secret"}
HIDDEN = "hidden words"
VECTOR = {"float32": [1.0, 2.0]}
PLAIN: dict[str, Any] = {"encryptionConfiguration": {"sseType": "AES256"}}


@pytest.fixture(scope="module")
def deployment(copied_database: Callable[[], str]) -> Iterator[Deployment]:
    root = {"ROOT_ACCESS_KEY_ID": ROOT["AccessKeyId"], "ROOT_SECRET_ACCESS_KEY": ROOT["SecretAccessKey"]}
    with deployed(copied_database(), **root) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def client(deployment: Deployment) -> Any:
    """Of the root user of the server's own account."""
    return deployment.client(ROOT)


def create_key(deployment: Deployment, account_id: str = HOME, state: str = "Enabled") -> str:
    """As `pgs3vectors kms create` does, and faster."""
    arn = f"arn:aws:kms:us-east-1:{account_id}:key/{uuid4()}"
    kek = b64decode((deployment.data_dir / "key-encryption-key").read_text())
    material = new_key_material(KeyEncryptionKeys(lambda: [kek]), arn)
    with psycopg.connect(deployment.url) as connection:
        connection.execute(
            "INSERT INTO s3_vectors.kms_keys (key_arn, account_id, description, key_state, kek_id, key_material)"
            " VALUES (%s, %s, '', %s, %s, %s)",
            (arn, account_id, state, material.kek_id, material.ciphertext),
        )
    return arn


def set_state(deployment: Deployment, arn: str, state: str) -> None:
    deployment.sql(f"UPDATE s3_vectors.kms_keys SET key_state = '{state}' WHERE key_arn = '{arn}'")


def under(key_arn: str) -> dict[str, Any]:
    return {"encryptionConfiguration": {"sseType": "aws:kms", "kmsKeyArn": key_arn}}


def create_bucket(client: Any, **members: Any) -> str:
    name = f"test-{uuid4().hex}"
    client.create_vector_bucket(vectorBucketName=name, **members)
    return name


def create_index(client: Any, bucket: str, name: str = "idx", **members: Any) -> dict[str, str]:
    client.create_index(
        vectorBucketName=bucket,
        indexName=name,
        dataType="float32",
        dimension=2,
        distanceMetric="euclidean",
        metadataConfiguration={"nonFilterableMetadataKeys": ["text", "more"]},
        **members,
    )
    return {"vectorBucketName": bucket, "indexName": name}


def table_of(deployment: Deployment, index: dict[str, str]) -> str:
    [(number,)] = deployment.sql(
        "SELECT i.id FROM s3_vectors.vector_indexes i JOIN s3_vectors.vector_buckets b ON b.id = vector_bucket_id"
        f" WHERE vector_bucket_name = '{index['vectorBucketName']}' AND index_name = '{index['indexName']}'"
    )
    return f"vectors.index_{number}"


@pytest.fixture
def key_arn(deployment: Deployment) -> str:
    return create_key(deployment)


@pytest.fixture
def index(client: Any, key_arn: str) -> dict[str, str]:
    """Under a key of its own, with one vector."""
    index = create_index(client, create_bucket(client, **under(key_arn)))
    client.put_vectors(**index, vectors=[record("k", [1, 2], text=HIDDEN, genre="open words")])
    return index


def test_an_index_inherits_the_key_of_its_bucket_or_has_its_own(
    client: Any, deployment: Deployment, key_arn: str
) -> None:
    own = create_key(deployment)
    bucket = create_bucket(client, **under(key_arn))
    for name, asked, shown in (
        ("inherits", {}, under(key_arn)),
        ("own", under(own), under(own)),
        (
            "plain",
            PLAIN,
            PLAIN,
        ),
    ):
        index = create_index(client, bucket, name, **asked)
        assert client.get_index(**index)["index"]["encryptionConfiguration"] == shown["encryptionConfiguration"]
    shown_bucket = client.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]
    assert shown_bucket["encryptionConfiguration"] == under(key_arn)["encryptionConfiguration"]
    [(sealed,)] = deployment.sql(
        "SELECT count(*) FROM s3_vectors.vector_indexes i JOIN s3_vectors.vector_buckets b"
        f" ON b.id = vector_bucket_id WHERE vector_bucket_name = '{bucket}' AND data_key IS NOT NULL"
    )
    assert sealed == 2


UNUSABLE = [
    pytest.param(HOME, None, "Key '{}' does not exist", id="unknown"),
    pytest.param(TENANT, "Enabled", "Key '{}' does not exist", id="of another account"),
    pytest.param(TENANT, "Disabled", "Key '{}' does not exist", id="of another account and disabled"),
    pytest.param(HOME, "Disabled", "{} is disabled.", id="disabled"),
    pytest.param(HOME, "PendingDeletion", "{} is pending deletion.", id="pending deletion"),
]


@pytest.fixture(scope="module")
def tenant(deployment: Deployment) -> str:
    deployment.command("iam", "account", "create", TENANT)
    return TENANT


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(("account_id", "state", "message"), UNUSABLE)
def test_nothing_is_created_under_a_key_that_one_cannot_use(
    client: Any, deployment: Deployment, account_id: str, state: str | None, message: str
) -> None:
    arn = create_key(deployment, account_id, state) if state else f"arn:aws:kms:us-east-1:{HOME}:key/{uuid4()}"
    expected = f"403 AccessDeniedException: {message.format(arn)}"
    assert answers(lambda: create_bucket(client, **under(arn))) == {expected}
    bucket = create_bucket(client)
    assert answers(lambda: create_index(client, bucket, **under(arn))) == {expected}
    assert client.list_indexes(vectorBucketName=bucket)["indexes"] == []


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_nothing_is_created_in_a_bucket_whose_key_is_no_longer_usable(
    client: Any, deployment: Deployment, key_arn: str, state: str
) -> None:
    bucket = create_bucket(client, **under(key_arn))
    set_state(deployment, key_arn, state)
    assert answer(lambda: create_index(client, bucket)).startswith(f"403 AccessDeniedException: {key_arn} is ")
    assert answer(lambda: create_index(client, bucket, **PLAIN)) == "200"


METADATA = [
    pytest.param({}, id="none"),
    pytest.param({"genre": "drama", "year": 1999}, id="filterable only"),
    pytest.param({"text": HIDDEN}, id="non-filterable only"),
    pytest.param({"genre": "drama", "text": HIDDEN, "more": [1, 2.5]}, id="both"),
    pytest.param({"text": "", "more": False}, id="empty text"),
    pytest.param({"genre": "中", "text": 'é\n"\\ 🎈 {}, }{', "": "empty key"}, id="unicode"),
    pytest.param({"genre": "x" * 2000, "text": "ü" * 19_000}, id="40 KB"),
]


@pytest.mark.parametrize("metadata", METADATA)
def test_metadata_comes_back_by_every_way(client: Any, index: dict[str, str], metadata: dict[str, Any]) -> None:
    client.put_vectors(**index, vectors=[record("k", [1, 2], **metadata), record("other", [9, 9], genre="other")])
    got = client.get_vectors(**index, keys=["k"], returnMetadata=True)["vectors"]
    listed = client.list_vectors(**index, returnMetadata=True)["vectors"]
    found = client.query_vectors(**index, topK=1, queryVector=VECTOR, returnMetadata=True)["vectors"]
    expected = {"key": "k", "metadata": metadata}
    assert got == found == [expected]
    assert expected in listed
    assert client.get_vectors(**index, keys=["k"], returnData=True)["vectors"] == [{"key": "k", "data": VECTOR}]


def test_filters_see_what_is_filterable_and_nothing_else(client: Any, index: dict[str, str]) -> None:
    def query(document: dict[str, Any]) -> Any:
        return client.query_vectors(**index, topK=5, queryVector=VECTOR, filter=document, returnMetadata=True)

    assert [vector["metadata"]["text"] for vector in query({"genre": "open words"})["vectors"]] == [HIDDEN]
    assert query({"genre": "other words"})["vectors"] == []
    assert answer(lambda: query({"text": HIDDEN})).startswith("400 ValidationException")


def test_many_vectors_come_back_page_by_page(client: Any, index: dict[str, str]) -> None:
    texts = {f"k{i:03}": f"{HIDDEN} {i}" for i in range(120)}
    client.put_vectors(**index, vectors=[record(key, [1, 2], text=text) for key, text in texts.items()])
    client.delete_vectors(**index, keys=["k"])
    pages = client.get_paginator("list_vectors").paginate(
        **index, returnMetadata=True, PaginationConfig={"PageSize": 50}
    )
    assert {v["key"]: v["metadata"]["text"] for page in pages for v in page["vectors"]} == texts


def test_results_come_back_page_by_page(client: Any, index: dict[str, str]) -> None:
    texts = {f"k{i:03}": f"{HIDDEN} {i}" for i in range(250)}
    client.put_vectors(
        **index, vectors=[record(key, [1, 2 + i], text=text) for i, (key, text) in enumerate(texts.items())]
    )
    client.delete_vectors(**index, keys=["k"])
    pages = list(
        client.get_paginator("query_vectors").paginate(**index, topK=250, queryVector=VECTOR, returnMetadata=True)
    )
    assert [len(page["vectors"]) for page in pages] == [100, 100, 50]
    assert {v["key"]: v["metadata"]["text"] for page in pages for v in page["vectors"]} == texts


def test_a_page_needs_the_key_that_the_page_before_needed(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    client.put_vectors(**index, vectors=[record(f"k{i:03}", [1, 2 + i], text=HIDDEN) for i in range(150)])
    asked = {**index, "topK": 150, "queryVector": VECTOR, "returnMetadata": True}
    token = client.query_vectors(**asked)["nextToken"]
    set_state(deployment, key_arn, "Disabled")
    assert answer(lambda: client.query_vectors(**asked, nextToken=token)).startswith("400 KmsDisabledException")
    set_state(deployment, key_arn, "Enabled")
    assert len(client.query_vectors(**asked, nextToken=token)["vectors"]) == 50


def test_in_the_database_only_filterable_metadata_is_readable(
    client: Any, deployment: Deployment, index: dict[str, str]
) -> None:
    table = table_of(deployment, index)
    [(row, kind)] = deployment.sql(
        f"SELECT t::text, pg_typeof(non_filterable_metadata)::text FROM {table} t WHERE key = 'k'"
    )
    assert kind == "bytea"
    assert "open words" in row
    assert HIDDEN not in row
    assert HIDDEN.encode().hex() not in row
    plain = create_index(client, index["vectorBucketName"], "plain", **PLAIN)
    client.put_vectors(**plain, vectors=[record("k", [1, 2], text=HIDDEN)])
    [(row,)] = deployment.sql(f"SELECT t::text FROM {table_of(deployment, plain)} t")
    assert HIDDEN in row


def test_people_see_in_the_view_what_is_readable(deployment: Deployment, index: dict[str, str]) -> None:
    [(schema,)] = deployment.sql(
        f"SELECT schema_name FROM s3_vectors.vector_buckets WHERE vector_bucket_name = '{index['vectorBucketName']}'"
    )
    [(key, metadata, sealed)] = deployment.sql(
        f'SELECT key, metadata, non_filterable_metadata FROM "{schema}"."{index["indexName"]}"'
    )
    assert (key, metadata) == ("k", {"genre": "open words"})
    assert HIDDEN.encode() not in bytes(sealed)


def test_the_same_text_is_sealed_differently_each_time(
    client: Any, deployment: Deployment, index: dict[str, str]
) -> None:
    client.put_vectors(**index, vectors=[record(f"k{i}", [1, 2], text=HIDDEN) for i in range(20)])
    [(different,)] = deployment.sql(
        f"SELECT count(DISTINCT non_filterable_metadata) FROM {table_of(deployment, index)} WHERE key LIKE 'k_%'"
    )
    assert different == 20


READS: dict[str, Callable[[Any, dict[str, str]], Any]] = {
    "GetVectors": lambda client, index: client.get_vectors(**index, keys=["k"], returnMetadata=True),
    "QueryVectors": lambda client, index: client.query_vectors(
        **index, topK=1, queryVector=VECTOR, returnMetadata=True
    ),
    "ListVectors": lambda client, index: client.list_vectors(**index, returnMetadata=True),
}
FAILURE = "500 InternalServerException: Internal server error"


@pytest.mark.parametrize(
    "tampering",
    [
        pytest.param(
            "UPDATE {t} SET non_filterable_metadata = (SELECT non_filterable_metadata FROM {t} WHERE key = 'j')",
            id="of another vector",
        ),
        pytest.param("UPDATE {t} SET key = key || '!'", id="under another key"),
        pytest.param(
            "UPDATE {t} SET non_filterable_metadata = (SELECT non_filterable_metadata FROM {o} WHERE key = 'k')",
            id="of the same vector of another index",
        ),
        pytest.param(
            "UPDATE {t} SET non_filterable_metadata ="
            " set_byte(non_filterable_metadata, 20, get_byte(non_filterable_metadata, 20) # 1)",
            id="a changed bit",
        ),
        pytest.param("UPDATE {t} SET non_filterable_metadata = substr(non_filterable_metadata, 1, 20)", id="cut off"),
        pytest.param("UPDATE {t} SET non_filterable_metadata = ''", id="empty"),
        pytest.param("UPDATE {t} SET non_filterable_metadata = '{{}}'", id="plain"),
        pytest.param(
            "UPDATE s3_vectors.vector_indexes SET data_key = (SELECT data_key FROM s3_vectors.vector_indexes"
            " WHERE id = {oid}) WHERE id = {tid}",
            id="the data key of another index",
        ),
    ],
)
def test_what_was_moved_or_changed_in_sql_is_an_error_and_never_another_text(
    client: Any, deployment: Deployment, index: dict[str, str], tampering: str
) -> None:
    client.put_vectors(**index, vectors=[record("j", [3, 4], text="another text")])
    other = create_index(client, index["vectorBucketName"], "other")
    client.put_vectors(**other, vectors=[record("k", [1, 2], text="another text")])
    table, other_table = table_of(deployment, index), table_of(deployment, other)
    ids = {"tid": table.rpartition("_")[2], "oid": other_table.rpartition("_")[2]}
    deployment.sql(tampering.format(t=table, o=other_table, **ids))
    assert answer(lambda: client.get_vectors(**index, keys=["k", "k!"], returnMetadata=True)) == FAILURE
    assert answer(lambda: READS["QueryVectors"](client, index)) == FAILURE
    assert answer(lambda: READS["ListVectors"](client, index)) == FAILURE


def test_material_moved_to_another_key_opens_nothing(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    other = create_key(deployment)
    deployment.sql(
        "UPDATE s3_vectors.kms_keys SET key_material = (SELECT key_material FROM s3_vectors.kms_keys"
        f" WHERE key_arn = '{other}') WHERE key_arn = '{key_arn}'"
    )
    assert answers(lambda: READS["GetVectors"](client, index)) == {FAILURE}


def test_an_index_moved_to_another_key_in_sql_opens_nothing(
    client: Any, deployment: Deployment, index: dict[str, str]
) -> None:
    other = create_key(deployment)
    number = table_of(deployment, index).rpartition("_")[2]
    deployment.sql(f"UPDATE s3_vectors.vector_indexes SET kms_key_arn = '{other}' WHERE id = {number}")
    assert answers(lambda: READS["GetVectors"](client, index)) == {FAILURE}


CALLS: dict[str, Callable[[Any, dict[str, str]], Any]] = READS | {
    "GetVectors by key": lambda client, index: client.get_vectors(**index, keys=["k"]),
    "QueryVectors by key": lambda client, index: client.query_vectors(**index, topK=1, queryVector=VECTOR),
    "ListVectors by key": lambda client, index: client.list_vectors(**index),
    "PutVectors": lambda client, index: client.put_vectors(**index, vectors=[record("k", [1, 2], text=HIDDEN)]),
    "DeleteVectors": lambda client, index: client.delete_vectors(**index, keys=["absent"]),
}


def all_answers(client: Any, index: dict[str, str]) -> dict[str, set[str]]:
    return {name: answers(lambda call=call: call(client, index)) for name, call in CALLS.items()}  # type: ignore[misc]


def refused(code: str, message: str) -> dict[str, set[str]]:
    """The model of ListVectors has no Kms errors."""
    return {
        name: {f"403 AccessDeniedException: {message}" if "List" in name else f"400 {code}: {message}"}
        for name in CALLS
    }


def test_without_its_key_nothing_is_done_and_with_it_everything_is_back_on_every_worker(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    allowed = {name: {"200"} for name in CALLS}
    assert all_answers(client, index) == allowed
    for state, expected in (
        ("Disabled", refused("KmsDisabledException", f"{key_arn} is disabled.")),
        ("Enabled", allowed),
        ("PendingDeletion", refused("KmsInvalidStateException", f"{key_arn} is pending deletion.")),
        ("Enabled", allowed),
    ):
        set_state(deployment, key_arn, state)
        assert all_answers(client, index) == expected, state
    assert READS["GetVectors"](client, index)["vectors"][0]["metadata"] == {"text": HIDDEN}


async def test_what_a_destroyed_key_encrypts_is_lost(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    kept = create_key(deployment, state="PendingDeletion")
    deployment.sql(
        "UPDATE s3_vectors.kms_keys SET deletion_time = now() + interval '7 days', key_state = 'PendingDeletion'"
        f" WHERE key_arn IN ('{key_arn}', '{kept}')"
    )
    deployment.sql(f"UPDATE s3_vectors.kms_keys SET deletion_time = now() WHERE key_arn = '{key_arn}'")
    assert all_answers(client, index) == refused("KmsInvalidStateException", f"{key_arn} is pending deletion.")
    await run_deletion(deployment.url)
    assert deployment.sql(f"SELECT key_arn FROM s3_vectors.kms_keys WHERE key_arn IN ('{key_arn}', '{kept}')") == [
        (kept,)
    ]
    assert all_answers(client, index) == refused("KmsNotFoundException", f"Key '{key_arn}' does not exist")
    assert answer(lambda: client.get_index(**index)) == "200"
    assert answer(lambda: client.delete_index(**index)) == "200"
    assert answer(lambda: client.delete_vector_bucket(vectorBucketName=index["vectorBucketName"])) == "200"


async def run_deletion(url: str) -> None:
    database = Database(url, pool_size=1, statement_timeout_seconds=30)
    await database.open()
    await Deletion(database).drop_deleted()
    await database.close()


def test_a_new_key_of_the_same_arn_does_not_open_what_the_old_one_sealed(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    deployment.sql(f"DELETE FROM s3_vectors.kms_keys WHERE key_arn = '{key_arn}'")
    deployment.command("kms", "create", "--key-arn", key_arn)
    assert answers(lambda: READS["GetVectors"](client, index)) == {FAILURE}


def test_other_indexes_go_on_without_the_key(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    others = [
        create_index(client, index["vectorBucketName"], "own", **under(create_key(deployment))),
        create_index(client, index["vectorBucketName"], "plain", **PLAIN),
    ]
    set_state(deployment, key_arn, "Disabled")
    for other in others:
        client.put_vectors(**other, vectors=[record("k", [1, 2], text=HIDDEN)])
        assert READS["GetVectors"](client, other)["vectors"][0]["metadata"] == {"text": HIDDEN}
    assert client.get_index(**index)["index"]["encryptionConfiguration"]["kmsKeyArn"] == key_arn


def test_absent_indexes_are_not_found_whatever_the_key(client: Any, index: dict[str, str]) -> None:
    absent = index | {"indexName": "absent"}
    for name, call in CALLS.items():
        assert answer(lambda call=call: call(client, absent)).startswith("404 NotFoundException"), name  # type: ignore[misc]


def test_a_whole_dump_of_the_table_shows_no_text(client: Any, deployment: Deployment, index: dict[str, str]) -> None:
    text = uuid4().hex
    client.put_vectors(**index, vectors=[record(f"k{i}", [1, 2], text=text * 50) for i in range(50)])
    with psycopg.connect(deployment.url) as connection, connection.cursor() as cursor:
        for form in ("text", "binary"):
            with cursor.copy(f"COPY {table_of(deployment, index)} TO STDOUT (FORMAT {form})".encode()) as copy:
                copied = b"".join(copy)
            assert len(copied) > 50 * 900
            assert text.encode() not in copied
            assert text.encode().hex().encode() not in copied


def searchable(client: Any, index: dict[str, str], key: str) -> None:
    client.update_metadata_configuration(**index, add={"textSearchConfigurations": [{"metadataKey": key}]})
    for _ in range(600):
        configured = client.get_index(**index)["index"]["metadataConfiguration"]["textSearchConfigurations"]
        if all(search["status"] == "ACTIVE" for search in configured):
            return
        time.sleep(0.05)
    pytest.fail("still BUILDING after half a minute")


def texts_of(deployment: Deployment, index: dict[str, str]) -> list[str]:
    """Terms as whoever reads the database sees them, in both tables of each searchable key."""
    index_id = table_of(deployment, index).removeprefix("vectors.index_")
    where = f"WHERE vector_index_id = {index_id} ORDER BY id"
    ids = [row[0] for row in deployment.sql(f"SELECT id FROM s3_vectors.text_search_configurations {where}")]
    posted = [deployment.sql(f"SELECT term FROM vectors.postings_{i}") for i in ids]
    kept = [deployment.sql(f"SELECT jsonb_object_keys(frequencies) FROM vectors.text_{i}") for i in ids]
    return sorted(row[0] for rows in [*posted, *kept] for row in rows)


def test_sealed_text_is_searched_by_digests_of_its_terms(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    searchable(client, index, "text")
    client.put_vectors(**index, vectors=[record("later", [1, 2], text="hidden later")])
    query = {**index, "topK": 10, "queryTexts": [{"metadataKey": "text", "text": "hidden"}]}
    assert [found["key"] for found in client.query_vectors(**query)["vectors"]] == ["k", "later"]
    terms = texts_of(deployment, index)
    assert len(terms) == 8
    assert all(len(term) == 32 and int(term, 16) for term in terms)
    set_state(deployment, key_arn, "Disabled")
    with pytest.raises(client.exceptions.KmsDisabledException):
        client.query_vectors(**query)


def test_filterable_text_stays_in_the_clear_and_so_do_its_terms(
    client: Any, deployment: Deployment, index: dict[str, str]
) -> None:
    searchable(client, index, "title")
    client.put_vectors(**index, vectors=[record("t", [1, 2], title="plain words")])
    assert texts_of(deployment, index) == ["plain", "plain", "words", "words"]


def test_a_backfill_waits_for_a_key_that_is_disabled(
    client: Any, deployment: Deployment, index: dict[str, str], key_arn: str
) -> None:
    set_state(deployment, key_arn, "Disabled")
    client.update_metadata_configuration(**index, add={"textSearchConfigurations": [{"metadataKey": "text"}]})
    waiting = "SELECT id FROM s3_vectors.text_search_configurations WHERE error LIKE 'KmsDisabledException%'"
    for _ in range(600):
        if deployment.sql(waiting):
            break
        time.sleep(0.05)
    set_state(deployment, key_arn, "Enabled")
    deployment.sql("UPDATE s3_vectors.text_search_configurations SET retry_time = NULL")
    for _ in range(600):
        configured = client.get_index(**index)["index"]["metadataConfiguration"]["textSearchConfigurations"]
        if configured[0]["status"] == "ACTIVE":
            return
        time.sleep(0.05)
    pytest.fail("still BUILDING after half a minute")
