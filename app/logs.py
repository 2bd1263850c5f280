"""One form for all logs, on standard error: our own through structlog, and those of uvicorn."""

import logging
import sys
from typing import Any, Literal

import structlog
from structlog.types import EventDict, Processor

from app.settings import Settings

Format = Literal["console", "json"]
STAMPS: list[Processor] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper("iso", utc=True)]


def configure_logs(settings: Settings) -> None:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *STAMPS, *renderers(settings.log_format)],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def escaped(text: str) -> str:
    """What comes from outside, for a terminal: no control characters, and none that only look like others."""
    return text if text.isascii() and text.isprintable() else text.encode("unicode_escape").decode()


def escape_values(_: Any, __: str, fields: EventDict) -> EventDict:
    """JSON does so by itself; tracebacks have lines, and are ours."""
    for name, value in fields.items():
        if isinstance(value, str) and name not in {"exception", "stack"}:
            fields[name] = escaped(value)
    return fields


def renderers(form: Format) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    # The default formatter would print the local variables of every frame, secrets among them.
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [escape_values, console]


def server_logs(form: Format) -> dict[str, Any]:
    """For logging.config, which uvicorn applies; below errors it tells only what strangers send."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": {"()": f"{__name__}.formatter", "form": form}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ours"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {"uvicorn": {"level": "ERROR"}},
    }


def formatter(form: Format) -> logging.Formatter:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(processors=[remove, *renderers(form)], foreign_pre_chain=STAMPS)
