"""The server's settings, read once from the environment variables of `docs/configuration.md`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

import msgspec
from msgspec import Meta, Struct, field
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from app.rate_limits import Rate, parse_rate
from app.request_context import Networks, parse_networks
from app.unprivileged import closed_folder, unprivileged_user

PREFIX = "PGS3VECTORS_"
SECRETS = {"database_url", "root_secret_access_key", "key_encryption_key", "key_encryption_key_command"}
MAX_PORT = 65535
SWITCH = {"on": True, "off": False}
SWITCHES = {"views", "public_bucket_policies", "metrics_per_index", "traces"}

LogLevel = Annotated[Literal["debug", "info", "warning", "error"], Meta(description="debug, info, warning or error")]
LogFormat = Annotated[Literal["console", "json"], Meta(description="console or json")]


class InvalidSetting(Exception):
    """The text names the variable and what it takes, never its value, which may be a secret."""


def default_data_dir() -> Path:
    """`.data` here, unless root starts the server where PostgreSQL's unprivileged user may not come, as in /root."""
    here = Path(".data").absolute()
    return here if closed_folder(here, unprivileged_user(here)) is None else Path("/var/lib/pgs3vectors")


def default_workers() -> int:
    """A worker fills a core; the other cores are PostgreSQL's."""
    return min(2, os.cpu_count() or 1)


def default_write_rate() -> int:
    """As AWS takes of one index, more or less, for each core; measured in docs/decisions.md 82."""
    return 2_000 * (os.cpu_count() or 1)


