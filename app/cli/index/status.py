"""`pgs3vectors index status`."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from app.arns import Account
from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount, account_of
from app.cli.named_index import index_named, short_name
from app.cli.output import Json, Row, say, show, show_one, write_json
from app.database.advisory_locks import is_locked
from app.database.code_status import CodesStatus
from app.database.graph_building import LOCK
from app.database.graph_growth import exact_vectors
from app.database.index_status import (
    GraphStatus,
    IndexStatus,
    Progress,
    RangeIndexStatus,
    indexes_of,
    status_of,
)
from app.database.text_status import TextSearchStatus

Name = Annotated[str | None, Parameter(name="--index", help="As bucket/index; without it, all of the account.")]


async def status(name: Name = None, *, account: OfAccount = None, json: Json = False) -> None:
    """Show what indexes hold, and how their graphs and range indexes stand.

    The tail are the vectors that no graph holds yet: searches measure those that have no code, and of the others those
    that are nearest by their codes.
    """
    async with opened_catalog() as catalog:
        async with catalog.database.transaction() as transaction:
            home = Account((await account_of(transaction, catalog, account)).account_id, catalog.settings.region)
            named = None if name is None else await index_named(transaction, catalog, account, name)
        async with catalog.database.connection() as connection:
            indexes = await indexes_of(connection, home) if named is None else [named]
            statuses = await status_of(connection, indexes, exactly=named is not None)
            report = Report(
                catalog.settings.recall_target, is_built=await is_locked(connection, LOCK), is_counted=bool(named)
            )
    if json:
        documents = [report.document(status) for status in statuses]
        write_json(documents if named is None else documents[0])
    elif named is None:
        show([report.row(status) for status in statuses], json=False)
    else:
        [status] = statuses
        show_one(report.row(status), json=False)
        show_parts("Graphs", [report.graph_row(graph) for graph in status.graphs])
        show_parts("Codes", [codes_row(codes) for codes in status.codes])
        show_parts("Range indexes", [report.range_row(range_index) for range_index in status.range_indexes])
        show_parts("Text searches", [report.text_row(search) for search in status.text_searches])


class Report(msgspec.Struct, frozen=True):
    """What is said of an index, given what is known beside it."""

    default_target: float
    is_built: bool
    """Whether a server is there to build graphs."""
    is_counted: bool

    def row(self, status: IndexStatus) -> Row:
        own = status.index.recall_target
        return {
            "index": short_name(status.index),
            self.vectors_name: status.vectors,
            "tail": status.tail,
            "graph_state": self.graph_state(status),
            "ef_construction": ", ".join(map(str, ef_constructions(status))) or None,
            "table": size(status.table_bytes),
            "graphs": size(status.graph_bytes),
            "recall_target": f"{self.default_target} (the setting)" if own is None else f"{own} (its own)",
        }

    def document(self, status: IndexStatus) -> dict[str, Any]:
        own = status.index.recall_target
        return {
            "index": short_name(status.index),
            self.vectors_name: status.vectors,
            "tail": status.tail,
            "graph_state": self.graph_state(status),
            "ef_construction": ef_constructions(status),
            "table_bytes": status.table_bytes,
            "graph_bytes": status.graph_bytes,
            "recall_target": self.default_target if own is None else own,
            "has_own_recall_target": own is not None,
            "graphs": status.graphs,
            "codes": status.codes,
            "range_indexes": status.range_indexes,
            "text_searches": status.text_searches,
        }

    @property
    def vectors_name(self) -> str:
        return "vectors" if self.is_counted else "estimated_vectors"

    def graph_state(self, status: IndexStatus) -> str:
        """Of all graphs of an index together; those that are retired are of no interest."""
        ready = [graph for graph in status.graphs if graph.state == "ready"]
        others = [self.state(graph) for graph in status.graphs if graph.state in {"building", "failed"}]
        if ready or others:
            return "; ".join([*(["ready"] if ready else []), *others])
        if status.vectors <= exact_vectors(status.index.dimension):
            return "none: small"
        return "none yet: its turn comes" if self.is_built else "none yet: no server is running to build it"

    def state(self, part: GraphStatus | RangeIndexStatus) -> str:
        match part.state:
            case "building" if part.progress is not None:
                return f"building{making(part.progress)}"
            case "building" if self.is_built:
                return "building: about to begin or to end"
            case "building":
                return "interrupted: no server is running to go on"
            case "failed":
                again = moment(part.retry_time) if self.is_built else "when a server is running"
                return f"failed {part.attempts} times, again {again}: {part.error}"
            case "retired":
                return "replaced: dropped when no search uses it any more"
            case _:
                return part.state

    def graph_row(self, graph: GraphStatus) -> Row:
        return {
            "positions": f"{graph.first_position} to {graph.end_position - 1}",
            "vectors": graph.vectors,
            "ef_construction": graph.ef_construction,
            "size": size(graph.bytes),
            "begun": moment(graph.creation_time),
            "ready": moment(graph.completion_time),
            "state": self.state(graph),
        }

    def range_row(self, range_index: RangeIndexStatus) -> Row:
        return {
            "key": range_index.key,
            "of": f"{range_index.value_type}s",
            "size": size(range_index.bytes),
            "last_used": moment(range_index.last_used_time),
            "state": self.state(range_index),
        }

    def text_row(self, search: TextSearchStatus) -> Row:
        return {
            "key": search.metadata_key,
            "language": search.language or "standard",
            "documents": search.documents,
            "size": size(search.bytes),
            "state": self.text_state(search),
        }

    def text_state(self, search: TextSearchStatus) -> str:
        if search.state != "building":
            return search.state
        if search.error is not None:
            again = moment(search.retry_time) if self.is_built else "when a server is running"
            return f"failed {search.attempts} times, again {again}: {search.error}"
        if not self.is_built:
            return "interrupted: no server is running to go on"
        return f"building: behind key {search.built_up_to!r}" if search.built_up_to else "building: about to begin"


def making(progress: Progress) -> str:
    """Phases in PostgreSQL's own words, unless they are of those that wait for somebody."""
    if (locker := progress.waits_for) is not None:
        whom = f"pid {locker.pid} ({locker.application_name or 'unnamed'}, {locker.state})"
        return f": waits for the transaction of {whom} that began {moment(locker.transaction_start)}"
    phase = progress.phase.removeprefix("building index: ")
    return f": {phase}" if progress.per_cent is None else f" {progress.per_cent} %: {phase}"


def codes_row(codes: CodesStatus) -> Row:
    replaced = codes.state == "retired"
    return {
        "positions": f"{codes.first_position} to {codes.end_position - 1}",
        "codes": codes.codes,
        "planes": codes.planes,
        "size": size(codes.bytes),
        "begun": moment(codes.creation_time),
        "state": "replaced: dropped when no search can know them any more" if replaced else codes.state,
    }


def ef_constructions(status: IndexStatus) -> list[int]:
    return sorted({graph.ef_construction for graph in status.graphs if graph.state == "ready"})


def show_parts(title: str, rows: list[Row]) -> None:
    if rows:
        say(f"\n{title}")
        show(rows, json=False)


def size(number: int | None) -> str | None:
    if number is None:
        return None
    for unit in ("B", "KiB", "MiB"):
        if number < 10 * 1024:
            return f"{number} {unit}"
        number = round(number / 1024)
    return f"{number} GiB"


def moment(time: datetime | None) -> str | None:
    return None if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
