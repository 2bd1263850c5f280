from collections.abc import Callable

import pytest


@pytest.mark.frameworks
def test_a_full_round_with_llama_index(framework_round: Callable[[str], None]) -> None:
    framework_round("llama_index_round.py")
