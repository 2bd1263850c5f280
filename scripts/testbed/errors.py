"""What the user reads as one line, instead of a traceback."""


class ScriptError(Exception):
    """Each module says of its own what went wrong."""
