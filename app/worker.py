"""What runs in each worker process: the application behind uvicorn, on a socket that outlives the worker."""

import gc
import os
import socket
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

import uvicorn

from app.acceptor import BalancedServer
from app.http_protocol import KEEP_ALIVE_SECONDS, HttpProtocol
from app.logs import configure_logs, server_logs
from app.parent_death import die_with_parent
from app.settings import Settings
from app.shared_folder import place_of_worker, shared_numbers

DRAIN_SECONDS = 30


def run(listener: socket.socket, signs: Connection) -> None:
    """Until SIGTERM or SIGINT; requests that have come are answered then."""
    die_with_parent()

    async def give_sign() -> None:
        with suppress(OSError):  # nobody listens while the server ends
            signs.send_bytes(b".")

    # Importing late, so that the process which starts workers does not load what only they need.
    from app.main import create_app  # noqa: PLC0415

    settings = Settings.from_environment(os.environ)
    configure_logs(settings)
    config = uvicorn.Config(
        create_app(settings),
        interface="asgi3",
        loop="uvloop",
        http=HttpProtocol,
        ws="none",
        lifespan="on",
        log_config=server_logs(settings.log_format),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        callback_notify=give_sign,  # every second, from the moment on that it serves
        timeout_notify=0,
    )
    numbers = shared_numbers("connections", settings.workers)
    server = BalancedServer(config, listener, numbers, place_of_worker())
    # What was loaded stays: without this the garbage collector would walk through all of it again and again.
    gc.collect()
    gc.freeze()
    server.run()
    sys.exit(not server.started)
