"""Log lines: structlog on stderr, as JSON lines or for a console.

Messages are short and in lower case, facts are fields (`log.info("actor slept", reason="idle")`). Lines carry what
`log_context` has bound (actor_id, tenant, ray). Everything passes the redactor, lines of the standard library's
loggers included, so that no library prints a token or a query string past it; and one event is one line, whatever
text of strangers is in it.
"""

from __future__ import annotations

import json
import logging as stdlib_logging
import sys
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import FilteringBoundLogger, Processor

from host.telemetry.escape import escape_fields, escape_json
from host.telemetry.redact import redact

__all__ = ["LogFormat", "LogLevel", "configure_logging", "get_logger", "log_context"]

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

# Libraries that print request lines, and with them URLs, at INFO.
_CHATTY = ("httpx", "httpcore", "uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio", "aiosqlite")


def configure_logging(*, format: LogFormat = "json", level: LogLevel = "info", stream: TextIO | None = None) -> None:
    """Sets up logging for the process; calling it again replaces the former set-up."""
    out = stream if stream is not None else sys.stderr
    steps: list[Processor] = [
        merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,  # a traceback becomes text first, so that the redactor sees it
        redact,
    ]
    if format == "json":
        steps.append(structlog.processors.JSONRenderer(serializer=_to_json))
    else:
        steps.append(escape_fields)
        plain = structlog.dev.plain_traceback
        steps.append(structlog.dev.ConsoleRenderer(colors=out.isatty(), exception_formatter=plain))
    structlog.configure(
        processors=steps,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines(out),
        cache_logger_on_first_use=False,
    )
    root = stdlib_logging.getLogger()
    for handler in [entry for entry in root.handlers if isinstance(entry, _ToStructlog)]:
        root.removeHandler(handler)
    root.addHandler(_ToStructlog())
    for name in _CHATTY:
        stdlib_logging.getLogger(name).setLevel(stdlib_logging.WARNING)


def get_logger(name: str = "dormice") -> FilteringBoundLogger:
    """A logger that names its part of the host in every line; follows `configure_logging` whenever that comes."""
    return cast(FilteringBoundLogger, structlog.get_logger(part=name))


def log_context(**fields: str) -> AbstractContextManager[None]:
    """Binds fields (actor_id, tenant, ray) to every line written inside the block, also in tasks started there."""
    return cast("AbstractContextManager[None]", bound_contextvars(**fields))


def _to_json(line: Any, **_ignored: Any) -> str:
    try:
        return escape_json(msgspec.json.encode(line, enc_hook=repr).decode())
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(line, default=repr)


class _Lines:
    """Writes lines, and never raises for it: a reader of the log that has gone away must not fail the work at hand.
    Being its own factory, it counts over all loggers what could not be written."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.lost = 0

    def __call__(self, *_args: object) -> _Lines:
        return self

    def msg(self, message: str) -> None:
        try:
            self._out.write(message + "\n")
            self._out.flush()
        except (OSError, ValueError):  # a closed pipe; a closed file
            self.lost += 1

    debug = info = warning = error = critical = exception = msg


class _ToStructlog(stdlib_logging.Handler):
    """Hands lines of the standard library's loggers to structlog."""

    def emit(self, record: stdlib_logging.LogRecord) -> None:
        log = get_logger(record.name)
        write = log.error if record.levelno >= stdlib_logging.ERROR else log.warning
        if record.levelno < stdlib_logging.WARNING:
            write = log.debug
        write(record.getMessage(), exc_info=record.exc_info or None)
