"""Which index a command speaks of, and what it asks of it."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from pgvector import Vector
from sqlalchemy.ext.asyncio import AsyncConnection

from app.arns import Account, IndexArn, VectorBucketArn
from app.cli.connection import Catalog
from app.cli.iam.owners import account_of
from app.cli.output import CommandError
from app.database import catalog as database_catalog
from app.database.catalog import Index
from app.database.nearest import Search
from app.errors import NotFoundException
from app.filters.nodes import Node
from app.filters.parse import parse_filter
from app.limits import MAX_TOP_K

IndexName = Annotated[str, Parameter(name="--index", help="As bucket/index.")]
TopK = Annotated[int, Parameter(validator=Number(gte=1, lte=MAX_TOP_K), help=f"1 to {MAX_TOP_K}.")]
Filter = Annotated[str | None, Parameter(help="A metadata filter, the JSON of QueryVectors.")]

Metadata = Annotated[bool, Parameter(negative="", help="Metadata is returned.")]


@Parameter(name="*")
@dataclass(frozen=True)
class SearchOptions:
    """What QueryVectors is to be asked for."""

    top_k: TopK = 10
    filter: Filter = None
    metadata: Metadata = False

    def of(self, catalog: Catalog, index: Index, vector: Vector) -> Search:
        """As the server would search; what is JSON but no filter is refused in its words."""
        return Search(
            index=index,
            vector=vector,
            top_k=self.top_k,
            filter=self._node(index),
            return_metadata=self.metadata,
            recall_target=index.recall_target or catalog.settings.recall_target,
        )

    def _node(self, index: Index) -> Node | None:
        if self.filter is None:
            return None
        try:
            document = msgspec.json.decode(self.filter)
        except msgspec.DecodeError as error:
            raise CommandError(f"--filter is not JSON: {error}.") from None
        return parse_filter(document, index.non_filterable_metadata_keys or (), index.index_mode)


TOP_10 = SearchOptions()


async def index_named(connection: AsyncConnection, catalog: Catalog, account: str | None, name: str) -> Index:
    bucket_name, slash, index_name = name.partition("/")
    if not slash:
        raise CommandError(f"An index is named as bucket/index, not as {name}.")
    home = Account((await account_of(connection, catalog, account)).account_id, catalog.settings.region)
    try:
        return await database_catalog.find_index(connection, IndexArn(VectorBucketArn(home, bucket_name), index_name))
    except NotFoundException:
        raise CommandError(f"There is no index {name} in account {home.account_id}.") from None


def short_name(index: Index) -> str:
    """As commands take it."""
    return f"{index.arn.bucket.vector_bucket_name}/{index.arn.index_name}"
