"""The house rules that a machine can keep."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APP = ROOT / "app"
MODULES = sorted(APP.rglob("*.py"))
PURE = [
    "audit.py",
    "envelope.py",
    "record_cipher.py",
    "request_context.py",
    "sigv4.py",
    "arns.py",
    "metadata.py",
    "constraints.py",
    "tags.py",
    "encryption.py",
    "index_modes.py",
    "vector_data.py",
    "filters",
    "policy",
]
BANNED = {"manager", "helper", "helpers", "util", "utils", "common", "base", "service", "handler", "processor"}
TOP_LEVEL = {
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "app",
    "docker-compose.yml",
    "docs",
    "migrations",
    "pyproject.toml",
    "scripts",
    "tests",
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in MODULES if p.relative_to(APP).parts[0] in PURE], ids=named)
def test_pure_stations_know_neither_litestar_nor_the_database(path: Path) -> None:
    assert not {name for name in imports(path) if re.match(r"litestar|psycopg|app\.(database|operations|server)", name)}


@pytest.mark.parametrize("path", sorted((APP / "operations").glob("*.py")), ids=named)
def test_operations_do_not_import_each_other(path: Path) -> None:
    assert not {name for name in imports(path) if name.startswith("app.operations")}


@pytest.mark.parametrize("path", sorted((APP / "operations").glob("[a-z]*.py")), ids=named)
def test_every_operation_authorizes_before_it_asks_the_database(path: Path) -> None:
    functions = [
        n for n in ast.parse(path.read_text()).body if isinstance(n, ast.AsyncFunctionDef) and n.decorator_list
    ]
    assert functions
    for function in functions:
        calls = [ast.unparse(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)]
        source = ast.unparse(function)
        assert "authorize" in calls, function.name
        looked_up = [source.find(place) for place in ("server.database", "server.cache.index") if place in source]
        assert source.index("authorize(") < min(looked_up), function.name


@pytest.mark.parametrize("path", [APP / "server.py", APP / "monitoring/operator_thread.py"], ids=named)
def test_what_runs_as_long_as_the_process_is_begun_again_when_it_fails(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    tasks = [ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "asyncio.create_task"]
    assert tasks
    assert not [task for task in tasks if not task.startswith("lasting(")]


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_files_are_named_with_nouns_of_the_field() -> None:
    assert not {named(p) for p in MODULES if BANNED & set(p.stem.split("_"))}


def test_sql_text_stands_in_the_database_folder_only() -> None:
    outside = [p for p in MODULES if p.parent != APP / "database"]
    assert not {
        named(p) for p in outside if {"sqlalchemy.text", "psycopg.sql"} & imports(p) or "sa.text(" in p.read_text()
    }


def test_the_top_level_holds_what_was_agreed() -> None:
    tracked = {p.name for p in ROOT.iterdir()}
    assert tracked >= TOP_LEVEL