class Settings(Struct, frozen=True, kw_only=True):
    """The description is what a wrong value is answered with."""

    database_url: (
        Annotated[str, Meta(pattern="^postgres(ql)?://", description="a URL as postgresql://host/name")] | None
    ) = None
    data_dir: Annotated[Path, Meta(description="a path")] = field(default_factory=default_data_dir)
    host: Annotated[str, Meta(description="an address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=MAX_PORT, description="a port, 1 to 65535")] = 8787
    workers: Annotated[int, Meta(ge=1, le=256, description="a number, 1 to 256")] = field(
        default_factory=default_workers
    )
    operator_host: Annotated[str, Meta(description="an address to listen on")] = "127.0.0.1"
    operator_port: (
        Annotated[int, Meta(ge=1, le=MAX_PORT, description="a port, 1 to 65535, or off")] | Literal["off"] | None
    ) = None
    metrics_per_index: Annotated[bool, Meta(description="on or off")] = False
    recall_sampling_seconds: Annotated[int, Meta(ge=0, description="a number of seconds, 0 or more")] = 300
    drain_delay_seconds: Annotated[int, Meta(ge=0, description="a number of seconds, 0 or more")] = 0
    region: Annotated[str, Meta(pattern="^[a-z0-9-]{1,32}$", description="a region such as us-east-1")] = "us-east-1"
    account_id: Annotated[str, Meta(pattern="^[0-9]{12}$", description="12 digits")] = "000000000000"
    root_access_key_id: Annotated[str, Meta(pattern=r"^\w{3,128}$", description="3 to 128 letters and digits")] = ""
    root_secret_access_key: Annotated[str, Meta(min_length=8, description="8 characters or more")] = ""
    root_credentials_file: Annotated[Path, Meta(description="a path")] | None = None
    key_encryption_key: Annotated[str, Meta(description="keys in base64")] = ""
    key_encryption_key_file: Annotated[Path, Meta(description="a path")] | None = None
    key_encryption_key_command: Annotated[str, Meta(description="a shell command")] = ""
    public_bucket_policies: Annotated[bool, Meta(description="on or off")] = False
    trusted_proxies: Annotated[str, Meta(description="addresses or networks, separated by commas")] = ""
    audit_log: Annotated[str, Meta(description="a path, `stdout` or `off`")] = ""
    log_level: LogLevel = "info"
    log_format: LogFormat = "console"
    slow_query_milliseconds: Annotated[int, Meta(ge=0, description="a number of milliseconds, 0 or more")] = 0
    traces: Annotated[bool, Meta(description="on or off")] = False
    views: Annotated[bool, Meta(description="on or off")] = True
    pool_size: Annotated[int, Meta(ge=1, le=1000, description="a number, 1 to 1000")] = 10
    recall_target: Annotated[float, Meta(ge=0.5, le=0.999, description="a share, 0.5 to 0.999")] = 0.98
    write_rate_beside_searches: Annotated[
        int, Meta(ge=0, description="a number of vectors per second, or 0 for as many as come")
    ] = field(default_factory=default_write_rate)
    clock_skew_seconds: Annotated[int, Meta(ge=1, description="a number of seconds, 1 or more")] = 900
    rate_limit: Annotated[str, Meta(description="requests per second, as in 100, or with a burst, as in 100:200")] = ""
    request_timeout_seconds: Annotated[int, Meta(ge=1, description="a number of seconds, 1 or more")] = 120
    statement_timeout_seconds: Annotated[int, Meta(ge=1, description="a number of seconds, 1 or more")] = 60

    @property
    def key_encryption_key_sources(self) -> tuple[object, ...]:
        return self.key_encryption_key, self.key_encryption_key_file, self.key_encryption_key_command

    @property
    def operator_address(self) -> tuple[str, int] | None:
        """One port above that of the API where nothing else is said, so that a second server has its own."""
        port = self.port + 1 if self.operator_port is None else self.operator_port
        if port == "off":
            return None
        if port > MAX_PORT:
            raise InvalidSetting(f"{variable('operator_port')} must be {description('operator_port')}.")
        return self.operator_host, port

    @property
    def trusted_networks(self) -> Networks:
        try:
            return parse_networks(self.trusted_proxies)
        except ValueError:
            raise InvalidSetting(f"{variable('trusted_proxies')} must be {description('trusted_proxies')}.") from None

    @property
    def rate(self) -> Rate | None:
        try:
            return parse_rate(self.rate_limit) if self.rate_limit else None
        except ValueError:
            raise InvalidSetting(f"{variable('rate_limit')} must be {description('rate_limit')}.") from None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """An empty variable counts as absent, which is how Compose passes one that is not set."""
        given = {name: given_text(environment, name) for name in cls.__struct_fields__}
        values = {
            name: SWITCH.get(value, value) if name in SWITCHES else value for name, value in given.items() if value
        }
        try:
            settings = msgspec.convert(values, cls, strict=False, dec_hook=to_path)
        except msgspec.ValidationError as error:
            raise InvalidSetting(expectation(str(error))) from None
        if bool(settings.root_access_key_id) != bool(settings.root_secret_access_key):
            pair = (variable("root_access_key_id"), variable("root_secret_access_key"))
            raise InvalidSetting(f"{pair[0]} and {pair[1]} must be set together or not at all.")
        if sum(map(bool, settings.key_encryption_key_sources)) > 1:
            raise InvalidSetting(f"{variable('key_encryption_key')} and its _FILE and _COMMAND exclude each other.")
        # Refused now rather than by every worker.
        settings.trusted_networks, settings.rate, settings.operator_address  # noqa: B018
        if not is_understood(settings.database_url or ""):
            raise InvalidSetting(f"{variable('database_url')} must be {description('database_url')}.")
        return settings

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [(name, "..." if name in SECRETS else getattr(self, name)) for name in self.__struct_fields__]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


def is_understood(database_url: str) -> bool:
    """Asked here, because libpq repeats what it does not understand: a password, or what of one it takes for a port."""
    try:
        port = conninfo_to_dict(database_url).get("port", "")
    except ProgrammingError:
        return False
    return re.fullmatch("[0-9,]*", str(port)) is not None


def variable(name: str) -> str:
    return PREFIX + name.upper()


def given_text(environment: Mapping[str, str], name: str) -> str:
    """Of the variable, else of the file that `<variable>_FILE` names; the key-encryption key is read by who uses it."""
    text, file = environment.get(variable(name), ""), environment.get(f"{variable(name)}_FILE", "")
    if text or not file or name == "key_encryption_key":
        return text
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidSetting(f"Cannot read {variable(name)}_FILE, {file}: {reason}.") from None


def to_path(_: type, value: str) -> Path:
    return Path(value).expanduser().absolute()


def expectation(validation_error: str) -> str:
    """The library ends its message with the place: "... - at `$.port`"."""
    name = re.findall(r"\$\.(\w+)", validation_error)[-1]
    return f"{variable(name)} must be {description(name)}."


def description(name: str) -> str:
    hint = get_type_hints(Settings, include_extras=True)[name]
    annotated = next((part for part in getattr(hint, "__args__", ()) if hasattr(part, "__metadata__")), hint)
    return str(annotated.__metadata__[0].description)
