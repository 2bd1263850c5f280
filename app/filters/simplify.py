"""The same filter in fewer nodes, so that a long one costs what a list of values costs, however it was written."""

from collections.abc import Iterator

from app.filters.nodes import And, In, Node, NotIn, Or, Range


def simplify(node: Node) -> Node:
    """Nothing nested in its own kind, nothing with one operand, and tests of one key together where they may be."""
    match node:
        case And(operands) | Or(operands):
            kind = type(node)
            return _joined(kind, _flat(kind, operands))
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
            return In(key, values + more)
        case NotIn(key, values), NotIn(_, more):
            return NotIn(key, values + more)
        case Range(key, bounds), Range(_, others):
            return Range(key, bounds + others)
    raise AssertionError(first, second)
