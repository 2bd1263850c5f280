"""What granian runs in each worker process."""

import atexit
import os
from typing import Any

from app.logs import configure_logs
from app.settings import Settings


def load_application() -> Any:
    """Outside `app.cli`, and importing late, so that neither process loads what only the other needs."""
    from app.main import application  # noqa: PLC0415

    configure_logs(Settings.from_environment(os.environ))
    # Granian's threads panic, now and then, when the interpreter is taken down around them; our lifespan is over then.
    atexit.register(os._exit, 0)
    return application()
