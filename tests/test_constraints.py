from typing import Annotated

import msgspec
import pytest

from app.constraints import ABSENT, Input, Integer, Length, OneOf, Range, Required
from app.errors import ValidationException


class Item(msgspec.Struct, rename="camel", kw_only=True, frozen=True):
    item_key: Required[Annotated[str, Length(1, 3)]] = ABSENT


class Order(Input, frozen=True):
    top_k: Required[Annotated[Integer, Range(1, 5)]] = ABSENT
    kind: Annotated[str, OneOf(("a", "b"))] | None = None
    items: Annotated[list[Item], Length(1, 2)] | None = None
    labels: dict[Annotated[str, Length(1, 2)], Annotated[str, Length(0, 1)]] | None = None


def decode(text: str) -> Order:
    return msgspec.json.decode(text, type=Order)


def test_valid_members_arrive_and_unknown_ones_are_ignored() -> None:
    order = decode('{"topK": 5, "kind": null, "items": [{"itemKey": "x"}], "labels": {"l": ""}, "unknown": [1]}')
    assert (order.top_k, order.kind, order.labels) == (5, None, {"l": ""})


@pytest.mark.parametrize(
    ("text", "failures"),
    [
        pytest.param("{}", {"/topK": "Value at '/topK' ... Member must not be null"}, id="missing"),
        pytest.param('{"topK": null}', {"/topK": "Value at '/topK' ... Member must not be null"}, id="null"),
        pytest.param(
            '{"topK": 6}', {"/topK": "Value at '/topK' ... Member must be between 1 and 5, inclusive"}, id="range"
        ),
        pytest.param(
            '{"topK": 1, "kind": "c"}',
            {"/kind": "Value at '/kind' ... Member must satisfy enum value set: [a, b]"},
            id="enum",
        ),
        pytest.param(
            '{"topK": 1, "items": [{"itemKey": "x"}, {"itemKey": "long"}]}',
            {
                "/items/1/itemKey": "Value with length 4 at '/items/1/itemKey' ... "
                "Member must have length between 1 and 3, inclusive"
            },
            id="inside a list",
        ),
        pytest.param(
            '{"topK": 1, "labels": {"a": "😀😀", "long": ""}}',
            {
                "/labels/a": "Value with length 2 at '/labels/a' ... "
                "Member must have length between 0 and 1, inclusive",
                "/labels": "Value with length 4 at '/labels' ... Member must have length between 1 and 2, inclusive",
            },
            id="code points of a map's value, and its key at the map",
        ),
    ],
)
def test_every_failure_is_told_at_its_path(text: str, failures: dict[str, str]) -> None:
    with pytest.raises(ValidationException) as caught:
        decode(text)
    told = {field.path: field.message for field in caught.value.field_list}
    assert told == {path: m.replace("...", "failed to satisfy constraint:") for path, m in failures.items()}
    number = f"{len(told)} validation error{'s' if len(told) > 1 else ''} detected. "
    assert caught.value.message == number + "; ".join(field.message for field in caught.value.field_list)


@pytest.mark.parametrize("text", ['{"topK": "1"}', '{"topK": 1.0}', '{"topK": 4294967296}', '{"topK": 1, "items": {}}'])
def test_wrong_types_are_no_constraint_failures(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode(text)
