"""Keeps text of strangers from being more than text: one event is one line, and nothing in it steers a terminal.

Guests write log lines, clients choose names, servers send reasons. A line feed in one of them would forge a line, an
escape sequence would recolour or retitle the terminal of whoever reads it (a C1 byte does so as well), a bidirectional
override would show another order than there is. So these become their escapes, in every format.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

__all__ = ["escape_fields", "escape_json", "printable"]

# C0 and C1 controls, DEL; what breaks lines or turns them round; invisible marks; halves of surrogate pairs.
_UNSEEN = "\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
_STEERS = re.compile(f"[\x00-\x1f{_UNSEEN}\ud800-\udfff\U000e0000-\U000e007f]")
_STEERS_JSON = re.compile(f"[{_UNSEEN}\U000e0000-\U000e007f]")  # JSON has escaped the others
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """The text with an escape in place of each character that is more than itself."""
    return text if text.isascii() and text.isprintable() else _STEERS.sub(_escape, text)


def escape_fields(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor for renderers that print text as it is. Values within lists and dicts are printed as
    their repr, which escapes by itself. A traceback keeps its lines, and none of them begins like a line of the log."""
    for key, value in line.items():
        if not isinstance(value, str):
            continue
        if key == "exception":
            line[key] = "\n    ".join(map(printable, value.split("\n")))
        else:
            line[key] = printable(value)
    return line


def escape_json(text: str) -> str:
    """A JSON text that means the same and steers nothing: these characters can stand in strings only."""
    return text if text.isascii() and "\x7f" not in text else _STEERS_JSON.sub(_json_escape, text)


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _json_escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
