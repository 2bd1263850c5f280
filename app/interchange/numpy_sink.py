"""NumPy's .npz as `numpy_archive` reads it: vectors as they come, keys and metadata kept beside until their turn."""

import shutil
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, ClassVar
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
from msgspec import Struct

from app.interchange.sinks import Rows


class Widths(Struct, frozen=True):
    """Every text of an array of NumPy takes as much as the longest."""

    rows: int
    key_characters: int
    metadata_bytes: int


class NumpySink:
    takes_text: ClassVar[bool] = False

    def __init__(self, path: Path, widths: Widths, dimension: int) -> None:
        self._archive = ZipFile(path, "w")
        self._rows = widths.rows
        self._key = np.dtype(f"U{max(1, widths.key_characters)}")
        self._metadata = np.dtype(f"S{max(2, widths.metadata_bytes)}")
        self._keys = TemporaryFile(dir=path.parent)  # noqa: SIM115 - it lives until `close`
        self._texts = TemporaryFile(dir=path.parent)  # noqa: SIM115
        # Vectors hardly shrink, while the padding of texts does.
        self._vectors = self._archive.open("vectors.npy", "w", force_zip64=True)
        write_header(self._vectors, np.dtype(np.float32), (self._rows, dimension))

    def write(self, rows: Rows) -> None:
        self._vectors.write(np.ascontiguousarray(rows.vectors, np.float32).tobytes())
        self._keys.write(np.array(rows.keys, self._key).tobytes())
        self._texts.write(np.array([bytes(text) for text in rows.metadata], self._metadata).tobytes())

    def close(self) -> None:
        self._vectors.close()
        self._append("keys", self._key, self._keys)
        self._append("metadata", self._metadata, self._texts)
        self._archive.close()

    def _append(self, name: str, dtype: np.dtype[Any], file: IO[bytes]) -> None:
        member = ZipInfo(f"{name}.npy")
        member.compress_type = ZIP_DEFLATED
        file.seek(0)
        with self._archive.open(member, "w", force_zip64=True) as output:
            write_header(output, dtype, (self._rows,))
            shutil.copyfileobj(file, output, 1024 * 1024)
        file.close()


def write_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)
