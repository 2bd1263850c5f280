import pytest

from app.full_text.rank_fusion import fuse


def test_who_is_in_both_rankings_is_before_who_is_first_in_one() -> None:
    assert list(fuse(["a", "b", "c"], ["d", "c"])) == ["c", "a", "d", "b"]


def test_a_score_is_the_sum_of_reciprocal_ranks() -> None:
    assert fuse(["a", "b"], ["b"]) == {"b": pytest.approx(1 / 62 + 1 / 61), "a": pytest.approx(1 / 61)}


def test_of_equal_scores_the_smaller_key_is_first() -> None:
    assert list(fuse(["b"], ["a"])) == ["a", "b"]


def test_nothing_ranks_nothing() -> None:
    assert fuse([], []) == {}
