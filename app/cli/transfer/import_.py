"""`pgs3vectors import`: vectors from a file or another endpoint, past the API and by its rules."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from app.cli.connection import Catalog, opened_catalog
from app.cli.iam.owners import OfAccount
from app.cli.index.status import Report
from app.cli.output import CommandError, Json, say, show, show_one, write_json
from app.cli.transfer.endpoints import AS_BOTO3, EndpointOptions
from app.cli.transfer.file_import import ChosenFile, import_file
from app.cli.transfer.files import USUAL_COLUMNS, ColumnOptions
from app.cli.transfer.graphs import completed
from app.cli.transfer.loading import ALL_OR_NOTHING, MOST_FAULTS, Loaded, LoadOptions
from app.cli.transfer.target import AS_IT_IS, IndexOptions, arn_named, home_of, short
from app.database.advisory_locks import is_locked
from app.database.catalog import Index
from app.database.graph_building import LOCK
from app.database.index_status import IndexStatus, status_of
from app.interchange.remote_name import RemoteName, remote_name

Source = Annotated[
    str,
    Parameter(
        name="--source",
        help="A file: Parquet, JSON lines or .npz, by its suffix. Or of another endpoint s3vectors://BUCKET, "
        "s3vectors://BUCKET/INDEX, or an ARN.",
    ),
]
Target = Annotated[
    str | None, Parameter(name="--target", help="As bucket/index; of another endpoint, the same names by default.")
]


async def import_(  # noqa: PLR0913 - the options of a command
    source: Source,
    target: Target = None,
    *,
    index: IndexOptions = AS_IT_IS,
    columns: ColumnOptions = USUAL_COLUMNS,
    endpoint: EndpointOptions = AS_BOTO3,
    options: LoadOptions = ALL_OR_NOTHING,
    account: OfAccount = None,
    json: Json = False,
) -> None:
    """Load vectors from a file, or a bucket from another endpoint with its configuration, by the rules of PutVectors.

    All rows of a file are checked before the first is written, those of an endpoint page by page.  An import that was
    interrupted goes on where it was when the same command is given again.
    """
    remote = remote_name(source)
    refuse_vain_options(remote, index, columns, endpoint)
    async with opened_catalog(draws=True) as catalog:
        home = await home_of(catalog, account)
        if remote is None:
            if target is None:
                raise CommandError("Say into which index, as bucket/index.")
            file = ChosenFile(Path(source), columns, index)
            loaded, remarks = [await import_file(catalog, file, arn_named(home, target), options)], list[str]()
        else:
            from app.cli.transfer.endpoint_import import EndpointImport  # noqa: PLC0415 - boto3 may be missing

            loaded, remarks = await EndpointImport(catalog, home, endpoint, options).run(remote, target)
        rows = [await outcome(catalog, index, part, wait=options.wait) for index, part in loaded]
    if json:
        write_json(rows[0] if remote is None else {"indexes": rows, "remarks": remarks})
    else:
        report(rows, remarks, alone=remote is None)


def refuse_vain_options(
    remote: RemoteName | None, index: IndexOptions, columns: ColumnOptions, endpoint: EndpointOptions
) -> None:
    """An option that says nothing here was given for a reason."""
    if remote is None and endpoint != AS_BOTO3:
        raise CommandError("Options of endpoints say nothing of a file.")
    if remote is not None and (index != AS_IT_IS or columns != USUAL_COLUMNS):
        raise CommandError("Indexes of another endpoint are copied as they are, without options for files.")


async def outcome(catalog: Catalog, index: Index, loaded: Loaded, *, wait: bool) -> dict[str, Any]:
    status = await status_behind(catalog, index, wait=wait)
    async with catalog.database.connection() as connection:
        is_built = await is_locked(connection, LOCK)
    return {
        "index": short(index.arn),
        "rows": loaded.rows,
        "skipped": loaded.skipped,
        "vectors": status.vectors,
        "graphs": Report(0, is_built=is_built, is_counted=True).graph_state(status),
        "faults": loaded.faults,
    }


async def status_behind(catalog: Catalog, index: Index, *, wait: bool) -> IndexStatus:
    status = await completed(catalog, index) if wait else None
    async with catalog.database.connection() as connection:
        [counted] = await status_of(connection, [status.index if status else index], exactly=True)
    return counted


def report(rows: list[dict[str, Any]], remarks: list[str], *, alone: bool) -> None:
    for row in rows:
        if faults := row.pop("faults"):
            in_file = [{"row": f.row} if alone else {} for f in faults]
            shown = [{"key": f.shown_key, "reason": f.reason} for f in faults]
            show([place | fault for place, fault in zip(in_file, shown, strict=True)], json=False)
            if others := row["skipped"] - len(faults):
                say(f"and {others} more, some of them in a run that was interrupted or behind the first {MOST_FAULTS}")
            say("")
    if alone:
        show_one(rows[0], json=False)
    else:
        show(rows, json=False)
    for remark in remarks:
        say(remark)
