"""The inverted index of one searchable metadata key: two tables for each text search configuration.

    CREATE TABLE vectors.text_7 (                  -- a row for each vector that has a text under the key
        key         text COLLATE "C" PRIMARY KEY,
        document    bigint NOT NULL UNIQUE GENERATED ALWAYS AS IDENTITY,
        length      integer NOT NULL,              -- terms, as often as they come
        frequencies jsonb NOT NULL                 -- {"term": times}
    );
    CREATE TABLE vectors.postings_7 (              -- the same, by term
        term      text COLLATE "C",
        document  bigint,
        frequency integer NOT NULL,
        length    integer NOT NULL,
        PRIMARY KEY (term, document) INCLUDE (frequency, length)
    );

Both change in the transaction that writes the vector, whose row lock keeps all other writers of the key out.  A text
that is written again is another document, so that postings are added or taken away, and never changed.  The vector's
position would not do for a number: absorbed vectors share one (`app.database.graphs.absorb`).

How many documents there are is the sum of what each write added or took away: rows of their own, since a row that all
writers change would let them write one after the other.

Under aws:kms, the terms of non-filterable metadata are digests (`RecordCipher.digest`).
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import CreateTable, DropTable

from app.database.catalog import TextSearch
from app.database.connection import Connection
from app.database.statements import Statement, written
from app.full_text.analyzer import count_terms
from app.metadata import Metadata
from app.record_cipher import RecordCipher


class Document(Struct, frozen=True):
    """What the text of a vector becomes; `frequencies` is JSON."""

    key: str
    length: int
    frequencies: str


def document(search: TextSearch, key: str, metadata: Metadata, cipher: RecordCipher | None) -> Document | None:
    """None where there is no text, or nothing in it to be found; `cipher` is given where terms must not be read."""
    frequencies = term_frequencies(search, metadata.get(search.metadata_key), cipher)
    if not frequencies:
        return None
    return Document(key, frequencies.total(), msgspec.json.encode(frequencies).decode())


def term_frequencies(search: TextSearch, value: Any, cipher: RecordCipher | None) -> Counter[str]:
    """Of a string, or of a list of them; numbers and booleans are no text."""
    texts = value if isinstance(value, list) else [value]
    frequencies = count_terms((text for text in texts if isinstance(text, str)), search.language)
    if cipher is None:
        return frequencies
    return Counter({cipher.digest(term): times for term, times in frequencies.items()})


def tables(search_id: int) -> tuple[sa.Table, sa.Table]:
    """Documents and postings."""
    metadata, name = sa.MetaData(schema="vectors"), sa.Text(collation="C")
    documents = sa.Table(
        f"text_{search_id}",
        metadata,
        sa.Column("key", name, primary_key=True),
        sa.Column("document", sa.BigInteger, sa.Identity(always=True), nullable=False, unique=True),
        sa.Column("length", sa.Integer, nullable=False),
        sa.Column("frequencies", JSONB, nullable=False),
    )
    postings = sa.Table(
        f"postings_{search_id}",
        metadata,
        sa.Column("term", name),
        sa.Column("document", sa.BigInteger),
        sa.Column("frequency", sa.Integer, nullable=False),
        sa.Column("length", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("term", "document", postgresql_include=["frequency", "length"]),
    )
    return documents, postings


async def create_inverted_index(connection: AsyncConnection, search_id: int) -> None:
    for table in tables(search_id):
        await connection.execute(CreateTable(table))


async def drop_inverted_index(connection: AsyncConnection, search_id: int) -> None:
    for table in tables(search_id):
        await connection.execute(DropTable(table, if_exists=True))


async def replace(
    connection: Connection, search: TextSearch, keys: Sequence[str], documents: Sequence[Document]
) -> None:
    """Of vectors that this transaction has written; those without a document lose the one that they had."""
    await remove(connection, search, keys)
    await add(connection, search, documents)


async def remove(connection: Connection, search: TextSearch, keys: Sequence[str]) -> None:
    """Of vectors that this transaction has written or deleted."""
    await connection.run(_remove(search.id), {"keys": list(keys)})


async def add(connection: Connection, search: TextSearch, documents: Sequence[Document]) -> None:
    if documents:
        columns = {name: [getattr(d, name) for d in documents] for name in Document.__struct_fields__}
        await connection.run(_add(search.id), columns)


@lru_cache(maxsize=1024)
def _remove(search_id: int) -> Statement:
    return written(_REMOVE, search=search_id)


@lru_cache(maxsize=1024)
def _add(search_id: int) -> Statement:
    return written(_ADD, search=search_id)


_REMOVE = """
    WITH gone AS (
        DELETE FROM vectors.text_$search WHERE key = ANY(%(keys)b::text[])
        RETURNING document, length, frequencies
    ), taken AS (
        DELETE FROM vectors.postings_$search AS posting
        USING (SELECT document, jsonb_object_keys(frequencies) AS term FROM gone) AS old
        WHERE posting.term = old.term AND posting.document = old.document
    )
    INSERT INTO s3_vectors.text_statistics
    SELECT $search, -count(*), -sum(length) FROM gone HAVING count(*) > 0
"""

# In the order of the index of postings, where neighbours share a page.  A backfill may come to a text that its writer
# has just indexed.
_ADD = """
    WITH added AS (
        INSERT INTO vectors.text_$search (key, length, frequencies)
        SELECT key, length, frequencies::jsonb
        FROM unnest(%(key)b::text[], %(length)b::integer[], %(frequencies)b::text[]) AS new (key, length, frequencies)
        ON CONFLICT (key) DO NOTHING
        RETURNING document, length, frequencies
    ), posted AS (
        INSERT INTO vectors.postings_$search (term, document, frequency, length)
        SELECT term, document, frequency::integer, length
        FROM added, jsonb_each_text(frequencies) AS of_text (term, frequency)
        ORDER BY term, document
    )
    INSERT INTO s3_vectors.text_statistics
    SELECT $search, count(*), sum(length) FROM added HAVING count(*) > 0
"""
