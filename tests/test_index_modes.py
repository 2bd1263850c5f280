from datetime import UTC, datetime, timedelta

import pytest

from app.errors import ValidationException
from app.index_modes import CLASSIC_UNTIL, IndexMode, effective_mode, eligible_mode

BEFORE = datetime(2026, 9, 29, 23, 59, 59, 999999, tzinfo=UTC)
ON_THE_DAY = datetime(2026, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("created", [BEFORE, ON_THE_DAY, ON_THE_DAY + timedelta(days=1000)])
def test_enhanced_is_for_every_bucket(created: datetime) -> None:
    assert eligible_mode("indexMode", "ENHANCED", created) is IndexMode.ENHANCED


def test_classic_is_for_buckets_of_before() -> None:
    assert ON_THE_DAY == CLASSIC_UNTIL
    assert eligible_mode("indexMode", "CLASSIC", BEFORE) is IndexMode.CLASSIC
    with pytest.raises(ValidationException, match="created before September 30, 2026") as raised:
        eligible_mode("defaultIndexMode", "CLASSIC", ON_THE_DAY)
    assert [field.path for field in raised.value.field_list] == ["defaultIndexMode"]


@pytest.mark.parametrize(
    ("asked", "index_mode", "effective"),
    [
        (None, "CLASSIC", "CLASSIC"),
        (None, "ENHANCED", "ENHANCED"),
        ("CLASSIC", "CLASSIC", "CLASSIC"),
        ("ENHANCED", "CLASSIC", "ENHANCED"),
        ("ENHANCED", "ENHANCED", "ENHANCED"),
    ],
)
def test_a_query_has_the_mode_of_its_index_unless_it_asks_for_enhanced(
    asked: str | None, index_mode: str, effective: str
) -> None:
    assert effective_mode(asked, IndexMode(index_mode)) is IndexMode(effective)


def test_a_query_of_an_enhanced_index_is_not_classic() -> None:
    with pytest.raises(ValidationException) as raised:
        effective_mode("CLASSIC", IndexMode.ENHANCED)
    assert [field.path for field in raised.value.field_list] == ["queryMode"]
