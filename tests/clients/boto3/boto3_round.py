"""Every operation that this botocore's model has, once at least: `python boto3_round.py BUCKET NUMBER_OF_OPERATIONS`.

All else comes from AWS_* variables.  An operation of the model that is not called fails the round.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3

ACCOUNT = "000000000000"
FILMS = [
    {"key": "film/1", "data": {"float32": [1.0, 0.0]}, "metadata": {"year": 1959, "genre": ["crime", "drama"]}},
    {"key": "film/2", "data": {"float32": [0.0, 1.0]}, "metadata": {"year": 2001, "director-name": "宮崎 駿"}},
    {"key": "film/3", "data": {"float32": [0.6, 0.8]}, "metadata": {"text": "long " * 800, "for.children": True}},
]
POLICY = (
    '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"AWS": "%s"},'
    ' "Action": "s3vectors:GetIndex", "Resource": "%s/*"}}'
)
# Of the newest model, answered by name until it is served.
NOT_SERVED = "UpdateMetadataConfiguration"


def main(bucket: str, number: int) -> None:
    client = boto3.client("s3vectors")
    model = client.meta.service_model
    assert len(model.operation_names) == number, model.operation_names
    called = watched(client)
    since = [rounds for operation, rounds in LATER.items() if operation in model.operation_names]
    basic_round(client, bucket)
    for round_of in since:
        round_of(client, bucket)
    leave(client, bucket)
    assert called == set(model.operation_names), set(model.operation_names) - called


def watched(client: Any) -> set[str]:
    """Notes what is called, and holds each answer against the model of this client: what it requires is there."""
    called: set[str] = set()

    def note(model: Any, **_: Any) -> None:
        called.add(model.name)

    def check(http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
        if http_response.status_code == 200 and model.output_shape is not None:
            assert not list(missing(model.output_shape, parsed, model.name)), (model.name, parsed)

    client.meta.events.register("before-call.s3vectors", note)
    client.meta.events.register("after-call.s3vectors", check)
    return called


def missing(shape: Any, value: Any, path: str) -> Iterator[str]:
    match shape.type_name:
        case "structure" if not getattr(shape, "is_document_type", False):
            yield from (f"{path}.{name}" for name in shape.required_members if name not in value)
            for name, member in shape.members.items():
                if name in value:
                    yield from missing(member, value[name], f"{path}.{name}")
        case "list":
            for item in value:
                yield from missing(shape.member, item, f"{path}[]")


def refused(client: Any, error: str, call: Callable[..., Any], **members: Any) -> Any:
    """By the class that this client has for the error."""
    try:
        call(**members)
    except getattr(client.exceptions, error) as refusal:
        return refusal.response
    raise AssertionError(error)


def basic_round(client: Any, bucket: str) -> None:
    """The operations of the preview."""
    of_bucket = {"vectorBucketName": bucket}
    refused(client, "NotFoundException", client.get_vector_bucket, **of_bucket)
    client.create_vector_bucket(**of_bucket, encryptionConfiguration={"sseType": "AES256"})
    refused(client, "ConflictException", client.create_vector_bucket, **of_bucket)
    arn = client.get_vector_bucket(**of_bucket)["vectorBucket"]["vectorBucketArn"]
    listed = pages(client, "list_vector_buckets", "vectorBuckets", prefix=bucket)
    assert [found["vectorBucketName"] for found in listed] == [bucket]

    policy = POLICY % (ACCOUNT, arn)
    client.put_vector_bucket_policy(vectorBucketArn=arn, policy=policy)
    assert client.get_vector_bucket_policy(**of_bucket)["policy"] == policy
    client.delete_vector_bucket_policy(**of_bucket)
    refused(client, "NotFoundException", client.get_vector_bucket_policy, **of_bucket)

    for metric in ("cosine", "euclidean"):
        index = {**of_bucket, "indexName": f"films-{metric}"}
        client.create_index(
            **index,
            dataType="float32",
            dimension=2,
            distanceMetric=metric,
            metadataConfiguration={"nonFilterableMetadataKeys": ["text"]},
        )
        shown = client.get_index(**index)["index"]
        assert (shown["dimension"], shown["distanceMetric"]) == (2, metric)
        assert shown["metadataConfiguration"]["nonFilterableMetadataKeys"] == ["text"]
        assert client.get_index(indexArn=shown["indexArn"])["index"] == shown
        vectors_round(client, index)
    listed = pages(client, "list_indexes", "indexes", **of_bucket)
    assert [found["indexName"] for found in listed] == ["films-cosine", "films-euclidean"]


def vectors_round(client: Any, index: dict[str, str]) -> None:
    client.put_vectors(**index, vectors=FILMS)
    got = client.get_vectors(**index, keys=["film/1", "absent"], returnData=True, returnMetadata=True)["vectors"]
    assert got == FILMS[:1]
    listed = pages(client, "list_vectors", "vectors", **index, returnMetadata=True)
    assert {found["key"]: found["metadata"] for found in listed} == {film["key"]: film["metadata"] for film in FILMS}
    halves = [client.list_vectors(**index, segmentCount=2, segmentIndex=half)["vectors"] for half in (0, 1)]
    assert sum(map(len, halves)) == len(FILMS)

    def found(**filter_: Any) -> list[str]:
        members = {"filter": filter_} if filter_ else {}
        answer = client.query_vectors(**index, topK=3, queryVector={"float32": [1.0, 0.0]}, **members)
        return [vector["key"] for vector in answer["vectors"]]

    assert found() == ["film/1", "film/3", "film/2"]
    assert found(genre="drama") == ["film/1"]
    assert found(**{"$or": [{"for.children": True}, {"year": {"$gt": 2000}}]}) == ["film/3", "film/2"]
    (nearest,) = client.query_vectors(
        **index, topK=1, queryVector={"float32": [1.0, 0.0]}, returnDistance=True, returnMetadata=True
    )["vectors"]
    assert nearest == {"key": "film/1", "distance": 0.0, "metadata": FILMS[0]["metadata"]}

    query = {"topK": 1, "queryVector": {"float32": [1.0]}}
    answer = refused(client, "ValidationException", client.query_vectors, **index, **query)
    assert [field["path"] for field in answer["fieldList"]] == ["vector"]
    answer = refused(client, "ValidationException", client.query_vectors, **index, **(query | {"topK": 1_000_000}))
    assert [field["path"] for field in answer["fieldList"]] == ["/topK"]
    client.delete_vectors(**index, keys=["film/1", "absent"])
    assert found() == ["film/3", "film/2"]


def pages(client: Any, operation: str, result: str, **members: Any) -> list[Any]:
    """By the paginator of this client, one item a page."""
    paginated = client.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": 1})
    return [item for page in paginated for item in page[result]]


def tags_round(client: Any, bucket: str) -> None:
    """Of December 2025."""
    arn = client.get_index(vectorBucketName=bucket, indexName="films-cosine")["index"]["indexArn"]
    client.tag_resource(resourceArn=arn, tags={"team a": "red", "ä": ""})
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"team a": "red", "ä": ""}
    client.untag_resource(resourceArn=arn, tagKeys=["team a"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"ä": ""}
    created = client.create_index(
        vectorBucketName=bucket,
        indexName="tagged",
        dataType="float32",
        dimension=4096,
        distanceMetric="cosine",
        encryptionConfiguration={"sseType": "AES256"},
        tags={"kind": "wide"},
    )
    assert client.list_tags_for_resource(resourceArn=created["indexArn"])["tags"] == {"kind": "wide"}


def modes_round(client: Any, bucket: str) -> None:
    """Of September 2026."""
    index = {"vectorBucketName": bucket, "indexName": "films-cosine"}
    client.put_vector_bucket_default_index_mode(vectorBucketName=bucket, defaultIndexMode="ENHANCED")
    client.update_index_mode(**index, indexMode="ENHANCED")
    assert client.get_vector_bucket(vectorBucketName=bucket)["vectorBucket"]["defaultIndexMode"] == "ENHANCED"
    assert client.get_index(**index)["index"]["indexMode"] == "ENHANCED"
    refused(client, "ValidationException", client.update_index_mode, **index, indexMode="CLASSIC")
    query = {"topK": 3, "queryVector": {"float32": [1.0, 0.0]}, "filter": {"director-name": {"$startsWith": "宮"}}}
    assert [v["key"] for v in client.query_vectors(**index, **query, queryMode="ENHANCED")["vectors"]] == ["film/2"]


def metadata_configuration_round(client: Any, bucket: str) -> None:
    """Of November 2026."""
    index = {"vectorBucketName": bucket, "indexName": "films-cosine"}
    text = {"textSearchConfigurations": [{"metadataKey": "director-name", "language": "ja"}]}
    client.update_metadata_configuration(**index, add=text)
    configured = {"metadataKey": "director-name", "language": "ja", "status": "BUILDING"}
    while (configured := text_searches(client, index)[0])["status"] == "BUILDING":
        time.sleep(0.1)
    assert configured == {"metadataKey": "director-name", "language": "ja", "status": "ACTIVE"}
    texts = [{"metadataKey": "director-name", "text": "宮崎"}]
    found = client.query_vectors(**index, topK=3, queryTexts=texts, returnScores=True)["vectors"]
    assert [v["key"] for v in found] == ["film/2"]
    assert found[0]["scores"]["bm25Scores"][0]["metadataKey"] == "director-name"
    query = {"topK": 3, "queryVector": {"float32": [1.0, 0.0]}, "queryTexts": texts}
    assert client.query_vectors(**index, **query, returnScores=True)["vectors"][0]["scores"]["fused"] > 0
    client.update_metadata_configuration(
        **index, delete={"textSearchConfigurations": [{"metadataKey": "director-name"}]}
    )
    assert text_searches(client, index) == []


def text_searches(client: Any, index: dict[str, str]) -> list[dict[str, str]]:
    configured: dict[str, Any] = client.get_index(**index)["index"].get("metadataConfiguration", {})
    searches: list[dict[str, str]] = configured.get("textSearchConfigurations", [])
    return searches


def leave(client: Any, bucket: str) -> None:
    refused(client, "ConflictException", client.delete_vector_bucket, vectorBucketName=bucket)
    for index in pages(client, "list_indexes", "indexes", vectorBucketName=bucket):
        client.delete_index(indexArn=index["indexArn"])
    client.delete_vector_bucket(vectorBucketName=bucket)


# What came after the preview, by an operation that came with it.
LATER: dict[str, Callable[[Any, str], None]] = {
    "TagResource": tags_round,
    "UpdateIndexMode": modes_round,
    "UpdateMetadataConfiguration": metadata_configuration_round,
}

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
