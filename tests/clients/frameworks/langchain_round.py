"""A full round with LangChain's AmazonS3Vectors: `python langchain_round.py BUCKET`, all else from AWS_* variables."""

import math
import sys
from string import ascii_lowercase

import boto3
from langchain_aws.vectorstores.s3_vectors import AmazonS3Vectors
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings


def embed(text: str) -> list[float]:
    """A model's stand-in: how often each letter occurs."""
    return [float(text.lower().count(letter)) for letter in ascii_lowercase]


class Letters(Embeddings):  # type: ignore[misc]  # its package is not in the environment of mypy
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return embed(text)


FILMS = [
    Document("breathless", id="film/1", metadata={"year": 1959, "genre": ["crime", "drama"]}),
    Document("spirited away", id="film/2", metadata={"year": 2001, "director-name": "宮崎 駿"}),
    Document("finding nemo", id="film/3", metadata={"year": 2003, "for.children": True}),
]


def main(bucket: str) -> None:
    client = boto3.client("s3vectors")
    client.create_vector_bucket(vectorBucketName=bucket)
    for metric in ("cosine", "euclidean"):
        round_of(bucket, metric)
    client.delete_vector_bucket(vectorBucketName=bucket)


def round_of(bucket: str, metric: str) -> None:
    store = AmazonS3Vectors(
        vector_bucket_name=bucket,
        index_name=f"films-{metric}",
        distance_metric=metric,
        non_filterable_metadata_keys=["_page_content"],
        embedding=Letters(),
    )
    assert store.add_documents(FILMS) == ["film/1", "film/2", "film/3"]  # GetIndex answers 404, so it creates the index
    generated = store.add_texts(["a text without metadata"], batch_size=1)
    assert store.get_by_ids(["film/2", "film/1"]) == [FILMS[1], FILMS[0]]
    assert store.get_by_ids(generated)[0].metadata == {}

    (best, distance), *others = store.similarity_search_with_score("breathless", k=4)
    assert (best, distance) == (FILMS[0], 0)
    assert len(others) == 3
    difference = math.dist(embed("breathless"), embed(others[0][0].page_content))
    if metric == "euclidean":
        assert math.isclose(others[0][1], difference**2)  # S3 Vectors returns the square

    def found(**condition: object) -> set[str | None]:
        return {film.id for film in store.similarity_search("film", k=4, filter=condition or None)}

    assert found() == {"film/1", "film/2", "film/3", *generated}
    assert found(genre="drama") == {"film/1"}
    assert found(year={"$gt": 2001}) == {"film/3"}
    assert found(**{"director-name": "宮崎 駿"}) == {"film/2"}
    assert found(**{"$or": [{"for.children": True}, {"year": {"$lt": 1960}}]}) == {"film/1", "film/3"}
    retriever = store.as_retriever(search_kwargs={"k": 1, "filter": {"year": 2001}})
    assert retriever.invoke("anything") == [FILMS[1]]
    (again, relevance), *_ = store.similarity_search_with_relevance_scores("breathless", k=1)
    assert (again.id, relevance) == ("film/1", 1)

    store.delete(["film/1", *generated])
    assert found() == {"film/2", "film/3"}
    store.delete()


if __name__ == "__main__":
    main(sys.argv[1])
