"""What a connection may cost, on real sockets; deadlines are shortened, and only that they end is tested."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from uvicorn.server import ServerState

from app import http_protocol
from app.asgi import Receive, Scope, Send
from app.http_protocol import MAX_HEAD_BYTES, HttpProtocol

ANSWER_BYTES = 64 * 1024 * 1024
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Echoes what it got, at once or when all has come, or answers more than any socket buffers."""
    body, more = b"", scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    answer = bytes(ANSWER_BYTES) if scope["path"] == "/large" else scope["raw_path"] + b" " + body
    length = (b"content-length", str(len(answer)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": answer, "more_body": False})


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: ServerState) -> None:
        self.reader = reader
        self.writer = writer
        self.state = state

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(status.split()[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def is_closed(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), 20) == b""
        except ConnectionResetError:
            return True


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    config = uvicorn.Config(application, ws="none", http=HttpProtocol, lifespan="off", log_config=None)
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield Connection(reader, writer, state)
    writer.close()
    server.close()


async def test_requests_follow_each_other_on_a_connection(connection: Connection) -> None:
    for _ in range(2):
        connection.send(b"POST /a%2Fb?c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        status, _, body = await connection.answer()
        assert (status, body) == (200, b"/a%2Fb hi")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no request"),
        pytest.param(b"GET / HTTP/9.9\r\n\r\n", id="no version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost x\r\n\r\n", id="no colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", id="a blank before the colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\nA: \x00\r\n\r\n", id="folded, with a NUL"),
        pytest.param(b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", id="a path beyond ASCII"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", id="two lengths"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="a negative length"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", id="an unknown coding"),
    ],
)
async def test_what_the_parser_refuses_is_an_error_of_the_api(connection: Connection, request_bytes: bytes) -> None:
    connection.send(request_bytes)
    status, headers, body = await connection.answer()
    assert (status, headers["x-amzn-errortype"], headers["content-type"]) == (
        400,
        "serializationexception",
        "application/json",
    )
    assert b'"message"' in body
    assert len(headers["x-amzn-requestid"]) == 36
    assert await connection.is_closed()


async def test_headers_without_end_are_cut(connection: Connection) -> None:
    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (MAX_HEAD_BYTES // 6 + 1))
    status, headers, _ = await connection.answer()
    assert (status, headers["connection"]) == (431, "close")
    assert await connection.is_closed()


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEADER_DEADLINE_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "WRITE_DEADLINE_SECONDS", 0.2)
    monkeypatch.setattr(http_protocol, "REST_DEADLINE_SECONDS", 0.2)


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n", REQUEST + b"GET /"],
    ids=["none", "line", "head", "next"],
)
async def test_a_head_that_does_not_come_ends_the_connection(connection: Connection, sent: bytes) -> None:
    connection.send(sent)
    if sent.startswith(REQUEST):
        assert (await connection.answer())[0] == 200
    assert await connection.is_closed()


@pytest.mark.usefixtures("short_deadlines")
async def test_a_client_that_does_not_read_is_let_go(connection: Connection) -> None:
    connection.send(REQUEST)
    await connection.answer()
    connection.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    while connection.state.connections:  # noqa: ASYNC110 - it is the server's state
        await asyncio.sleep(0.05)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await connection.reader.readexactly(ANSWER_BYTES)


@pytest.mark.usefixtures("short_deadlines")
async def test_what_is_left_of_a_body_behind_its_answer_does_not_keep_the_connection(connection: Connection) -> None:
    connection.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert (await connection.answer())[0] == 200
    connection.send(b"x")
    assert await connection.is_closed()


@pytest.mark.usefixtures("short_deadlines")
async def test_a_body_that_comes_behind_its_answer_leaves_a_connection_that_is_idle(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    await connection.answer()
    connection.send(b"hi")
    connection.send(REQUEST)
    assert (await connection.answer())[0] == 200
    [protocol] = connection.state.connections
    monkeypatch.setattr(protocol, "timeout_keep_alive", 0.2)
    connection.send(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
    await connection.answer()
    connection.send(b"hi")
    assert await connection.is_closed()
