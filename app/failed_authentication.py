"""Who fails to prove who he is, too often: told to wait before his body is read or his key is looked up."""

import time
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

import structlog

from app.rate_limits import Rate, TokenBuckets

log = structlog.get_logger()

OF_ADDRESS = Rate(per_second=20, burst=200)
OF_CLAIM = Rate(per_second=10, burst=100)
"""Of an access key from an address."""

# Whoever has proved to hold a key since then is not refused for what others at his address claim.
TRUSTED_SECONDS = 600
MAX_TRUSTED = 10_000
COMPLAIN_SECONDS = 60


class FailedAuthentication:
    def __init__(self, of_address: Rate = OF_ADDRESS, of_claim: Rate = OF_CLAIM) -> None:
        self.count = 0
        self._addresses = TokenBuckets(of_address)
        self._claims = TokenBuckets(of_claim)
        self._trusted: dict[tuple[str, str], float] = {}
        self._complained = float("-inf")

    def check(self, address: str, access_key_id: str) -> None:
        """Raises TooManyRequestsException."""
        now, source = time.monotonic(), network_of(address)
        if self._trusted.get((source, access_key_id), float("-inf")) + TRUSTED_SECONDS > now:
            return
        self._addresses.check(source, now)
        self._claims.check((source, access_key_id), now)

    def failed(self, address: str, access_key_id: str) -> None:
        now, source = time.monotonic(), network_of(address)
        self.count += 1
        self._addresses.take(source, now)
        self._claims.take((source, access_key_id), now)
        if now > self._complained + COMPLAIN_SECONDS:
            self._complained = now
            log.warning("authentication_failed", address=address, failures=self.count)

    def succeeded(self, address: str, access_key_id: str) -> None:
        if len(self._trusted) >= MAX_TRUSTED:
            self._trusted.clear()
        self._trusted[network_of(address), access_key_id] = time.monotonic()


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Of IPv6 the /64, all of which is one customer's."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return f"{int(parsed) >> 64:x}::/64" if isinstance(parsed, IPv6Address) else address
