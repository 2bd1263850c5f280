"""`pgs3vectors index set` and `pgs3vectors index drop-range`."""

from typing import Annotated, get_type_hints

import msgspec
import psycopg
from cyclopts import Parameter

from app.cli.connection import opened_catalog
from app.cli.iam.owners import OfAccount
from app.cli.named_index import IndexName, index_named
from app.cli.output import CommandError, say
from app.database.catalog import update_index
from app.database.index_status import status_of
from app.database.range_indexes import remove
from app.settings import Settings, description, variable

DEFAULT = "default"
RecallTarget = Annotated[
    str,
    Parameter(name="--recall-target", help=f"{description('recall_target').capitalize()}; or `{DEFAULT}`."),
]


async def set_(name: IndexName, *, recall_target: RecallTarget, account: OfAccount = None) -> None:
    """Give an index a recall target of its own, or the setting's again; in force for the next request."""
    target = None if recall_target == DEFAULT else parse_target(recall_target)
    async with opened_catalog() as catalog, catalog.database.transaction() as connection:
        index = await index_named(connection, catalog, account, name)
        await update_index(connection, index.id, recall_target=target)
    if target is None:
        setting = f"{variable('recall_target')}, here {catalog.settings.recall_target}"
        say(f"{name} has the recall target of {setting}.")
    else:
        say(f"{name} has the recall target {target}.")


async def drop_range(name: IndexName, key: str, *, account: OfAccount = None) -> None:
    """Drop the range indexes of a metadata key; a server makes them again when requests ask for them often."""
    async with opened_catalog() as catalog:
        async with catalog.database.transaction() as transaction:
            index = await index_named(transaction, catalog, account, name)
        async with catalog.database.connection() as connection:
            [status] = await status_of(connection, [index], exactly=False)
            found = [range_index for range_index in status.range_indexes if range_index.key == key]
            if not found:
                raise CommandError(f"{name} has no range index of {key}.")
            try:
                for range_index in found:
                    await remove(connection, index.id, range_index.id)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
                say(f"{name}: no search uses the range index of {key} any more.")
                raise CommandError(
                    "Other transactions hold the table, so a server drops the rest of it when it starts."
                ) from None
    say(f"{name} has no range index of {key} any more.")


def parse_target(text: str) -> float:
    """Bounds as of the setting."""
    setting = get_type_hints(Settings, include_extras=True)["recall_target"]
    try:
        target: float = msgspec.convert(text, setting, strict=False)
    except msgspec.ValidationError:
        raise CommandError(f"--recall-target must be {description('recall_target')}; or {DEFAULT}.") from None
    return target
