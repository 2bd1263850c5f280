"""Which file is of which form."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.cli.output import CommandError
from app.database.catalog import Index
from app.database.exporting import Extent
from app.interchange import json_lines, numpy_archive
from app.interchange.batches import Source
from app.interchange.json_lines_sink import JsonLinesSink
from app.interchange.numpy_sink import NumpySink, Widths
from app.interchange.sinks import Description, Sink

FORMS = ".parquet, .jsonl, .ndjson or .npz"


@Parameter(name="*")
@dataclass(frozen=True)
class ColumnOptions:
    """Names of columns of a Parquet file."""

    key_column: Annotated[str, Parameter(help="Of a Parquet file: text or integers.")] = "key"
    vector_column: Annotated[str, Parameter(help="Of a Parquet file: lists of numbers.")] = "vector"
    metadata_column: Annotated[
        str | None, Parameter(help="Of a Parquet file: JSON text or structs; `metadata`, if there is one, by default.")
    ] = None


USUAL_COLUMNS = ColumnOptions()


def open_file(path: Path, options: ColumnOptions) -> Source:
    """Raises InvalidSource where it is not what its name says."""
    match path.suffix.lower():
        case ".parquet":
            from app.interchange.parquet import Columns, ParquetSource  # noqa: PLC0415 - pyarrow may be missing

            return ParquetSource(path, Columns(options.key_column, options.vector_column, options.metadata_column))
        case suffix if suffix in json_lines.SUFFIXES:
            return json_lines.JsonLinesSource(path)
        case numpy_archive.SUFFIX:
            return numpy_archive.NumpySource(path)
        case _:
            raise CommandError(f"{path} is none of {FORMS}, by its name.")


def open_sink(named: Path, path: Path, index: Index, extent: Extent) -> Sink:
    """Writes to `path` in the form that the other name stands for."""
    match named.suffix.lower():
        case ".parquet":
            from app.interchange.parquet_sink import ParquetSink  # noqa: PLC0415 - pyarrow may be missing

            keys = index.non_filterable_metadata_keys or []
            return ParquetSink(path, Description(index.dimension, index.distance_metric, keys))
        case known if known in json_lines.SUFFIXES:
            return JsonLinesSink(path)
        case numpy_archive.SUFFIX:
            widths = Widths(extent.rows, extent.key_characters, extent.metadata_bytes)
            return NumpySink(path, widths, index.dimension)
        case _:
            raise CommandError(f"{named} is none of {FORMS}, by its name.")
