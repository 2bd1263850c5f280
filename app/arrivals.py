"""How many bytes of large bodies a worker holds at once: they arrive before anybody knows who sent them."""

import asyncio
from typing import Self

from app.errors import ServiceUnavailableException, TooManyRequestsException
from app.large_bodies import Room
from app.limits import MAX_HELD_BYTES, MAX_HELD_BYTES_OF_ONE

WAIT_SECONDS = 10

Owner = tuple[str, ...]
"""Address and claimed access key: whoever knows only another's key takes no room from him."""


class Arrivals:
    def __init__(self, size: int = MAX_HELD_BYTES, share: int = MAX_HELD_BYTES_OF_ONE) -> None:
        self._room = Room(size)
        self._share = share
        self._shares: dict[Owner, Room] = {}

    def share_of(self, owner: Owner) -> Room:
        return self._shares.setdefault(owner, Room(self._share))

    def forget(self, owner: Owner) -> None:
        """Once nobody is in it or waits for it."""
        if (room := self._shares.get(owner)) and room.is_empty:
            del self._shares[owner]

    async def enter(self, owner: Owner, size: int) -> tuple[int, int]:
        """What was taken of the owner's share, and of all."""
        try:
            taken = await _in_time(self.share_of(owner), size)
        except TimeoutError:
            self.forget(owner)
            raise TooManyRequestsException("Too many large requests at once") from None
        except BaseException:
            self.forget(owner)
            raise
        try:
            return taken, await _in_time(self._room, size)
        except BaseException as error:
            self._leave_share(owner, taken)
            if isinstance(error, TimeoutError):
                raise ServiceUnavailableException("Currently unable to handle the request") from None
            raise

    def leave(self, owner: Owner, of_share: int, of_all: int) -> None:
        self._room.leave(of_all)
        self._leave_share(owner, of_share)

    def _leave_share(self, owner: Owner, taken: int) -> None:
        self.share_of(owner).leave(taken)
        self.forget(owner)


class Arrival:
    """One body; its room is given back when its request has been answered."""

    __slots__ = ("_arrivals", "_taken", "owner")

    def __init__(self, arrivals: Arrivals) -> None:
        self.owner: Owner = ()
        self._arrivals = arrivals
        self._taken: tuple[int, int] | None = None

    async def make_room(self, size: int) -> None:
        """Once; raises TooManyRequestsException or ServiceUnavailableException where there is none for too long."""
        if self._taken is None:
            self._taken = await self._arrivals.enter(self.owner, size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken is not None:
            self._arrivals.leave(self.owner, *self._taken)


async def _in_time(room: Room, size: int) -> int:
    async with asyncio.timeout(WAIT_SECONDS):
        return await room.enter(size)
