"""Keeps secrets out of log lines, whoever writes them.

The processor guarantees three things for every line: a value under a key that names a secret is replaced; a value under
a key that names a place (url, path, …) loses its query string and its credentials; and any other text loses the query
strings and credentials of the URLs in it, because exceptions quote them. It works on copies, looks into lists, pairs
and dicts, and stops at a depth where no honest log line is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

__all__ = ["REDACTED", "redact", "strip_query"]

REDACTED = "[redacted]"
MAX_DEPTH = 6

_SECRET = re.compile(r"token|authorization|secret|cookie|password|passwd|api[_-]?key|private[_-]?key", re.IGNORECASE)
_PLACE = re.compile(r"(^|_)(url|uri|path|target|location|href)$", re.IGNORECASE)
_URL_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s@]*@")
_URL_QUERY = re.compile(r"((?:https?|wss?)://[^\s?#'\"<>]*)[?#][^\s'\"<>]*", re.IGNORECASE)


def strip_query(place: str) -> str:
    """A path or URL without query string, fragment and credentials."""
    cut = re.split(r"[?#]", place, maxsplit=1)[0]
    return _URL_CREDENTIALS.sub("", cut)


def redact(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor."""
    for key, value in line.items():
        line[key] = _field(key, value, 0)
    return line


def _field(key: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET.search(key):
        return REDACTED
    if isinstance(value, str) and _PLACE.search(key):
        return strip_query(value)
    return _value(value, depth)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _field(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        # a header list is pairs of name and value
        if len(value) == 2 and isinstance(value[0], str):
            return [value[0], _field(value[0], value[1], depth + 1)]
        return [_value(item, depth + 1) for item in value]
    return value


def _text(text: str) -> str:
    if "://" not in text:
        return text
    return _URL_CREDENTIALS.sub("", _URL_QUERY.sub(r"\1", text))
