"""NumPy's .npz with the arrays `keys` and `vectors`, and `metadata` as JSON texts where there are any.

Its members are read side by side, a few rows at a time, whatever their size.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from app.interchange.batches import Batch, InvalidSource, rows_at_a_time
from app.interchange.sinks import Description

SUFFIX = ".npz"
ARRAYS = "keys", "vectors", "metadata"


class Member:
    """An array of the archive, read from its first row to its last."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._file = file
        version = np.lib.format.read_magic(self._file)
        read_header = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        self.shape, is_fortran, self.dtype = read_header(self._file)
        if is_fortran and len(self.shape) > 1:
            raise InvalidSource(f"the array {name} must be in C order")
        if self.dtype.hasobject:
            raise InvalidSource(f"the array {name} holds Python objects, which are never loaded")
        self._row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))

    def read(self, rows: int) -> npt.NDArray[Any]:
        data = self._file.read(rows * self._row_bytes)
        if len(data) < rows * self._row_bytes:
            raise InvalidSource("it ends too early")
        return np.frombuffer(data, self.dtype).reshape(rows, *self.shape[1:])


class NumpySource:
    unit = "rows"
    description: Description | None = None

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        with ExitStack() as stack:
            self.total = self._members(stack)["keys"].shape[0]

    def batches(self, after: int = 0) -> Iterator[Batch]:
        with ExitStack() as stack:
            members = self._members(stack)
            at_a_time = rows_at_a_time(members["vectors"].shape[1])
            for first in range(0, self.total, at_a_time):
                rows = min(at_a_time, self.total - first)
                read = {name: self._read(member, rows) for name, member in members.items()}
                if (known := max(0, after - first)) < rows:
                    yield batch({name: array[known:] for name, array in read.items()}, first + known + 1)

    def _members(self, stack: ExitStack) -> dict[str, Member]:
        try:
            archive = stack.enter_context(ZipFile(self._path))
            names = [name for name in ARRAYS if f"{name}.npy" in archive.namelist()]
            members = {name: Member(name, stack.enter_context(archive.open(f"{name}.npy"))) for name in names}
            check_members(members)
        except (OSError, BadZipFile, ValueError, InvalidSource) as error:
            raise InvalidSource(f"{self.name} cannot be read as .npz: {error}.") from error
        return members

    def _read(self, member: Member, rows: int) -> npt.NDArray[Any]:
        try:
            return member.read(rows)
        except (OSError, BadZipFile, InvalidSource) as error:
            raise InvalidSource(f"{self.name} cannot be read: {error}.") from error


def check_members(members: dict[str, Member]) -> None:
    if missing := {"keys", "vectors"} - members.keys():
        raise InvalidSource(f"it has no array {' and no array '.join(sorted(missing))}")
    for name, kinds, dimensions in (("keys", "USiu", 1), ("vectors", "fiu", 2), ("metadata", "US", 1)):
        member = members.get(name)
        if member and (member.dtype.kind not in kinds or len(member.shape) != dimensions):
            raise InvalidSource(f"the array {name} has shape {member.shape} and type {member.dtype}")
    if len({member.shape[0] for member in members.values()}) > 1:
        raise InvalidSource("its arrays are not of one length")


def batch(arrays: dict[str, npt.NDArray[Any]], first_row: int) -> Batch:
    keys = arrays["keys"]
    with np.errstate(over="ignore"):
        vectors = arrays["vectors"].astype(np.float32)
    return Batch(
        first_row=first_row,
        keys=[str(key) for key in keys.tolist()] if keys.dtype.kind in "iu" else texts(keys),
        vectors=vectors,
        metadata=[text or None for text in texts(arrays["metadata"])] if "metadata" in arrays else [None] * len(keys),
        size=len(keys),
    )


def texts(array: npt.NDArray[Any]) -> list[Any]:
    """Bytes are UTF-8; they stay what they are where they are not."""
    return [_text(value) for value in array.tolist()]


def _text(value: str | bytes) -> str | bytes:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value
