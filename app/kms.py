"""What `aws:kms` means here: the keys that `pgs3vectors kms` registers, asked before anything is done under them."""

from typing import Protocol, assert_never

from app.database.catalog import Index
from app.database.kms_keys import KeyState, KmsKey
from app.envelope import KeyEncryptionKeys, WrappedKey, new_key, seal, unseal
from app.errors import (
    AccessDeniedException,
    KmsDisabledException,
    KmsError,
    KmsInvalidStateException,
    KmsNotFoundException,
)
from app.record_cipher import RecordCipher
from app.shapes import EncryptionConfiguration


class KnownKeys(Protocol):
    """Where keys are looked up: what a server keeps of the catalog, or the catalog itself."""

    @property
    def keys(self) -> KeyEncryptionKeys: ...

    async def kms_key(self, key_arn: str) -> KmsKey | None: ...


def new_key_material(keys: KeyEncryptionKeys, key_arn: str) -> WrappedKey:
    return keys.wrap(new_key(), "kms-key", key_arn)


def usable(key: KmsKey | None, key_arn: str) -> KmsKey:
    """Raises the Kms errors of the model."""
    if key is None:
        raise KmsNotFoundException(f"Key '{key_arn}' does not exist")
    match key.key_state:
        case KeyState.ENABLED:
            return key
        case KeyState.DISABLED:
            raise KmsDisabledException(f"{key_arn} is disabled.")
        case KeyState.PENDING_DELETION:
            raise KmsInvalidStateException(f"{key_arn} is pending deletion.")
        case _:
            assert_never(key.key_state)


async def creation_key(known: KnownKeys, encryption: EncryptionConfiguration, account_id: str) -> KmsKey | None:
    """The key under which something is to be created, None for AES256: it must be the account's own, and enabled.

    Raises AccessDeniedException, as AWS does.
    """
    if (key_arn := encryption.kms_key_arn) is None:
        return None
    key = await known.kms_key(key_arn)
    try:
        return usable(key if key and key.account_id == account_id else None, key_arn)
    except KmsError as error:
        raise AccessDeniedException(error.message) from error


def new_data_key(keys: KeyEncryptionKeys, key: KmsKey, index_id: int) -> bytes:
    """For the records of a new index, wrapped by its KMS key."""
    return seal(_material(keys, key), new_key(), "index", str(index_id))


async def record_cipher(known: KnownKeys, index: Index) -> RecordCipher | None:
    """None for an index that is not under `aws:kms`; raises the Kms errors when its key must not be used."""
    if index.data_key is None:
        return None
    key_arn = index.encryption.kms_key_arn or ""
    material = _material(known.keys, usable(await known.kms_key(key_arn), key_arn))
    return RecordCipher(index.id, unseal(material, index.data_key, "index", str(index.id)))


def _material(keys: KeyEncryptionKeys, key: KmsKey) -> bytes:
    return keys.unwrap(key.key_material, "kms-key", key.key_arn)
