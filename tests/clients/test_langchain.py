from collections.abc import Callable

import pytest


@pytest.mark.frameworks
def test_a_full_round_with_langchain(framework_round: Callable[[str], None]) -> None:
    framework_round("langchain_round.py")
