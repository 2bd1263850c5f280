"""A bucket of another endpoint, or one index of it, copied here with its configuration.

What is here already keeps its own configuration.  Nothing is written before all that can be known without reading the
vectors has been found to fit: names, kinds of indexes, KMS keys, tags and the policy.
"""

import asyncio

from msgspec import Struct

from app.arns import Account, VectorBucketArn, index_of, vector_bucket_arn
from app.cli.connection import Catalog
from app.cli.output import CommandError
from app.cli.transfer.endpoints import EndpointOptions, moved_policy
from app.cli.transfer.index_copy import IndexCopy
from app.cli.transfer.loading import Loaded, LoadOptions
from app.cli.transfer.progress import note
from app.cli.transfer.target import AS_IT_IS, checked, find_index, kind_of, make_index, short
from app.database import catalog as database_catalog
from app.database.catalog import Index
from app.database.creation import NewIndex, insert_vector_bucket
from app.encryption import effective_encryption
from app.errors import NotFoundException, S3VectorsError
from app.interchange.endpoint import Endpoint, RemoteBucket, RemoteIndex
from app.interchange.remote_name import RemoteName
from app.kms import creation_key
from app.shapes import EncryptionConfiguration
from app.tags import check_tags


class Plan(Struct, frozen=True):
    bucket: VectorBucketArn
    original: RemoteBucket
    encryption: EncryptionConfiguration
    policy: str | None
    is_new: bool
    indexes: list[tuple[RemoteIndex, Index | NewIndex]]


class EndpointImport:
    def __init__(self, catalog: Catalog, home: Account, endpoint: EndpointOptions, options: LoadOptions) -> None:
        self._catalog = catalog
        self._home = home
        self._endpoint_options = endpoint
        self._options = options

    async def run(self, source: RemoteName, target: str | None) -> tuple[list[tuple[Index, Loaded]], list[str]]:
        """What has been copied into which index, and what the operator should know beside."""
        chosen = self._endpoint_options
        region = chosen.region or source.region
        endpoint = Endpoint(chosen.endpoint_url, region, chosen.profile, chosen.connections)
        note(f"From {endpoint.url}")
        plan = await self._plan(endpoint, source, target)
        if plan.is_new:
            await self._make_bucket(plan)
        loaded = []
        for original, planned in plan.indexes:
            index = planned if isinstance(planned, Index) else await make_index(self._catalog, planned)
            copy = IndexCopy(self._catalog, endpoint, source.of_index(original.name), index, self._options)
            peer = f"endpoint {endpoint.url} {original.arn} {self._options.skip_invalid}"
            loaded.append((index, await copy.run(peer, chosen.connections)))
        return loaded, remarks(plan)

    async def _plan(self, endpoint: Endpoint, source: RemoteName, target: str | None) -> Plan:
        original = await asyncio.to_thread(endpoint.bucket, source)
        indexes = await asyncio.to_thread(endpoint.indexes, source)
        arn, renamed = self._named(source, target)
        encryption = await self._usable(original.encryption, f"bucket {source.bucket}")
        is_new = not await self._is_there(arn)
        policy = None
        if is_new:
            check_tags(original.tags)
            policy = await self._policy(original, arn)
        pairs = [(index, await self._index(index, arn, renamed)) for index in indexes]
        return Plan(arn, original, encryption, policy, is_new, pairs)

    def _named(self, source: RemoteName, target: str | None) -> tuple[VectorBucketArn, str | None]:
        """Where it goes: the bucket, and the new name of an index that goes alone."""
        bucket, _, index = (target or source.bucket).partition("/")
        if index and source.index is None:
            raise CommandError(f"A whole bucket is copied into a bucket, not into the index {target}.")
        return vector_bucket_arn(self._home, bucket, None), index or None

    async def _is_there(self, arn: VectorBucketArn) -> bool:
        try:
            async with self._catalog.database.transaction() as connection:
                await database_catalog.find_vector_bucket(connection, arn)
        except NotFoundException:
            return False
        return True

    async def _index(self, original: RemoteIndex, bucket: VectorBucketArn, renamed: str | None) -> Index | NewIndex:
        arn = index_of(bucket, renamed or original.name)
        keys = original.non_filterable_metadata_keys
        if index := await find_index(self._catalog, arn, AS_IT_IS):
            if kind_of(index) != kind_of(original):
                raise CommandError(f"{short(arn)} is there, of another kind than {original.arn}.")
            return index
        encryption = await self._usable(original.encryption, f"index {original.name}")
        metric, tags = original.distance_metric, original.tags
        text = original.searchable_keys
        return checked(NewIndex(arn, original.dimension, metric, keys, encryption, tags, original.index_mode, text))

    async def _usable(self, original: EncryptionConfiguration, what: str) -> EncryptionConfiguration:
        encryption = effective_encryption(self._endpoint_options.encryption_for(original))
        try:
            await creation_key(self._catalog, encryption, self._home.account_id)
        except S3VectorsError as error:
            raise CommandError(
                f"{what[0].upper()}{what[1:]} is under {encryption.kms_key_arn}, which cannot be used here: {error} "
                "Register it with `kms create --key-arn`, or say --encryption AES256 or the ARN of another key."
            ) from error
        return encryption

    async def _policy(self, original: RemoteBucket, arn: VectorBucketArn) -> str | None:
        if original.policy is None or self._endpoint_options.without_policy:
            return None
        policy = moved_policy(original.policy, original.arn, str(arn))
        try:
            await self._user_ids(policy)
        except S3VectorsError as error:
            raise CommandError(
                f"The bucket policy cannot be in force here: {error}. --without-policy leaves it out."
            ) from error
        return policy

    async def _user_ids(self, policy: str) -> dict[str, str]:
        from app.operations.vector_bucket_policies import ids_of_users, parsed  # noqa: PLC0415

        document = parsed(policy, allow_public=self._catalog.settings.public_bucket_policies)
        async with self._catalog.database.transaction() as connection:
            return await ids_of_users(connection, document)

    async def _make_bucket(self, plan: Plan) -> None:
        """With its policy, so that no moment is without it."""
        user_ids = None if plan.policy is None else await self._user_ids(plan.policy)
        views = self._catalog.settings.views
        async with self._catalog.database.transaction() as connection:
            await insert_vector_bucket(connection, plan.bucket, plan.encryption, plan.original.tags, views=views)
            bucket = await database_catalog.find_vector_bucket(connection, plan.bucket)
            await database_catalog.update_vector_bucket(
                connection,
                bucket.id,
                policy=plan.policy,
                policy_user_ids=user_ids,
                default_index_mode=plan.original.default_index_mode or bucket.default_index_mode,
            )


def remarks(plan: Plan) -> list[str]:
    told = [*plan.original.remarks, *(remark for original, _ in plan.indexes for remark in original.remarks)]
    if not plan.is_new:
        kept = "keeps its own encryption, tags, policy and default index mode"
        told.append(f"Bucket {plan.bucket.vector_bucket_name} was there and {kept}.")
    elif plan.original.policy is not None and plan.policy is None:
        told.append("The bucket policy was left out.")
    return told
