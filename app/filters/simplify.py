"""The same filter in fewer nodes, so that a long one costs what a list of values costs, however it was written."""

import json
from collections.abc import Iterator
from decimal import Decimal

from app.filters.nodes import And, Bound, In, Node, NotIn, Or, Range, Scalar


def simplify(node: Node) -> Node:
    """Nothing nested in its own kind or of one operand, no value twice, tests of one key together where they may be."""
    match node:
        case And(operands) | Or(operands):
            kind = type(node)
            return _joined(kind, _flat(kind, operands))
        case In(key, values):
            return In(key, _distinct(values))
        case NotIn(key, values):
            return NotIn(key, _distinct(values))
        case _:
            return node


def _flat(kind: type[And | Or], operands: tuple[Node, ...]) -> Iterator[Node]:
    for operand in map(simplify, operands):
        if isinstance(operand, And | Or) and type(operand) is kind:
            yield from operand.operands
        else:
            yield operand


def _joined(kind: type[And | Or], operands: Iterator[Node]) -> Node:
    joined: dict[object, Node] = {}
    for operand in operands:
        match operand:
            case In(key) if kind is Or:
                place: object = (In, key)
            case NotIn(key) | Range(key) if kind is And:
                place = (type(operand), key)
            case _:
                place = object()
        joined[place] = _both(joined[place], operand) if place in joined else operand
    nodes = tuple(joined.values())
    return nodes[0] if len(nodes) == 1 else kind(nodes)


def _both(first: Node, second: Node) -> Node:
    match first, second:
        case In(key, values), In(_, more):
            return In(key, _distinct(values + more))
        case NotIn(key, values), NotIn(_, more):
            return NotIn(key, _distinct(values + more))
        case Range(key, bounds), Range(_, others):
            return Range(key, _nearest(bounds + others))
    raise AssertionError(first, second)


def _distinct(values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    """By type as well, since 1 and true are equal in Python."""
    return tuple({(type(value), value): value for value in values}.values())


def _nearest(bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
    """What keeps the nearest bound of a direction keeps the others, of a list the same element."""
    kept = {bound.sign[0]: bound for bound in sorted(bounds, key=_narrowness)}
    return tuple(kept[direction] for direction in "><" if direction in kept)


def _narrowness(bound: Bound) -> tuple[Decimal, bool]:
    """As JSON has them: 1e23 is ten to the 23rd, which no binary float is."""
    number = Decimal(json.dumps(bound.number))
    return number if bound.sign.startswith(">") else -number, len(bound.sign) == 1
