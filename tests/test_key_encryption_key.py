import re
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import quote

import pytest

from app.envelope import KEY_BYTES, kek_id
from app.key_encryption_key import NoKeyEncryptionKey, create_key_file, key_encryption_keys, key_file, load_keys
from app.settings import InvalidSetting, Settings
from tests.cli.test_iam import Command
from tests.cli.test_serve import only_line
from tests.conftest import open_directory
from tests.server_process import ROOT, running

FIRST, SECOND = (bytes([number]) * KEY_BYTES for number in (1, 255))
ONE, TWO = (b64encode(key).decode() for key in (FIRST, SECOND))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, [FIRST]),
        (f"\n {ONE}\r\n\n", [FIRST]),
        (f"{ONE}\n{TWO}\n", [FIRST, SECOND]),
        (f"{TWO} {ONE}", [SECOND, FIRST]),
    ],
)
@pytest.mark.parametrize("source", ["file", "variable", "command"])
def test_every_source_gives_the_current_key_first(
    tmp_path: Path, source: str, text: str, expected: list[bytes]
) -> None:
    assert load_keys(settings(tmp_path, source, text)) == expected


def settings(data_dir: Path, source: str, text: str) -> Settings:
    match source:
        case "file":
            (data_dir / "key-encryption-key").write_text(text)
            return Settings(data_dir=data_dir)
        case "variable":  # an empty one counts as absent
            return Settings(data_dir=data_dir, key_encryption_key=text or " ")
        case _:
            return Settings(data_dir=data_dir, key_encryption_key_command=f"printf %s {quote(text)}")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(" \n", id="blanks"),
        pytest.param("hidden secret", id="words"),
        pytest.param(ONE[:-4], id="too short"),
        pytest.param(b64encode(bytes(33)).decode(), id="too long"),
        pytest.param(FIRST.hex(), id="hexadecimal"),
        pytest.param(ONE.rstrip("="), id="without padding"),
        pytest.param(f"{ONE}\nhidden", id="one good, one bad"),
        pytest.param(f"{ONE},{TWO}", id="commas"),
        pytest.param("ключ", id="not ASCII"),
    ],
)
@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("file", "key-encryption-key"),
        ("variable", "PGS3VECTORS_KEY_ENCRYPTION_KEY"),
        ("command", "PGS3VECTORS_KEY_ENCRYPTION_KEY_COMMAND"),
    ],
)
def test_what_is_no_key_is_refused_by_the_name_of_its_source(tmp_path: Path, source: str, name: str, text: str) -> None:
    with pytest.raises(NoKeyEncryptionKey) as raised:
        load_keys(settings(tmp_path, source, text))
    message = str(raised.value)
    assert message.endswith(f"{name} must hold one or more keys, each 32 random bytes in base64.")
    assert "hidden" not in message


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("echo hidden >&2; exit 3", "failed: CalledProcessError"),
        ("no-such-command-here", "failed: CalledProcessError"),
        (r"printf '\377\376'", "must hold one or more keys, each 32 random bytes in base64."),
        ("true", "must hold one or more keys, each 32 random bytes in base64."),
        (f"echo {ONE}; kill -9 $$", "failed: CalledProcessError"),
    ],
)
def test_a_command_that_fails_is_named_without_what_it_said(tmp_path: Path, command: str, expected: str) -> None:
    with pytest.raises(NoKeyEncryptionKey) as raised:
        load_keys(Settings(data_dir=tmp_path, key_encryption_key_command=command))
    assert str(raised.value) == f"PGS3VECTORS_KEY_ENCRYPTION_KEY_COMMAND {expected}"
    assert raised.value.__cause__ is None


def test_what_a_command_says_beside_the_key_is_no_part_of_it(tmp_path: Path) -> None:
    command = f"echo asking the vault >&2; sleep 0.1; echo {ONE}"
    assert load_keys(Settings(data_dir=tmp_path, key_encryption_key_command=command)) == [FIRST]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoKeyEncryptionKey) as raised:
        load_keys(Settings(data_dir=tmp_path))
    expected = f"Cannot read the key-encryption key: No such file or directory: {tmp_path}/key-encryption-key"
    assert str(raised.value) == expected


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0" * 32], ids=["not UTF-8", "the raw bytes"])
def test_a_file_of_bytes_is_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key-encryption-key").write_bytes(content)
    with pytest.raises(NoKeyEncryptionKey, match=r"key-encryption-key must hold one or more keys"):
        load_keys(Settings(data_dir=tmp_path))


def test_a_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path / "new")
    create_key_file(given)
    made = load_keys(given)
    create_key_file(given)
    assert load_keys(given) == made
    assert key_file(given).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in given.data_dir.iterdir()] == ["key-encryption-key"]


def test_servers_that_start_together_make_one_file(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create_key_file, [given] * 8))
    assert [path.name for path in tmp_path.iterdir()] == ["key-encryption-key"]
    assert len(load_keys(given)) == 1


@pytest.mark.parametrize(
    "source",
    [
        {"key_encryption_key": ONE},
        {"key_encryption_key_command": f"echo {ONE}"},
        {"key_encryption_key_file": Path("/proc/none/key")},
    ],
    ids=lambda source: next(iter(source)),
)
def test_nothing_is_made_where_the_operator_has_chosen_a_source(tmp_path: Path, source: dict[str, str]) -> None:
    create_key_file(Settings(data_dir=tmp_path, **source))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["file", "command"])
