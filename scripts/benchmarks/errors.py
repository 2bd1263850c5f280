"""What the user reads as one line, instead of a traceback."""


class BenchError(Exception):
    """Each module says of its own what went wrong."""
