"""Where the key-encryption key comes from: a file, an environment variable or a command, and never the database."""

import subprocess
from base64 import b64decode, b64encode
from functools import partial
from pathlib import Path

from app.envelope import KEY_BYTES, KeyEncryptionKeys, new_key
from app.private_file import write_once
from app.settings import InvalidSetting, Settings, variable

COMMAND_SECONDS = 60


class NoKeyEncryptionKey(InvalidSetting):
    """Nothing can be opened or sealed without it, so that nothing is started without it."""


def key_encryption_keys(settings: Settings) -> KeyEncryptionKeys:
    return KeyEncryptionKeys(partial(load_keys, settings))


def load_keys(settings: Settings) -> list[bytes]:
    """The current key first, behind it those that are being replaced; raises NoKeyEncryptionKey."""
    return parse_keys(*_text(settings))


def create_key_file(settings: Settings) -> None:
    """Where nothing is wrapped yet, and the operator has chosen no source, there may be a new key."""
    if not any(settings.key_encryption_key_sources):
        write_once(key_file(settings), b64encode(new_key()).decode() + "\n")


def key_file(settings: Settings) -> Path:
    return settings.key_encryption_key_file or settings.data_dir / "key-encryption-key"


def _text(settings: Settings) -> tuple[str, str]:
    """What the source says, and its name for the operator."""
    if settings.key_encryption_key:
        return settings.key_encryption_key, variable("key_encryption_key")
    if settings.key_encryption_key_command:
        return _output(settings.key_encryption_key_command), variable("key_encryption_key_command")
    try:
        return key_file(settings).read_text("ascii", "replace"), str(key_file(settings))
    except OSError as error:
        raise NoKeyEncryptionKey(f"Cannot read the key-encryption key: {error.strerror}: {error.filename}") from error


def _output(command: str) -> str:
    """Of a shell command that asks a vault or an HSM; its words of failure may hold secrets and are not repeated."""
    try:
        done = subprocess.run(  # noqa: S602 - the operator's own command
            command,
            shell=True,
            check=True,
            capture_output=True,
            encoding="ascii",
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
    except subprocess.SubprocessError as error:
        raise NoKeyEncryptionKey(f"{variable('key_encryption_key_command')} failed: {type(error).__name__}") from None
    return done.stdout


def parse_keys(text: str, source: str) -> list[bytes]:
    try:
        keys = [b64decode(word, validate=True) for word in text.split()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise NoKeyEncryptionKey(f"{source} must hold one or more keys, each {KEY_BYTES} random bytes in base64.")
    return keys
