"""The root credentials: the operator's own, else made once and kept in the data directory."""

import configparser
from pathlib import Path

from msgspec import Struct

from app import unique_ids
from app.access_keys import AccessKey, new_secret
from app.policy.principals import root_user
from app.private_file import write_once
from app.settings import InvalidSetting, Settings

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
    if not file.exists() and not settings.root_credentials_file:
        write(generate(), file)
    return read(file)


def credentials_file(settings: Settings) -> Path:
    """For AWS_SHARED_CREDENTIALS_FILE."""
    return settings.root_credentials_file or settings.data_dir / "root-credentials"


def root_access_key(settings: Settings) -> AccessKey:
    """Of the account that the server is set up for; it is not in the database, so that it works whatever is."""
    credentials = root_credentials(settings)
    return AccessKey(credentials.access_key_id, credentials.secret_access_key, root_user(settings.account_id))


def generate() -> Credentials:
    return Credentials(unique_ids.new_id(unique_ids.ACCESS_KEY), new_secret())


def write(credentials: Credentials, file: Path) -> None:
    write_once(file, "\n".join(profile(name, credentials) for name in PROFILES))


def profile(name: str, credentials: Credentials) -> str:
    keys = (("aws_access_key_id", credentials.access_key_id), ("aws_secret_access_key", credentials.secret_access_key))
    return f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys)


def read(file: Path) -> Credentials:
    parser = configparser.RawConfigParser(default_section="")
    try:
        parser.read_string(file.read_text())
        section = parser[PROFILES[0]]
        return Credentials(section["aws_access_key_id"], section["aws_secret_access_key"])
    except OSError as error:
        raise InvalidSetting(f"Cannot read the root credentials: {error.strerror}: {file}.") from None
    except (configparser.Error, KeyError):
        raise InvalidSetting(f"{file} is no AWS credentials file with a profile {PROFILES[0]}.") from None
