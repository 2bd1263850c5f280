"""JSON lines, as `json_lines` reads them and ListVectors gives them."""

from pathlib import Path
from typing import ClassVar

import msgspec

from app.interchange.sinks import Rows
from app.shapes import OutputVector

_encode = msgspec.json.Encoder().encode


class JsonLinesSink:
    takes_text: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, rows: Rows) -> None:
        for key, data, metadata in zip(rows.keys, rows.vectors, rows.metadata, strict=True):
            self._file.write(_encode(OutputVector(key=key, data=data, metadata=metadata)) + b"\n")

    def close(self) -> None:
        self._file.close()
