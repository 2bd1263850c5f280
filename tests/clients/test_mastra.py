import shutil
from collections.abc import Callable

import pytest


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_full_round_with_mastra(node_round: Callable[[str], None]) -> None:
    node_round("mastra")
