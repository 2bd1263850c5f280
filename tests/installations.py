"""Packages of real clients, each in a folder of its own and installed once; as a program, all of them."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
CLIENTS = TESTS / "clients"
NODE = (CLIENTS / "javascript", CLIENTS / "mastra", TESTS / "policy/oracle")
FRAMEWORKS = CLIENTS / "frameworks/requirements.txt"
MODELS = tuple(sorted((CLIENTS / "boto3").glob("boto3-*.txt")))

NPM = ("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")


def node_packages(folder: Path) -> None:
    install_once(folder / "package.json", "node_modules", NPM)


def python_packages(manifest: Path) -> Path:
    """The interpreter of an environment that has them and nothing else."""
    into = f".venv/{manifest.stem}"
    python = manifest.parent / into / "bin/python"
    venv = (sys.executable, "-m", "venv", "--clear", into)
    pip = (str(python), "-m", "pip", "install", "--quiet", "--requirement", manifest.name)
    install_once(manifest, into, venv, pip)
    return python


def install_once(manifest: Path, into: str, *commands: tuple[str, ...]) -> None:
    """Run the commands beside the manifest unless they ran for this very text; one process at a time."""
    stamp = manifest.parent / into / ".installed"
    with manifest.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        wanted = file.read()
        if stamp.exists() and stamp.read_text() == wanted:
            return
        for command in commands:
            subprocess.run(command, cwd=manifest.parent, check=True)  # noqa: S603
        stamp.write_text(wanted)


def main() -> None:
    for manifest in (*MODELS, FRAMEWORKS):
        python_packages(manifest)
    if shutil.which("npm"):
        for folder in NODE:
            node_packages(folder)


if __name__ == "__main__":
    main()
