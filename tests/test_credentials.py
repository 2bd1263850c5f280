import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.credentials import SharedCredentialProvider

from app.credentials import Credentials, root_credentials
from app.settings import InvalidSetting, Settings


def test_credentials_of_the_settings_are_taken_and_not_written(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path, root_access_key_id="mine", root_secret_access_key="secret12")
    assert root_credentials(given) == Credentials("mine", "secret12")
    assert list(tmp_path.iterdir()) == []


def test_credentials_are_generated_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new")
    credentials = root_credentials(settings)
    assert re.fullmatch("PGSV[A-Z2-7]{16}", credentials.access_key_id)
    assert re.fullmatch("[A-Za-z0-9_-]{40}", credentials.secret_access_key)
    assert root_credentials(settings) == credentials
    assert [path.name for path in settings.data_dir.iterdir()] == ["root-credentials"]


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    root_credentials(Settings(data_dir=tmp_path))
    assert (tmp_path / "root-credentials").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("profile", ["default", "pgs3vectors"])
def test_aws_tools_read_the_file(tmp_path: Path, profile: str) -> None:
    made = root_credentials(Settings(data_dir=tmp_path))
    read = SharedCredentialProvider(str(tmp_path / "root-credentials"), profile).load()
    assert read
    assert (read.access_key, read.secret_key) == (made.access_key_id, made.secret_access_key)


def test_servers_that_start_together_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert len({repr(c) for c in threads.map(root_credentials, [Settings(data_dir=tmp_path)] * 8)}) == 1


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root-credentials").write_text("nonsense")
    with pytest.raises(InvalidSetting, match="no AWS credentials file"):
        root_credentials(Settings(data_dir=tmp_path))


def test_a_file_of_the_operator_is_read_and_never_made(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    settings = Settings(data_dir=tmp_path, root_credentials_file=file)
    with pytest.raises(InvalidSetting, match="Cannot read the root credentials: No such file or directory"):
        root_credentials(settings)
    file.write_text("[default]\naws_access_key_id = mine\naws_secret_access_key = secret12\n")
    assert root_credentials(settings) == Credentials("mine", "secret12")
    assert list(tmp_path.iterdir()) == [file]


def test_the_secret_is_not_shown() -> None:
    credentials = Credentials("key", "hidden")
    assert "hidden" not in f"{credentials} {credentials!r} {credentials.__rich_repr__()}"
