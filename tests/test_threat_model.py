"""Who reads docs/threat-model.md finds what it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [line for line in (ROOT / "docs/threat-model.md").read_text().splitlines() if line.count("|") == 6][2:]
NAMED = re.compile(r"`([a-z_0-9/.-]+(?:\.(?:py|sql|yml)|/))`")


def cell(row: str, number: int) -> list[str]:
    return NAMED.findall(row.split("|")[number])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_what_enforces_and_what_tests_it_is_there(row: str) -> None:
    enforcing, testing = cell(row, 4), cell(row, 5)
    assert enforcing
    assert testing
    assert [name for name in enforcing if not ((ROOT / "app" / name).exists() or (ROOT / name).exists())] == []
    assert [name for name in testing if not (ROOT / "tests" / name).exists()] == []
