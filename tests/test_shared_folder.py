import fcntl
import os
from pathlib import Path

import pytest

from app.shared_folder import PREFIX, remove_abandoned, shared_folder


def left(place: Path, name: str, *, locked: bool = True) -> Path:
    folder = place / f"{PREFIX}{name}"
    folder.mkdir()
    (folder / "counter_0.db").write_bytes(b"\0" * 64)
    if locked:
        (folder / "lock").touch()
    return folder


def test_what_a_killed_server_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    abandoned, taken, being_made = left(tmp_path, "1"), left(tmp_path, "2"), left(tmp_path, "3", locked=False)
    other = tmp_path / "others"
    other.mkdir()
    with (taken / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_abandoned(tmp_path)
        assert not abandoned.exists()
        assert {taken, being_made, other} == set(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    folder = left(tmp_path, "1")
    os.chown(folder, 12345, 12345)
    remove_abandoned(tmp_path)
    assert (folder / "counter_0.db").exists()


def test_no_link_leads_to_the_files_of_others(tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.mkdir()
    (others / "lock").touch()
    (tmp_path / f"{PREFIX}1").symlink_to(others)
    remove_abandoned(tmp_path)
    assert (others / "lock").exists()


def test_servers_beside_each_other_leave_each_other_alone() -> None:
    with shared_folder() as first, shared_folder() as second:
        assert first != second
        assert first.is_dir()
    assert not first.exists()
    assert not second.exists()
