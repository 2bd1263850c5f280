"""The root credentials: the operator's own, else made once and kept in the data directory."""

import configparser
import os
import secrets
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from app.settings import InvalidSetting, Settings

KEY_ID_PREFIX = "PGSV"  # AWS's own begin with AKIA, and leak scanners would report ours as AWS's
KEY_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
PROFILES = ("default", "pgs3vectors")


class Credentials(Struct, frozen=True):
    access_key_id: str
    secret_access_key: str

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r}, secret_access_key='...')"

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("access_key_id", self.access_key_id), ("secret_access_key", "...")]


def root_credentials(settings: Settings) -> Credentials:
    if settings.root_access_key_id:
        return Credentials(settings.root_access_key_id, settings.root_secret_access_key)
    file = credentials_file(settings)
    if not file.exists():
        write(generate(), file)
    return read(file)


def credentials_file(settings: Settings) -> Path:
    """For AWS_SHARED_CREDENTIALS_FILE."""
    return settings.data_dir / "root-credentials"


def generate() -> Credentials:
    key_id = KEY_ID_PREFIX + "".join(secrets.choice(KEY_ID_ALPHABET) for _ in range(16))
    return Credentials(key_id, secrets.token_urlsafe(30))


def write(credentials: Credentials, file: Path) -> None:
    """Whole or not at all, and the first wins: two servers that start together end with the same credentials."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
    unfinished = file.with_suffix(f".{secrets.token_hex(4)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write("\n".join(profile(name, credentials) for name in PROFILES))
        output.flush()
        os.fsync(output.fileno())
    with suppress(FileExistsError):
        os.link(unfinished, file)
    unfinished.unlink()


def profile(name: str, credentials: Credentials) -> str:
    keys = (("aws_access_key_id", credentials.access_key_id), ("aws_secret_access_key", credentials.secret_access_key))
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys)


def read(file: Path) -> Credentials:
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(file.read_text())
        section = parser[PROFILES[0]]
        return Credentials(section["aws_access_key_id"], section["aws_secret_access_key"])
    except (configparser.Error, KeyError):
        raise InvalidSetting(f"{file} is no AWS credentials file with a profile {PROFILES[0]}.") from None
