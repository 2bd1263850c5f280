from pathlib import Path

import pytest

from app.settings import PREFIX, InvalidSetting, Settings, variable

DOCUMENTATION = Path(__file__).parents[1] / "docs/configuration.md"


def read(**given: str) -> Settings:
    return Settings.from_environment({PREFIX + name: value for name, value in given.items()})


def test_defaults() -> None:
    settings = read()
    assert (settings.host, settings.port, settings.region) == ("127.0.0.1", 8787, "us-east-1")
    assert (settings.account_id, settings.database_url, settings.views) == ("000000000000", None, True)
    assert settings.workers in {1, 2}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DATABASE_URL", "postgresql://db/vectors", "postgresql://db/vectors"),
        (
            "DATABASE_URL",
            "postgres://a:b%2Fc@[::1]:1,h:5432/d?sslmode=require",
            "postgres://a:b%2Fc@[::1]:1,h:5432/d?sslmode=require",
        ),
        ("DATA_DIR", "/srv/vectors", Path("/srv/vectors")),
        ("PORT", "80", 80),
        ("ACCOUNT_ID", "012345678901", "012345678901"),
        ("VIEWS", "off", False),
        ("VIEWS", "on", True),
        ("LOG_FORMAT", "json", "json"),
        ("REGION", "", "us-east-1"),
    ],
)
def test_a_variable_becomes_a_value(name: str, text: str, value: object) -> None:
    assert getattr(read(**{name: text}), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("DATABASE_URL", "mysql://db", "a URL as postgresql://host/name"),
        ("DATABASE_URL", "postgresql://a:hidden@[::1/c", "a URL as postgresql://host/name"),
        ("DATABASE_URL", "postgresql://a:hidden@b/c?pool=9", "a URL as postgresql://host/name"),
        ("DATABASE_URL", "postgresql://a:hid%zzden@b/c", "a URL as postgresql://host/name"),
        ("DATABASE_URL", "postgresql://a:hidden/hidden@b/c", "a URL as postgresql://host/name"),
        ("PORT", "http", "a port, 1 to 65535"),
        ("PORT", "0", "a port, 1 to 65535"),
        ("PORT", "65536", "a port, 1 to 65535"),
        ("OPERATOR_PORT", "on", "a port, 1 to 65535, or off"),
        ("OPERATOR_PORT", "0", "a port, 1 to 65535, or off"),
        ("DRAIN_DELAY_SECONDS", "-1", "a number of seconds, 0 or more"),
        ("WORKERS", "0", "a number, 1 to 256"),
        ("WORKERS", "1.5", "a number, 1 to 256"),
        ("REGION", "Mars", "a region such as us-east-1"),
        ("ACCOUNT_ID", "42", "12 digits"),
        ("ROOT_ACCESS_KEY_ID", "a/b", "3 to 128 letters and digits"),
        ("ROOT_SECRET_ACCESS_KEY", "short", "8 characters or more"),
        ("LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("LOG_FORMAT", "xml", "console or json"),
        ("VIEWS", "maybe", "on or off"),
        ("POOL_SIZE", "0", "a number, 1 to 1000"),
        ("CLOCK_SKEW_SECONDS", "-1", "a number of seconds, 1 or more"),
        ("STATEMENT_TIMEOUT_SECONDS", "soon", "a number of seconds, 1 or more"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(name: str, text: str, expected: str) -> None:
    with pytest.raises(InvalidSetting) as raised:
        read(**{name: text})
    assert str(raised.value) == f"PGS3VECTORS_{name} must be {expected}."


def test_a_value_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://app:hidden@db/vectors\n")
    (tmp_path / "port").write_text("80")
    settings = read(DATABASE_URL_FILE=str(tmp_path / "url"), PORT_FILE=str(tmp_path / "port"))
    assert (settings.database_url, settings.port) == ("postgresql://app:hidden@db/vectors", 80)


def test_the_variable_comes_before_its_file(tmp_path: Path) -> None:
    """Workers inherit both, and the variable is what `serve` has made of the file."""
    assert read(DATABASE_URL="postgresql://own", DATABASE_URL_FILE=str(tmp_path / "absent")).database_url == (
        "postgresql://own"
    )


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff", "it is no text")], ids=["absent", "binary"]
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "url"
    if content:
        file.write_bytes(content)
    with pytest.raises(InvalidSetting) as raised:
        read(DATABASE_URL_FILE=str(file))
    assert str(raised.value) == f"Cannot read PGS3VECTORS_DATABASE_URL_FILE, {file}: {reason}."


def test_the_file_of_the_key_encryption_key_is_read_where_the_key_is_needed(tmp_path: Path) -> None:
    settings = read(KEY_ENCRYPTION_KEY_FILE=str(tmp_path / "key"))
    assert (settings.key_encryption_key, settings.key_encryption_key_file) == ("", tmp_path / "key")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, ("127.0.0.1", 8788)),
        ({"PORT": "9000"}, ("127.0.0.1", 9001)),
        ({"PORT": "9000", "OPERATOR_PORT": "80", "OPERATOR_HOST": "::"}, ("::", 80)),
        ({"OPERATOR_PORT": "off"}, None),
    ],
)
def test_the_operators_port_is_the_next_unless_it_is_set(given: dict[str, str], address: object) -> None:
    assert read(**given).operator_address == address


def test_the_last_port_has_no_next() -> None:
    with pytest.raises(InvalidSetting, match="PGS3VECTORS_OPERATOR_PORT must be a port"):
        read(PORT="65535")
    assert read(PORT="65535", OPERATOR_PORT="8788").operator_address == ("127.0.0.1", 8788)


@pytest.mark.parametrize("name", ["ROOT_ACCESS_KEY_ID", "ROOT_SECRET_ACCESS_KEY"])
def test_half_of_the_root_credentials_is_refused(name: str) -> None:
    with pytest.raises(InvalidSetting, match="together"):
        read(**{name: "longenough"})


def test_secrets_are_not_shown() -> None:
    settings = read(
        DATABASE_URL="postgresql://a:hidden@b/c", ROOT_ACCESS_KEY_ID="key", ROOT_SECRET_ACCESS_KEY="hidden12"
    )
    assert "hidden" not in repr(settings) + str(settings) + str(settings.__rich_repr__())


def test_every_setting_is_documented() -> None:
    documented = DOCUMENTATION.read_text()
    assert [name for name in Settings.__struct_fields__ if f"`{variable(name)}`" not in documented] == []
