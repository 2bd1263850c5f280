"""Real queries from a file: a JSON array of numbers on each line."""

from pathlib import Path

import msgspec
from pgvector import Vector

from app.cli.output import CommandError
from app.database.catalog import Index
from app.shapes import VectorData
from app.vector_data import InvalidVector, query_vector


def read_queries(path: Path, index: Index) -> list[Vector]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise CommandError(f"Cannot read {path}: {error.strerror}.") from error
    return [query(line, index, f"{path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]


def query(line: bytes, index: Index, place: str) -> Vector:
    """As QueryVectors takes it."""
    try:
        numbers = msgspec.json.decode(line, type=list[float])
        return query_vector(VectorData(list(numbers)), index.dimension, index.distance_metric)
    except msgspec.DecodeError:
        raise CommandError(f"{place} is not a JSON array of numbers.") from None
    except InvalidVector as error:
        raise CommandError(f"{place}: {error}.") from None
