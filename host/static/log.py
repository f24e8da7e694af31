"""The log of a static actor: lines under its own name, under the same budget as a guest's."""

from __future__ import annotations

from host.bridge.envelopes import Log, LogLevel
from host.static.calls import Caller

__all__ = ["ActorLog"]


class ActorLog:
    __slots__ = ("_call",)

    def __init__(self, call: Caller) -> None:
        self._call = call

    def debug(self, message: str) -> None:
        self._write("debug", message)

    def info(self, message: str) -> None:
        self._write("info", message)

    def warning(self, message: str) -> None:
        self._write("warn", message)

    def error(self, message: str) -> None:
        self._write("error", message)

    def _write(self, level: LogLevel, message: str) -> None:
        self._call(Log(level, message))
