"""PostgreSQL's extended query protocol, through libpq itself: values and rows in binary, plans kept where asked.

psycopg's cursors serve every need there may be, and touch an eighth of all the Python code that a search does
(docs/decisions.md 80).
"""

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count
from typing import Any

from msgspec import Struct
from psycopg.abc import PQGen, Transformer
from psycopg.adapt import PyFormat
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from app.database.statements import numbered

# PostgreSQL pays for each with some 20 KB.
MAX_PREPARED = 200

Prepared = tuple[bytes, tuple[int, ...] | None]
"""A text, and the types of its parameters."""


class Answer(Struct, frozen=True):
    result: PGresult
    transformer: Transformer

    @property
    def rows(self) -> list[Any]:
        """As named tuples; none of a statement that gives none."""
        result = self.result
        if result.status != ExecStatus.TUPLES_OK:
            return []
        self.transformer.set_pgresult(result)
        names = tuple(result.fname(column) or b"" for column in range(result.nfields))
        return self.transformer.load_rows(0, result.ntuples, _row(names))

    @property
    def written(self) -> int:
        return self.result.command_tuples or 0


class ExtendedQuery:
    """Of one connection, whose `wait` takes what this gives; it cancels a statement whose task is cancelled."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._prepared: OrderedDict[Prepared, bytes] = OrderedDict()
        self._numbers = count()

    def ask(self, transformer: Transformer, text: str, values: Mapping[str, Any], *, prepare: bool) -> PQGen[Answer]:
        """Raises psycopg.Error."""
        sql, names = numbered(text)
        parameters = transformer.dump_sequence([values[name] for name in names], [PyFormat.BINARY] * len(names))
        types, formats = transformer.types, transformer.formats
        if prepare:
            name = yield from self._name_of((sql, types))
            self._pgconn.send_query_prepared(name, parameters, formats, Format.BINARY)
        else:
            self._pgconn.send_query_params(sql, parameters, types, formats, Format.BINARY)
        return Answer((yield from self._result()), transformer)

    def forget(self) -> None:
        """What was prepared is no more."""
        self._prepared.clear()

    def _name_of(self, prepared: Prepared) -> PQGen[bytes]:
        """What has not been asked for longest makes room for another."""
        if name := self._prepared.get(prepared):
            self._prepared.move_to_end(prepared)
            return name
        if len(self._prepared) >= MAX_PREPARED:
            _, oldest = self._prepared.popitem(last=False)
            self._pgconn.send_query_params(b"DEALLOCATE %b" % oldest, None)
            yield from self._result()
        name = b"asked_%d" % next(self._numbers)
        self._pgconn.send_prepare(name, *prepared)
        yield from self._result()
        self._prepared[prepared] = name
        return name

    def _result(self) -> PQGen[PGresult]:
        """Of a statement whose COMMIT fails, PostgreSQL first says that it is done, and then that it is not."""
        results: list[PGresult] = yield from execute(self._pgconn)
        for result in results:
            if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
                raise error_from_result(result)
        return results[0]


@lru_cache(maxsize=512)
def _row(names: tuple[bytes, ...]) -> Callable[..., Any]:
    """A column whose name is none of Python's, as that of a plan, is known by its place."""
    row: Any = namedtuple("Row", [name.decode() for name in names], rename=True)  # type: ignore[misc] # noqa: PYI024
    return row._make
