"""Another endpoint of the S3 Vectors API, AWS's own for one: its buckets and indexes with their configuration."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct

from app.full_text.searchable_key import SearchableKey
from app.index_modes import IndexMode
from app.interchange.batches import InvalidSource, MissingPackage
from app.interchange.remote_name import RemoteName
from app.shapes import DistanceMetric, EncryptionConfiguration

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    raise MissingPackage("Endpoints need boto3: pip install 'pgs3vectors[endpoints]'.") from None

# An endpoint that does not answer is told soon; in the middle of a copy it is waited for, and so is one that asks who
# comes too fast to wait, and means seconds.
ATTEMPTS, PATIENT_ATTEMPTS = 2, 10
SYSTEM_TAGS = "aws:"


class RemoteBucket(Struct, frozen=True):
    arn: str
    encryption: EncryptionConfiguration
    tags: dict[str, str]
    policy: str | None
    default_index_mode: IndexMode | None
    """None of an endpoint that knows no modes."""
    remarks: list[str]
    """What could not be read."""


class RemoteIndex(Struct, frozen=True):
    name: str
    arn: str
    dimension: int
    distance_metric: DistanceMetric
    non_filterable_metadata_keys: list[str] | None
    searchable_keys: list[SearchableKey]
    encryption: EncryptionConfiguration
    tags: dict[str, str]
    index_mode: IndexMode | None
    """None of an endpoint that knows no modes."""
    remarks: list[str]


class Endpoint:
    """As boto3 finds it: its own settings count where ours say nothing."""

    def __init__(self, url: str | None, region: str | None, profile: str | None, connections: int) -> None:
        with told():
            # Other SDKs than Python's know this variable too.
            session = boto3.Session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION"))
            retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
            self.client = session.client("s3vectors", endpoint_url=url, config=Config(retries=retries))
            retries = {"mode": "adaptive", "total_max_attempts": PATIENT_ATTEMPTS}
            config = Config(retries=retries, max_pool_connections=connections)
            self._patient = session.client("s3vectors", endpoint_url=url, config=config)

    @property
    def url(self) -> str:
        return str(self.client.meta.endpoint_url)

    def call(self, operation: str, **members: Any) -> Any:
        """Raises InvalidSource in the words of the endpoint."""
        with told():
            return getattr(self.client, operation)(**members)

    def call_patiently(self, operation: str, **members: Any) -> Any:
        """As `call`, from several threads, for what is done many times."""
        with told():
            return getattr(self._patient, operation)(**members)

    def attempt(self, operation: str, *unless: str, **members: Any) -> Any:
        """None where the endpoint answers with one of these errors."""
        with told():
            try:
                return getattr(self.client, operation)(**members)
            except ClientError as error:
                if code(error) in unless:
                    return None
                raise

    def bucket(self, name: RemoteName) -> RemoteBucket:
        found = self.call("get_vector_bucket", **name.of_bucket)["vectorBucket"]
        arn: str = found["vectorBucketArn"]
        remarks: list[str] = []
        tags = self._tags(arn, f"bucket {name.bucket}", remarks)
        policy = self._policy(name, remarks)
        return RemoteBucket(arn, encryption(found), tags, policy, mode(found.get("defaultIndexMode")), remarks)

    def indexes(self, name: RemoteName) -> list[RemoteIndex]:
        """In the order of their names; the one that is meant, if it is one."""
        names = [name.index] if name.index else sorted(self._index_names(name))
        return [self._index(name, index) for index in names]

    def _index_names(self, name: RemoteName) -> Iterator[str]:
        members: dict[str, Any] = {}
        while True:
            page = self.call("list_indexes", **name.of_bucket, **members)
            yield from (index["indexName"] for index in page["indexes"])
            if not (token := page.get("nextToken")):
                return
            members = {"nextToken": token}

    def _index(self, name: RemoteName, index_name: str) -> RemoteIndex:
        found = self.call("get_index", **name.of_index(index_name))["index"]
        remarks: list[str] = []
        metadata = found.get("metadataConfiguration") or {}
        return RemoteIndex(
            name=index_name,
            arn=found["indexArn"],
            dimension=found["dimension"],
            distance_metric=DistanceMetric(found["distanceMetric"]),
            non_filterable_metadata_keys=metadata.get("nonFilterableMetadataKeys"),
            searchable_keys=[
                SearchableKey(search["metadataKey"], search.get("language"))
                for search in metadata.get("textSearchConfigurations") or []
            ],
            encryption=encryption(found),
            tags=self._tags(found["indexArn"], f"index {index_name}", remarks),
            index_mode=mode(found.get("indexMode")),
            remarks=remarks,
        )

    def _tags(self, arn: str, what: str, remarks: list[str]) -> dict[str, str]:
        """Those that AWS itself has put are its own."""
        try:
            tags = self.client.list_tags_for_resource(resourceArn=arn)["tags"]
        except (ClientError, BotoCoreError) as error:
            remarks.append(f"The tags of {what} could not be read: {words(error)}")
            return {}
        own = {key: value for key, value in tags.items() if not key.lower().startswith(SYSTEM_TAGS)}
        if left := sorted(tags.keys() - own.keys()):
            remarks.append(f"System tags of {what} are left out: {', '.join(left)}")
        return own

    def _policy(self, name: RemoteName, remarks: list[str]) -> str | None:
        try:
            policy: str = self.client.get_vector_bucket_policy(**name.of_bucket)["policy"]
        except (ClientError, BotoCoreError) as error:
            if code(error) != "NotFoundException":
                remarks.append(f"The policy of bucket {name.bucket} could not be read: {words(error)}")
            return None
        return policy


def encryption(found: Any) -> EncryptionConfiguration:
    """AES256 is what there is where nothing is said."""
    said = found.get("encryptionConfiguration") or {}
    return EncryptionConfiguration(sse_type=said.get("sseType", "AES256"), kms_key_arn=said.get("kmsKeyArn"))


def mode(said: str | None) -> IndexMode | None:
    return None if said is None else IndexMode(said)


def code(error: Exception) -> str:
    return str(error.response["Error"]["Code"]) if isinstance(error, ClientError) else ""


def words(error: Exception) -> str:
    """On one line, and without the name of the operation that boto3 puts in front."""
    if isinstance(error, ClientError):
        return f"{code(error)}: {' '.join(str(error.response['Error'].get('Message', '')).split())}"
    return " ".join(str(error).split())


@contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise InvalidSource(words(error)) from error
