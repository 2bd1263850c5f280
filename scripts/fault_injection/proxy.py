"""A TCP proxy in front of PostgreSQL: a network that can be slow, cut, silent, or gone in the middle of an answer."""

import asyncio
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

from scripts.testbed.api import HOST

CHUNK = 64 * 1024
POLL_SECONDS = 0.02
ENDING_SECONDS = 5


class Link:
    """One connection through the proxy; all of it runs in the proxy's event loop."""

    def __init__(self, proxy: "Proxy", client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._ends = (client, server)
        self._open = asyncio.Event()
        self._open.set()
        self._doomed = False
        self._gone = False

    async def carry(self, client: asyncio.StreamReader, server: asyncio.StreamReader) -> None:
        with suppress(OSError):
            await asyncio.gather(self._pump(client, self._ends[1]), self._pump(server, self._ends[0], answers=True))
        self.cut()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool = False) -> None:
        while data := await source.read(CHUNK):
            await asyncio.sleep(self._proxy.delay)
            await self._open.wait()
            if self._gone:
                return
            if answers and self._doomed:
                self._proxy.broken += 1
                break
            self._doomed = self._doomed or (not answers and self._proxy.dooms(data))
            sink.write(data)
            await sink.drain()
        self.cut()

    def silence(self) -> None:
        """Both ends believe in it for ever: their kernels are answered, they are not."""
        self._open.clear()

    def cut(self) -> None:
        self._gone = True
        self._open.set()
        for end in self._ends:
            end.transport.abort()


class Proxy:
    """Its methods are for other threads than its own."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self.delay = 0.0
        self.broken = 0
        """Connections that were reset in the middle of an answer."""
        self._upstream = upstream
        self._refusing = False
        self._doom: re.Pattern[bytes] | None = None
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)

    def cut(self) -> None:
        """Every connection is reset, and so are new ones."""
        self._refusing = True
        self._call(self._for_all(Link.cut))

    def silence(self) -> None:
        """Of what is connected now nothing arrives any more, and nobody is told; new connections are good."""
        self._call(self._for_all(Link.silence))

    def heal(self) -> None:
        self._refusing = False
        self.delay = 0.0

    def break_answers(self, requests: bytes | None) -> None:
        """Reset connections when the answer to a request that matches comes: it was done, and nobody is told."""
        self._doom = None if requests is None else re.compile(requests)

    def dooms(self, data: bytes) -> bool:
        return self._doom is not None and self._doom.search(data) is not None

    async def _for_all(self, act: Any) -> None:
        for link in list(self._links):
            act(link)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refusing:
                raise ConnectionRefusedError
            upstream_reader, upstream_writer = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = Link(self, writer, upstream_writer)
        self._links.add(link)
        try:
            await link.carry(reader, upstream_reader)
        finally:
            self._links.discard(link)

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        self.cut()
        self._call(self._ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ended(self) -> None:
        if self._server is not None:
            self._server.close()
        async with asyncio.timeout(ENDING_SECONDS):
            while self._links:  # noqa: ASYNC110 - each ends by itself
                await asyncio.sleep(POLL_SECONDS)


@contextmanager
def proxied(upstream: int) -> Iterator[Proxy]:
    proxy = Proxy(upstream)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()
