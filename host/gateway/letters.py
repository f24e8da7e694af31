"""Dead letters as operators see them. A payload came from a stranger: it is shown as text where it is UTF-8, in base64
where it is not, and cut to what was kept of it; nothing here interprets it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from host.model.errors import CallerError
from host.model.records import LETTER_PAYLOAD, DeadLetter

__all__ = ["letters_page"]

DEFAULT_PAGE = 100
MAX_PAGE = 1_000
MAX_PLACE = 10


def letters_page(letters: Sequence[DeadLetter], limit: str | None, cursor: str | None) -> dict[str, Any]:
    """Letters are only ever added, so the place in the list is a cursor that stays good."""
    size = DEFAULT_PAGE if limit is None else _number("limit", limit, 1, MAX_PAGE)
    begin = 0 if cursor is None else _number("cursor", cursor, 0, 10**MAX_PLACE)
    end = begin + size
    pagination = {"cursor": str(end)} if end < len(letters) else {}
    return {"dead_letters": [_shown(letter) for letter in letters[begin:end]], "pagination": pagination}


def _shown(letter: DeadLetter) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "kind": letter.kind,
        "ref": letter.ref,
        # past what a JSON number holds exactly it is text, as in the actor's own events
        "index": letter.index if letter.index < 2**53 else str(letter.index),
        "reason": letter.reason,
        "message": letter.message,
        "attempts": letter.attempts,
        "at": letter.at,
        "truncated": len(letter.payload) >= LETTER_PAYLOAD,
    }
    try:
        shown["text"] = letter.payload.decode("utf-8")
    except UnicodeDecodeError as error:
        if shown["truncated"] and error.start > len(letter.payload) - 4:
            shown["text"] = letter.payload[: error.start].decode("utf-8")  # cut within its last character
        else:
            shown["base64"] = b64encode(letter.payload).decode("ascii")
    return shown


def _number(name: str, text: str, lowest: int, highest: int) -> int:
    if text.isascii() and text.isdigit() and len(text) <= MAX_PLACE and lowest <= int(text) <= highest:
        return int(text)
    raise CallerError("request", "invalid", f"{name} is a number from {lowest} to {highest}")
