"""Wildcards of policies: `*` is any text and `?` any one character, in time linear in the text.

Wildcards are told from characters by two code points that no JSON text can hold, so that the value of a policy variable
may contain `*` and still be nothing but text.
"""

from collections.abc import Callable
from functools import partial

ANY, ONE = "\ud800", "\ud801"

Matcher = Callable[[str], bool]


def with_wildcards(text: str) -> str:
    return text.replace("*", ANY).replace("?", ONE)


def matcher(pattern: str) -> Matcher:
    """Of a pattern whose wildcards are ANY and ONE."""
    if ONE in pattern:
        return _automaton(pattern)
    first, *others = pattern.split(ANY)
    if not others:
        return partial(_equal, first)
    *between, last = others
    return partial(_in_order, first, [part for part in between if part], last)


def _equal(wanted: str, text: str) -> bool:
    return text == wanted


def _in_order(first: str, between: list[str], last: str, text: str) -> bool:
    """The leftmost place is the best one for every part: what is left for the others can only be longer."""
    if not (text.startswith(first) and text.endswith(last)):
        return False
    start, end = len(first), len(text) - len(last)
    for part in between:
        found = text.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return start <= end


def _automaton(pattern: str) -> Matcher:
    """Shift-And: bit p of a state says that the first p symbols have been read; `*` lets its bit stay."""
    stays, accepts, one, position = 0, dict[str, int](), 0, 0
    for symbol in pattern:
        if symbol == ANY:
            stays |= 1 << position
            continue
        if symbol == ONE:
            one |= 1 << position
        else:
            accepts[symbol] = accepts.get(symbol, 0) | 1 << position
        position += 1
    return partial(_run, stays, {symbol: bits | one for symbol, bits in accepts.items()}, one, 1 << position)


def _run(stays: int, accepts: dict[str, int], one: int, accepting: int, text: str) -> bool:
    state = 1
    for character in text:
        state = state & stays | (state & accepts.get(character, one)) << 1
        if not state:
            return False
    return bool(state & accepting)
