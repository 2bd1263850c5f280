"""The PostgreSQL of pgvector's own image, through testcontainers, which `scripts/test-containers` sets up."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from testcontainers.community.postgres import PostgresContainer

IMAGE = os.environ.get("PGS3VECTORS_POSTGRES_IMAGE", "pgvector/pgvector:pg18")


@contextmanager
def postgres_container(settings: dict[str, str]) -> Iterator[str]:
    """A superuser's URL; only this host can reach it."""
    command = ["postgres", *(f"--{name}={value}" for name, value in settings.items())]
    container = PostgresContainer(IMAGE, driver=None, command=command, shm_size="1g")
    container.ports = {"5432": ("127.0.0.1", None)}  # type: ignore[dict-item] # docker takes an address too
    with container:
        yield container.get_connection_url()
