"""Who runs PostgreSQL when root starts the server, and where that user may go."""

import os
import pwd
import stat
from pathlib import Path

from msgspec import Struct


class User(Struct, frozen=True):
    uid: int
    gid: int
    name: str


def unprivileged_user(*owned: Path) -> User | None:
    """None when we are not root; else the owner of the first given path that is not root's, `postgres`, or nobody.

    The owner comes first, so that the operator chooses with chown; nobody is last, since other daemons share it.
    """
    if os.geteuid() != 0:
        return None
    owners = [path.stat().st_uid for path in owned if path.exists()]
    uid = next((uid for uid in owners if uid != 0), None)
    return find(uid) if uid is not None else find_named("postgres") or find_named("nobody") or find(65534)


def find(uid: int) -> User:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # an owner without an entry, as volumes of containers have
        return User(uid, uid, str(uid))
    return User(entry.pw_uid, entry.pw_gid, entry.pw_name)


def find_named(name: str) -> User | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return User(entry.pw_uid, entry.pw_gid, entry.pw_name)


def closed_folder(path: Path, user: User | None) -> Path | None:
    """The outermost existing folder of the path that the user may not enter."""
    if user is None:
        return None
    resolved = path.resolve()
    folders = [*reversed(resolved.parents), resolved]
    return next((folder for folder in folders if folder.is_dir() and not may_enter(folder, user)), None)


def may_enter(folder: Path, user: User) -> bool:
    status = folder.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
