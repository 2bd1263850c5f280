"""Waiting until PostgreSQL has built what the server wants of it, so that what is measured is what will stay.

The server builds HNSW and range indexes in the background, some seconds after it has seen that they pay: a table has
settled when for a while no index was built, nothing was vacuumed or analyzed, and nothing written.
"""

import time

import psycopg
from msgspec import Struct
from psycopg.rows import class_row

from scripts.testbed.errors import ScriptError
from scripts.testbed.progress import Step, Steps

# Longer than the server waits before it believes that writing is over.
QUIET_SECONDS = 20
POLL_SECONDS = 0.5
WAITING = "waiting until indexes have settled"


class NotSettled(ScriptError):
    """The indexes were still being built when patience was over."""


class Settled(Struct, frozen=True):
    built_after: float
    """Seconds from the call to the last change of the indexes that was seen."""
    hnsw_indexes: int


class _State(Struct, frozen=True):
    indexes: str
    building: bool
    busy: bool
    written: int
    hnsw_indexes: int


def wait_until_settled(connection: psycopg.Connection, table: str, patience: float, steps: Steps) -> Settled:
    started = built = changed = time.monotonic()
    last = _state(connection, table)
    with steps.step(WAITING) as step:
        while (now := time.monotonic()) < started + patience:
            state = _state(connection, table)
            if state.building or state.indexes != last.indexes:
                built = now
            if state.building or state.busy or state != last:
                last, changed = state, now
            elif now > changed + QUIET_SECONDS:
                return Settled(built - started, state.hnsw_indexes)
            _tell(connection, table, step)
            time.sleep(POLL_SECONDS)
    raise NotSettled(f"The indexes of {table} had not settled after {patience:.0f} s.")


def _state(connection: psycopg.Connection, table: str) -> _State:
    with connection.cursor(row_factory=class_row(_State)) as cursor:
        state = cursor.execute(_STATE, {"table": table}).fetchone()
    assert state is not None  # noqa: S101 - it has no FROM
    return state


_STATE = """
SELECT (SELECT string_agg(indexrelid::text, ' ' ORDER BY indexrelid) FROM pg_index
        WHERE indrelid = %(table)s::regclass) AS indexes,
    EXISTS (SELECT FROM pg_stat_progress_create_index WHERE relid = %(table)s::regclass)
    OR EXISTS (SELECT FROM pg_index WHERE indrelid = %(table)s::regclass AND NOT indisvalid) AS building,
    EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = %(table)s::regclass)
    OR EXISTS (SELECT FROM pg_stat_progress_analyze WHERE relid = %(table)s::regclass) AS busy,
    (SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_all_tables WHERE relid = %(table)s::regclass) AS written,
    (SELECT count(*) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
     WHERE indrelid = %(table)s::regclass AND amname = 'hnsw' AND indisvalid) AS hnsw_indexes
"""


def _tell(connection: psycopg.Connection, table: str, step: Step) -> None:
    row = connection.execute(_BUILD, [table]).fetchone()
    step.say(f"building an index: {row[0]}, {row[1]:,} of {row[2]:,}" if row else WAITING)


# HNSW tells how many tuples it has read, and only of blocks how many there are.
_BUILD = """
SELECT phase,
    CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END,
    CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END
FROM pg_stat_progress_create_index WHERE relid = %s::regclass
"""
