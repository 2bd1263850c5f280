"""The condition keys that every request has: who asks, from where, when and with what."""

from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

from app.policy.condition_keys import Context, date_value
from app.policy.principals import Principal
from app.sigv4 import SignedRequest

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


class Peer(Struct, frozen=True):
    """Where a request comes from; headers are believed only when a configured proxy sent them."""

    address: Address | None
    secure: bool


def parse_networks(text: str) -> Networks:
    """Of a comma-separated list; raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def peer_of(request: SignedRequest, socket_peer: str, scheme: str, trusted: Networks) -> Peer:
    """Behind trusted proxies, the last address that is not one of them."""
    address, secure = _address(socket_peer), scheme == "https"
    if address is None or not _is_trusted(address, trusted):
        return Peer(address, secure)
    # A proxy that adds its word to the client's own leaves both.
    secure = secure or set(request.values("x-forwarded-proto")) == {b"https"}
    forwarded = b",".join(request.values("x-forwarded-for")).decode("latin-1")
    for hop in reversed(forwarded.split(",")):
        if (told := _address(hop.strip())) is None:
            return Peer(address, secure)
        address = told
        if not _is_trusted(address, trusted):
            break
    return Peer(address, secure)


def request_context(principal: Principal, peer: Peer, user_agent: str | None, region: str, now: datetime) -> Context:
    context: dict[str, str | tuple[str, ...]] = {
        **principal.context,
        "aws:currenttime": date_value(now),
        "aws:epochtime": str(int(now.timestamp())),
        "aws:requestedregion": region,
        "aws:securetransport": "true" if peer.secure else "false",
    }
    if peer.address is not None:
        context["aws:sourceip"] = str(peer.address)
    if user_agent is not None:
        context["aws:useragent"] = user_agent
    return context


@lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    """An IPv4 address that comes over an IPv6 socket is an IPv4 address to every policy."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, trusted: Networks) -> bool:
    return any(address in network for network in trusted)
