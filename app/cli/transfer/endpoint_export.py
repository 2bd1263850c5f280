"""A bucket, or one index of it, put to another endpoint with its configuration: through that endpoint's own API.

What is there already keeps its own configuration, but indexes must be of the same kind.
"""

import asyncio
from typing import Any

import msgspec

from app.arns import Account, index_of, vector_bucket_arn
from app.cli.connection import Catalog
from app.cli.output import CommandError, Row
from app.cli.transfer.endpoints import EndpointOptions, moved_policy
from app.cli.transfer.progress import Step, note, step
from app.cli.transfer.target import kind_of, short
from app.database import catalog as database_catalog
from app.database.catalog import Index, VectorBucket
from app.database.connection import Connection
from app.database.exporting import exporting_connection
from app.database.index_status import count, indexes_of
from app.database.listing import Cursor, PageRequest, Segment, list_vectors
from app.database.transfers import Transfer, forget, note_progress, progress_of
from app.database.vector_table import Returned, output_vector
from app.errors import NotFoundException
from app.interchange.batches import InvalidSource
from app.interchange.endpoint import Endpoint, RemoteIndex, mode
from app.interchange.remote_name import RemoteName
from app.kms import record_cipher
from app.record_cipher import RecordCipher
from app.shapes import EncryptionConfiguration, OutputVector

# As many as PutVectors takes; the page that they are read in bounds their bytes far below those of a request.
PUT_ROWS = 500


class EndpointExport:
    def __init__(self, catalog: Catalog, home: Account, endpoint: EndpointOptions, *, restart: bool) -> None:
        self._catalog = catalog
        self._home = home
        self._options = endpoint
        self._restart = restart

    async def run(self, source: str, target: RemoteName) -> tuple[list[Row], list[str]]:
        """What has been put of which index, and what the operator should know beside."""
        region = self._options.region or target.region
        endpoint = Endpoint(self._options.endpoint_url, region, self._options.profile, self._options.connections)
        bucket, indexes = await self._chosen(source)
        if target.index and "/" not in source:
            raise CommandError("A whole bucket is put into a bucket, not into an index.")
        note(f"To {endpoint.url}")
        remarks = await asyncio.to_thread(self._make_bucket, endpoint, bucket, target)
        rows = []
        for index in indexes:
            name = target.index or index.arn.index_name
            there, untold = await asyncio.to_thread(self._make_index, endpoint, index, target, name)
            remarks += untold
            put = await IndexPut(self._catalog, endpoint, index, there, self._options.connections).run(
                target.of_index(name), restart=self._restart
            )
            rows.append({"index": short(index.arn), "target": there.arn, "vectors": put})
        return rows, remarks

    async def _chosen(self, source: str) -> tuple[VectorBucket, list[Index]]:
        bucket_name, slash, index_name = source.partition("/")
        arn = vector_bucket_arn(self._home, bucket_name, None)
        try:
            async with self._catalog.database.transaction() as connection:
                bucket = await database_catalog.find_vector_bucket(connection, arn)
                if slash:
                    return bucket, [await database_catalog.find_index(connection, index_of(arn, index_name))]
        except NotFoundException:
            what = "index" if slash else "bucket"
            raise CommandError(f"There is no {what} {source} in account {self._home.account_id}.") from None
        async with self._catalog.database.connection() as data:
            return bucket, [index for index in await indexes_of(data, self._home) if index.arn.bucket == arn]

    def _make_bucket(self, endpoint: Endpoint, bucket: VectorBucket, target: RemoteName) -> list[str]:
        """With its policy before any data; a bucket that is there stays as it is."""
        if target.bucket_arn is None and endpoint.attempt(
            "create_vector_bucket",
            "ConflictException",
            vectorBucketName=target.bucket,
            encryptionConfiguration=members(self._options.encryption_for(bucket.encryption)),
            **({"tags": bucket.tags} if bucket.tags else {}),
        ):
            return [*self._put_policy(endpoint, bucket, target), *self._put_default_mode(endpoint, bucket, target)]
        endpoint.call("get_vector_bucket", **target.of_bucket)
        return [f"Bucket {target.bucket} was there and keeps its own encryption, tags, policy and default index mode."]

    def _put_policy(self, endpoint: Endpoint, bucket: VectorBucket, target: RemoteName) -> list[str]:
        if bucket.policy is None:
            return []
        if self._options.without_policy:
            return ["The bucket policy was left out."]
        arn = endpoint.call("get_vector_bucket", **target.of_bucket)["vectorBucket"]["vectorBucketArn"]
        policy = moved_policy(bucket.policy, str(bucket.arn), arn)
        try:
            endpoint.call("put_vector_bucket_policy", **target.of_bucket, policy=policy)
        except InvalidSource as error:
            endpoint.call("delete_vector_bucket", **target.of_bucket)
            raise CommandError(
                f"The bucket policy is refused there: {error}. --without-policy leaves it out."
            ) from error
        return []

    def _put_default_mode(self, endpoint: Endpoint, bucket: VectorBucket, target: RemoteName) -> list[str]:
        there = endpoint.call("get_vector_bucket", **target.of_bucket)["vectorBucket"]
        if mode(there.get("defaultIndexMode")) in {None, bucket.default_index_mode}:
            return []
        asked = target.of_bucket | {"defaultIndexMode": bucket.default_index_mode.value}
        return attempted_mode(endpoint, "put_vector_bucket_default_index_mode", f"Bucket {target.bucket}", asked)

    def _make_index(
        self, endpoint: Endpoint, index: Index, target: RemoteName, name: str
    ) -> tuple[RemoteIndex, list[str]]:
        """And what of its configuration could not be had there."""
        metadata = metadata_configuration(index)
        created = endpoint.attempt(
            "create_index",
            "ConflictException",
            **target.of_bucket,
            indexName=name,
            dataType="float32",
            dimension=index.dimension,
            distanceMetric=index.distance_metric.value,
            encryptionConfiguration=members(self._options.encryption_for(index.encryption)),
            **({"metadataConfiguration": metadata} if metadata else {}),
            **({"tags": index.tags} if index.tags else {}),
        )
        [there] = endpoint.indexes(RemoteName(target.bucket, name, target.bucket_arn))
        if created is None and kind_of(there) != kind_of(index):
            raise CommandError(f"{there.arn} is there, of another kind than {short(index.arn)}.")
        if created is None or there.index_mode in {None, index.index_mode}:
            return there, []
        asked = target.of_index(name) | {"indexMode": index.index_mode.value}
        return there, attempted_mode(endpoint, "update_index_mode", f"Index {name}", asked)


