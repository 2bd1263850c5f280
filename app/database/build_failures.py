"""What is kept of a build that failed: the reason, and when it is tried again."""

from datetime import timedelta
from typing import Any

import psycopg
import sqlalchemy as sa

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 10, 3_600
MAX_REASON = 500
INTERRUPTED = "The build was interrupted."


def reason(error: psycopg.Error) -> str:
    """On one line, behind its SQLSTATE."""
    return f"{error.sqlstate or 'connection'}: {' '.join(str(error).split())}"[:MAX_REASON]


def retry_time(attempts: Any) -> sa.ColumnElement[Any]:
    """The longer the more often it has failed."""
    wait = sa.func.least(FIRST_RETRY_SECONDS * sa.func.power(2, attempts - 1), LAST_RETRY_SECONDS)
    return sa.func.clock_timestamp() + wait * timedelta(seconds=1)
