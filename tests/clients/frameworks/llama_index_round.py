"""A full round with LlamaIndex's S3VectorStore: `python llama_index_round.py BUCKET`, all else from AWS_* variables."""

import sys
from string import ascii_lowercase

import boto3
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.vector_stores.s3 import S3VectorStore


def embed(text: str) -> list[float]:
    """A model's stand-in: how often each letter occurs."""
    return [float(text.lower().count(letter)) for letter in ascii_lowercase]


class Letters(BaseEmbedding):  # type: ignore[misc]  # its package is not in the environment of mypy
    def _get_text_embedding(self, text: str) -> list[float]:
        return embed(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return embed(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return embed(query)


def node(key: str, text: str, **metadata: object) -> TextNode:
    """One chunk of a document of the same name; unembedded metadata keep the letters to the text."""
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"document of {key}")}
    return TextNode(
        id_=key, text=text, metadata=metadata, relationships=source, excluded_embed_metadata_keys=list(metadata)
    )


FILMS = [
    node("film/1", "breathless", year=1959, genre="drama"),
    node("film/2", "spirited away " * 500, year=2001, genre="animation"),  # beyond 2 KB, so it must not be filterable
    node("film/3", "finding nemo", year=2003, genre="animation"),
]


def main(bucket: str) -> None:
    client = boto3.client("s3vectors")
    client.create_vector_bucket(vectorBucketName=bucket)
    for metric in ("cosine", "euclidean"):
        round_of(bucket, metric)
    client.delete_vector_bucket(vectorBucketName=bucket)


def round_of(bucket: str, metric: str) -> None:
    store = S3VectorStore.create_index_from_bucket(bucket, f"films-{metric}", dimension=26, distance_metric=metric)
    index = VectorStoreIndex.from_vector_store(store, embed_model=Letters())
    index.insert_nodes(FILMS)
    assert {found.node_id: found.text for found in store.get_nodes(["film/1", "film/2"])} == {
        film.node_id: film.text for film in FILMS[:2]
    }

    def found(*filters: MetadataFilter, condition: FilterCondition = FilterCondition.AND) -> dict[str, float]:
        wanted = MetadataFilters(filters=list(filters), condition=condition) if filters else None
        matches = index.as_retriever(similarity_top_k=3, filters=wanted).retrieve("breathless")
        return {match.node_id: match.score for match in matches}

    everything = found()
    assert everything["film/1"] == max(everything.values()) == 1
    assert set(everything) == {"film/1", "film/2", "film/3"}
    animation = MetadataFilter(key="genre", value="animation")
    recent = MetadataFilter(key="year", value=2002, operator=FilterOperator.GT)
    early = MetadataFilter(key="year", value=[1959, 1960], operator=FilterOperator.IN)
    assert set(found(animation)) == {"film/2", "film/3"}
    assert set(found(animation, recent)) == {"film/3"}
    assert set(found(recent, early, condition=FilterCondition.OR)) == {"film/1", "film/3"}
    assert set(found(MetadataFilter(key="director", value=None, operator=FilterOperator.IS_EMPTY))) == set(everything)

    store.delete("document of film/1")  # lists all metadata, then deletes by key
    assert set(found()) == {"film/2", "film/3"}
    store.delete_nodes(["film/2"])
    assert set(found()) == {"film/3"}
    store.clear()


if __name__ == "__main__":
    main(sys.argv[1])
