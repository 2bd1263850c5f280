"""`pgs3vectors export`: an index into a file, or a bucket to another endpoint with its configuration."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount
from app.cli.index.status import size
from app.cli.named_index import index_named
from app.cli.output import CommandError, Json, say, show, show_one, write_json
from app.cli.transfer.endpoints import AS_BOTO3, EndpointOptions
from app.cli.transfer.file_export import export_to_file
from app.cli.transfer.target import home_of
from app.interchange.remote_name import RemoteName, remote_name

Source = Annotated[str, Parameter(name="--source", help="As bucket/index; to another endpoint also a whole bucket.")]
Target = Annotated[
    str,
    Parameter(
        name="--target",
        help="A file: Parquet, JSON lines or .npz, by its suffix. Or at another endpoint s3vectors://BUCKET, "
        "s3vectors://BUCKET/INDEX, or an ARN.",
    ),
]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace the file, if there is one.")]
Restart = Annotated[bool, Parameter(negative="", help="Begin anew, even where an export was interrupted.")]


async def export(  # noqa: PLR0913 - the options of a command
    source: Source,
    target: Target,
    *,
    overwrite: Overwrite = False,
    endpoint: EndpointOptions = AS_BOTO3,
    restart: Restart = False,
    account: OfAccount = None,
    json: Json = False,
) -> None:
    """Write an index to a file that `import` reads, or put a bucket or an index to another endpoint.

    A file is of one moment, and there when it is whole.  An export to an endpoint that was interrupted goes on where
    it was when the same command is given again; what is written here meanwhile may be in it or not.
    """
    remote = remote_name(target)
    if remote is not None:
        await to_endpoint(source, remote, endpoint, account, restart=restart, json=json)
    elif endpoint != AS_BOTO3 or restart:
        raise CommandError("Options of endpoints say nothing of a file.")
    else:
        await to_file(source, Path(target), account, overwrite=overwrite, json=json)


async def to_file(name: str, file: Path, account: str | None, *, overwrite: bool, json: bool) -> None:
    if not overwrite:
        refuse_to_replace(file)
    async with opened_catalog(draws=True) as catalog:
        async with catalog.database.transaction() as transaction:
            index = await index_named(transaction, catalog, account, name)
        extent = await export_to_file(catalog, index, file)
    length = length_of(file)
    told = {"index": name, "vectors": extent.rows, "file": str(file), "size": length if json else size(length)}
    show_one(told, json=json)


def refuse_to_replace(file: Path) -> None:
    if file.exists():
        raise CommandError(f"{file} is there; --overwrite replaces it.")


def length_of(file: Path) -> int:
    return file.stat().st_size


async def to_endpoint(  # noqa: PLR0913 - what an export is told
    name: str, remote: RemoteName, endpoint: EndpointOptions, account: str | None, *, restart: bool, json: bool
) -> None:
    from app.cli.transfer.endpoint_export import EndpointExport  # noqa: PLC0415 - boto3 may be missing

    async with opened_catalog(draws=True) as catalog:
        home = await home_of(catalog, account)
        rows, remarks = await EndpointExport(catalog, home, endpoint, restart=restart).run(name, remote)
    if json:
        write_json({"indexes": rows, "remarks": remarks})
        return
    show(rows, json=False)
    for remark in remarks:
        say(remark)
