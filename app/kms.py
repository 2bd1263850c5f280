"""What `aws:kms` means here: the keys that `pgs3vectors kms` registers, asked before anything is done under them."""

from typing import assert_never

from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.catalog import Index
from app.database.kms_keys import KeyState, KmsKey
from app.database.policy_information import PolicyInformation
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


async def check_key(
    information: PolicyInformation, connection: AsyncConnection, encryption: EncryptionConfiguration, account_id: str
) -> None:
    """Before something is created under it: one must own the key. Raises AccessDeniedException, as AWS does."""
    if (key_arn := encryption.kms_key_arn) is None:
        return
    key = await information.kms_key(key_arn, connection)
    try:
        usable(key if key and key.account_id == account_id else None, key_arn)
    except KmsError as error:
        raise AccessDeniedException(error.message) from error


async def new_data_key(
    information: PolicyInformation, connection: AsyncConnection, encryption: EncryptionConfiguration, index_id: int
) -> bytes:
    """For the records of a new index, wrapped by its KMS key."""
    material = await _key_material(information, connection, encryption.kms_key_arn or "")
    return seal(material, new_key(), "index", str(index_id))


async def record_cipher(
    information: PolicyInformation, connection: AsyncConnection, index: Index
) -> RecordCipher | None:
    """None for an index that is not under `aws:kms`; raises the Kms errors when its key must not be used."""
    if index.data_key is None:
        return None
    material = await _key_material(information, connection, index.encryption.kms_key_arn or "")
    return RecordCipher(index.id, unseal(material, index.data_key, "index", str(index.id)))


async def _key_material(information: PolicyInformation, connection: AsyncConnection, key_arn: str) -> bytes:
    key = usable(await information.kms_key(key_arn, connection), key_arn)
    return information.keys.unwrap(key.key_material, "kms-key", key_arn)
