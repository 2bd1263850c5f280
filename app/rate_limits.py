"""Token buckets: so many requests per second, and so many at once, of whomever a name stands for.

Each worker has buckets of its own: with two workers, a client may get up to twice as much.
"""

from collections.abc import Hashable

from msgspec import Struct

from app.errors import TooManyRequestsException

MAX_KEPT = 10_000
MESSAGE = "Too many requests"


class Rate(Struct, frozen=True):
    per_second: float
    burst: float


def parse_rate(text: str) -> Rate:
    """Of `requests per second[:burst]`; raises ValueError."""
    per_second, _, burst = text.partition(":")
    rate = Rate(float(per_second), float(burst or max(1, float(per_second))))
    if not (0 < rate.per_second <= 1_000_000 and 1 <= rate.burst <= 1_000_000):
        raise ValueError(text)
    return rate


class TokenBuckets:
    """In bounded memory: who has not been seen for longest is forgotten, which is to say that his bucket is full."""

    def __init__(self, rate: Rate, max_kept: int = MAX_KEPT) -> None:
        self._rate = rate
        self._max_kept = max_kept
        self._left: dict[Hashable, tuple[float, float]] = {}
        """Tokens, and when there were so many."""

    def check(self, name: Hashable, now: float) -> None:
        """Takes none, so that whoever only claims a name empties nobody's bucket."""
        tokens = self._tokens(name, now)
        if tokens < 1:
            raise TooManyRequestsException(MESSAGE, retry_after_seconds=(1 - tokens) / self._rate.per_second)

    def take(self, name: Hashable, now: float) -> None:
        tokens = self._tokens(name, now)
        self._left.pop(name, None)  # to the end of those that are forgotten
        if len(self._left) >= self._max_kept:
            del self._left[next(iter(self._left))]
        self._left[name] = max(0.0, tokens - 1), now

    def _tokens(self, name: Hashable, now: float) -> float:
        if (left := self._left.get(name)) is None:
            return self._rate.burst
        tokens, then = left
        return min(self._rate.burst, tokens + (now - then) * self._rate.per_second)