def test_keys_are_read_again_when_one_is_missing(tmp_path: Path, source: str) -> None:
    file = tmp_path / "key-encryption-key"
    command = f"cat {quote(str(file))}" if source == "command" else ""
    given = Settings(data_dir=tmp_path, key_encryption_key_command=command)
    file.write_text(ONE)
    keys = key_encryption_keys(given)
    file.write_text(f"{TWO}\n{ONE}")
    wrapped = key_encryption_keys(given).wrap(b"secret", "account", "1")
    assert keys.current == kek_id(FIRST)
    assert keys.unwrap(wrapped, "account", "1") == b"secret"
    assert keys.current == kek_id(SECOND)


SOURCES = {"KEY_ENCRYPTION_KEY": ONE, "KEY_ENCRYPTION_KEY_FILE": "/key", "KEY_ENCRYPTION_KEY_COMMAND": "hidden"}


@pytest.mark.parametrize("left_out", [*SOURCES, None])
def test_several_sources_are_refused(left_out: str | None) -> None:
    given = {f"PGS3VECTORS_{name}": value for name, value in SOURCES.items() if name != left_out}
    with pytest.raises(InvalidSetting) as raised:
        Settings.from_environment(given)
    assert str(raised.value) == "PGS3VECTORS_KEY_ENCRYPTION_KEY and its _FILE and _COMMAND exclude each other."


def test_sources_that_may_hold_secrets_are_not_shown() -> None:
    shown = Settings(key_encryption_key=ONE), Settings(key_encryption_key_command="vault token=hidden")
    assert ONE not in f"{shown!r} {shown[0].__rich_repr__()}"
    assert "hidden" not in f"{shown!r} {shown[1].__rich_repr__()}"


def test_the_example_of_the_documentation_makes_a_key(tmp_path: Path) -> None:
    assert "32 random bytes in base64" in (ROOT / "docs/configuration.md").read_text()
    command = "head -c 32 /dev/urandom | base64"
    assert len(load_keys(Settings(data_dir=tmp_path, key_encryption_key_command=command))) == 1


@pytest.fixture(scope="module")
def used_database(copied_database: Callable[[], str]) -> str:
    """Whose secrets are under the first key."""
    url = copied_database()
    with open_directory() as directory:
        Command(DATABASE_URL=url, DATA_DIR=str(directory), KEY_ENCRYPTION_KEY=ONE)("iam", "account", "list")
    return url


@pytest.mark.parametrize(
    ("content", "setting", "expected"),
    [
        pytest.param(None, {}, r"Cannot read the key-encryption key: No such file or directory: .*", id="missing"),
        pytest.param("hidden", {}, r".*/key-encryption-key must hold one or more keys, .*", id="malformed"),
        pytest.param(
            TWO,
            {},
            rf"The secrets in this database are under key-encryption key {kek_id(FIRST)}, and it is not the one given "
            rf"\(that is {kek_id(SECOND)}\): Key-encryption key {kek_id(FIRST)} is missing",
            id="another",
        ),
        pytest.param(
            None,
            {"KEY_ENCRYPTION_KEY_COMMAND": "echo hidden; exit 1"},
            r"PGS3VECTORS_KEY_ENCRYPTION_KEY_COMMAND failed: CalledProcessError",
            id="command",
        ),
        pytest.param(
            ONE,
            {"KEY_ENCRYPTION_KEY": TWO, "KEY_ENCRYPTION_KEY_COMMAND": "echo hidden"},
            r"PGS3VECTORS_KEY_ENCRYPTION_KEY and its _FILE and _COMMAND exclude each other\.",
            id="several sources",
        ),
    ],
)
def test_the_server_does_not_start_without_the_right_key_and_says_why(
    used_database: str, data_dir: Path, content: str | None, setting: dict[str, str], expected: str
) -> None:
    data_dir.mkdir()
    if content:
        (data_dir / "key-encryption-key").write_text(content)
    told = only_line(DATABASE_URL=used_database, DATA_DIR=str(data_dir), **setting)
    assert re.fullmatch(f"pgs3vectors: {expected}\n", told)
    assert "hidden" not in told
    assert [path.name for path in data_dir.iterdir()] == (["key-encryption-key"] if content else [])


def test_an_empty_database_does_not_excuse_a_file_that_was_named_and_is_not_there(
    own_database_url: str, data_dir: Path
) -> None:
    told = only_line(
        DATABASE_URL=own_database_url, DATA_DIR=str(data_dir), KEY_ENCRYPTION_KEY_FILE=str(data_dir / "mounted")
    )
    assert told.endswith(f": No such file or directory: {data_dir}/mounted\n")
    assert not data_dir.exists()


def test_a_key_behind_the_current_one_lets_the_server_start(used_database: str, data_dir: Path) -> None:
    settings = {"DATABASE_URL": used_database, "DATA_DIR": str(data_dir), "KEY_ENCRYPTION_KEY": f"{TWO} {ONE}"}
    with running("--workers", "1", **settings) as server:
        assert server.endpoint in server.wait_until_ready()
    assert [path.name for path in data_dir.iterdir() if "key" in path.name] == []
