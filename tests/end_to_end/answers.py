"""What every refusal has to be like: a status, a stable `group/code`, a clean message, and nothing of our insides."""

from __future__ import annotations

import re
from typing import Any

import httpx

__all__ = ["refused"]

# Marks of a stack trace in any of the languages at hand, and of paths of the machine.
_INSIDES = re.compile(
    r"Traceback|File \"|\.py\b|site-packages|wasm backtrace|\bat [\w.<>]+ \(|\.js:\d|/usr/|/tmp/|/home/"
)


def refused(answer: httpx.Response, status: int, name: str) -> dict[str, Any]:
    """The error of an answer, after checking what holds for all of them."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    assert not _INSIDES.search(answer.text), answer.text
    error: dict[str, Any] = answer.json()
    assert f"{error['group']}/{error['code']}" == name, error
    assert set(error) <= {"group", "code", "message", "metadata", "actor"}
    assert error["message"]
    return error