def metadata_configuration(index: Index) -> dict[str, Any]:
    searches = [
        {"metadataKey": search.metadata_key, **({"language": search.language} if search.language else {})}
        for search in index.text_searches
    ]
    return {
        **({"nonFilterableMetadataKeys": keys} if (keys := index.non_filterable_metadata_keys) else {}),
        **({"textSearchConfigurations": searches} if searches else {}),
    }


def attempted_mode(endpoint: Endpoint, operation: str, what: str, asked: dict[str, str]) -> list[str]:
    """AWS lets no new bucket have CLASSIC, and a copy that filters first misses nothing but long filters."""
    try:
        endpoint.call(operation, **asked)
    except InvalidSource as error:
        return [f"{what} keeps the index mode that it was given there: {error}"]
    return []


def members(encryption: EncryptionConfiguration) -> dict[str, str]:
    converted: dict[str, str] = msgspec.to_builtins(encryption)
    return converted


class IndexPut:
    """As many puts at once as there are connections; where all of them are acknowledged, it is noted how far."""

    def __init__(
        self, catalog: Catalog, endpoint: Endpoint, index: Index, there: RemoteIndex, connections: int
    ) -> None:
        self._catalog = catalog
        self._endpoint = endpoint
        self._index = index
        self._there = there
        self._connections = connections

    async def run(self, of_index: dict[str, str], *, restart: bool) -> int:
        """How many vectors have been put, those of a run that was interrupted among them."""
        transfer = Transfer(self._index.id, f"to endpoint {self._endpoint.url} {self._there.arn}")
        name = short(self._index.arn)
        async with await exporting_connection(self._catalog.database.url) as connection:
            noted = None if restart else await progress_of(connection, transfer)
            after, done = (Cursor(noted["hash"], noted["key"]), int(noted["vectors"])) if noted else (None, 0)
            if noted:
                note(f"{name}: going on behind {done} vectors, where this export was interrupted.")
            with step(f"Putting {name}", await count(connection, self._index), done) as bar:
                done = await self._put_all(connection, of_index, transfer, after, done, bar)
            await forget(connection, transfer)
        return done

    async def _put_all(  # noqa: PLR0913, PLR0917 - where it stands
        self,
        connection: Connection,
        of_index: dict[str, str],
        transfer: Transfer,
        after: Cursor | None,
        done: int,
        bar: Step,
    ) -> int:
        cipher = await record_cipher(self._catalog, self._index)
        while True:
            pages, after = await self._pages(connection, cipher, after)
            puts = [asyncio.to_thread(self._put, of_index, page) for page in pages]
            await asyncio.gather(*puts)
            put = sum(map(len, pages))
            done += put
            bar.advance(put)
            if after is None:
                return done
            await note_progress(connection, transfer, {"hash": after.hash, "key": after.key, "vectors": done})

    async def _pages(
        self, connection: Connection, cipher: RecordCipher | None, after: Cursor | None
    ) -> tuple[list[list[OutputVector]], Cursor | None]:
        """One for each connection, and where those behind them begin."""
        pages: list[list[OutputVector]] = []
        while len(pages) < self._connections:
            request = PageRequest(Segment(), after, PUT_ROWS, Returned(data=True, metadata=True))
            page = await list_vectors(connection, self._index, request)
            pages.append([output_vector(row, cipher) for row in page.rows])
            if (after := page.next) is None:
                break
        return [page for page in pages if page], after

    def _put(self, of_index: dict[str, str], page: list[OutputVector]) -> None:
        """JSON becomes what boto3 makes JSON of."""
        vectors: list[Any] = msgspec.json.decode(msgspec.json.encode(page))
        self._endpoint.call_patiently("put_vectors", **of_index, vectors=vectors)
