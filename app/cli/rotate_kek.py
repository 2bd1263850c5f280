"""`pgs3vectors rotate-kek`: wraps every key under the current key-encryption key while the servers go on."""

import sys

from rich.progress import Progress

from app.cli.connection import opened_catalog
from app.cli.output import say
from app.database.wrapped_keys import count_to_rotate, rotate_batch


async def rotate_kek() -> None:
    """Wrap everything under the first of the key-encryption keys.

    Put the new key in front of the old one where the server finds its keys, run this, then take the old key away.  A
    server that finds them in a file or by a command reads them again by itself; it may be interrupted and run again.
    """
    rotated = 0
    async with opened_catalog() as catalog:
        async with catalog.database.transaction() as connection:
            total = await count_to_rotate(connection, catalog.keys)
        with Progress(transient=True, disable=not sys.stdout.isatty()) as progress:
            task = progress.add_task("Wrapping keys", total=total)
            while True:
                async with catalog.database.transaction() as connection:
                    batch = await rotate_batch(connection, catalog.keys)
                if batch == 0:
                    break
                rotated += batch
                progress.advance(task, batch)
    say(f"{rotated} keys are now wrapped by key-encryption key {catalog.keys.current}.")
