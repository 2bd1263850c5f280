"""What a request must know of the catalog: kept by each process, and never used a moment longer than it is true.

`refresh` compares the generation and forgets what has changed, so that a change counts for the next request on every
worker.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from math import inf
from typing import TypeVar

import structlog
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from app.access_keys import AccessKey, open_access_key
from app.arns import IndexArn, VectorBucketArn
from app.database import access_keys, catalog, identity, kms_keys
from app.database.engine import Database, translated
from app.database.generation import Generation, Generations
from app.database.kms_keys import KmsKey
from app.encryption import DEFAULT
from app.envelope import KeyEncryptionKeys
from app.errors import NotFoundException
from app.observation import waited_for_database
from app.policy.document import Kind, parse_policy
from app.policy.errors import InvalidPolicy
from app.policy.principals import Principal
from app.policy.statements import Policy
from app.shapes import EncryptionConfiguration

K = TypeVar("K")
T = TypeVar("T")
V = TypeVar("V")
Load = Callable[[AsyncConnection], Awaitable[T]]

MAX_KEPT = 50_000
# While vectors are put, codes change what is kept twice a second.
SETTLED_SECONDS = 2
MAX_ACCESS_KEY_ID = 128

# What cannot be read must not be taken for nothing to be read.
DENY_EVERYTHING = parse_policy(
    '{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}', "bucket"
)

log = structlog.get_logger()


class BucketFacts(Struct, frozen=True):
    """Of a bucket that does not exist they are those of a bare one, so that a decision tells nobody which it is."""

    policy: Policy | None = None
    tags: Mapping[str, str] = {}
    encryption: EncryptionConfiguration = DEFAULT


class CatalogCache:
    def __init__(self, database: Database, keys: KeyEncryptionKeys, root: AccessKey) -> None:
        """`root` is the operator's own, which is not in the database."""
        self.keys = keys
        self._database = database
        self._root = root
        self._generations = Generations(database.url)
        self._seen = Generation(0, 0, 0)
        self._changed = inf  # until it is known what holds
        self._facts: dict[tuple[str, object], object] = {}
        self._unknown_keys: dict[str, None] = {}
        self._indexes: dict[IndexArn, catalog.Index | None] = {}

    @property
    def generation(self) -> Generation:
        """That of all which is kept: as long as it stays the same, nothing of that has changed."""
        return self._seen

    @property
    def is_settled(self) -> bool:
        """Whether nothing has changed for a while, so that what is kept will most likely hold for another request."""
        return time.monotonic() > self._changed + SETTLED_SECONDS

    def ask(self) -> asyncio.Future[Generation]:
        """For `refresh`: awaited when there is nothing else left to do."""
        return self._generations.ask()

    async def refresh(self, asked: asyncio.Future[Generation] | None = None) -> None:
        """All that is asked for from now on is at least as new as this call, or as that of `ask`."""
        started = time.perf_counter()
        with translated():
            await (asked or self.ask())
        waited_for_database(started, "generation")
        seen, current = self._seen, self._generations.newest
        if current == seen:
            return
        self._seen, self._changed = current, time.monotonic()
        if current.connection != seen.connection or current.access != seen.access:
            self._facts.clear()
            self._unknown_keys.clear()
        if current.connection != seen.connection or current.indexes != seen.indexes:
            self._indexes.clear()

    async def close(self) -> None:
        await self._generations.close()

    async def access_key(self, access_key_id: str) -> AccessKey | None:
        """None only as of the last `refresh`."""
        if hmac.compare_digest(access_key_id.encode(), self._root.access_key_id.encode()):
            return self._root

        if len(access_key_id) > MAX_ACCESS_KEY_ID or access_key_id in self._unknown_keys:
            return None

        async def load(connection: AsyncConnection) -> AccessKey | None:
            sealed = await access_keys.find_access_key(connection, access_key_id)
            return None if sealed is None else open_access_key(self.keys, sealed)

        seen = self._seen
        key = await self._fact("access key", access_key_id, load)
        if key is None and seen == self._seen:
            _keep(self._unknown_keys, access_key_id, None)
        return key

    async def identity_policies(self, principal: Principal) -> list[Policy]:
        if principal.is_root:
            return []

        async def load(connection: AsyncConnection) -> list[Policy]:
            documents = await identity.find_policies(connection, principal.user_id)
            return [_readable(text, "identity", {}, f"{principal.arn} {name}") for name, text in documents.items()]

        return await self._fact("identity policies", principal.user_id, load)

    async def bucket(self, arn: VectorBucketArn) -> BucketFacts:
        async def load(connection: AsyncConnection) -> BucketFacts:
            try:
                bucket = await catalog.find_vector_bucket(connection, arn)
            except NotFoundException:
                return BucketFacts()
            text, user_ids = bucket.policy, bucket.policy_user_ids
            policy = None if text is None else _readable(text, "bucket", user_ids, str(arn))
            return BucketFacts(policy, bucket.tags, bucket.encryption)

        return await self._fact("bucket", arn, load)

    async def kms_key(self, key_arn: str) -> KmsKey | None:
        async def load(connection: AsyncConnection) -> KmsKey | None:
            return await kms_keys.find_kms_key(connection, key_arn)

        return await self._fact("kms key", key_arn, load)

    async def index(self, arn: IndexArn) -> catalog.Index:
        """Raises NotFoundException."""
        if (index := await self._index(arn)) is None:
            raise NotFoundException(catalog.INDEX_NOT_FOUND)
        return index

    async def tags(self, arn: IndexArn) -> Mapping[str, str]:
        """None of an index that does not exist."""
        index = await self._index(arn)
        return {} if index is None else index.tags

    async def _index(self, arn: IndexArn) -> catalog.Index | None:
        """What does not exist is kept as well: strangers must not learn from the time that an answer takes."""
        if arn in self._indexes:
            return self._indexes[arn]
        seen, index = self._seen, None
        with suppress(NotFoundException):
            async with self._database.transaction() as connection:
                index = await catalog.find_index(connection, arn)
        if seen == self._seen:
            _keep(self._indexes, arn, index)
        return index

    async def _fact(self, kind: str, key: object, load: Load[T]) -> T:
        """Kept only if the generation has not moved meanwhile; what is not there is asked for again."""
        if (known := self._facts.get((kind, key))) is not None:
            return known  # type: ignore[return-value]
        seen = self._seen
        async with self._database.transaction() as connection:
            fact = await load(connection)
        if fact is not None and seen == self._seen:
            _keep(self._facts, (kind, key), fact)
        return fact


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    if len(kept) >= MAX_KEPT:
        kept.clear()
    kept[key] = value


def _readable(text: str, kind: Kind, user_ids: Mapping[str, str], whose: str) -> Policy:
    try:
        return parse_policy(text, kind, user_ids)
    except InvalidPolicy:
        log.exception("unreadable_policy_denies_everything", policy=whose)
        return DENY_EVERYTHING
