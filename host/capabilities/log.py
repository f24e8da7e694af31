"""Lines that a guest logs: cut, counted, and bounded per turn and per minute.

A guest that logs without end costs itself its log and nobody else anything: lines over a budget are dropped, and how
many is part of the turn's effects. The log says so too, but at most once in a minute and start, or the notes would be
the flood: `logs_told` of the first turn of a minute that drops, with whatever was dropped since the last note.
"""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder
from host.model.effects import LogLine
from host.model.limits import Limits

__all__ = ["LEVELS", "LogBudget", "MAX_LINE"]

LEVELS = frozenset({"debug", "info", "warn", "error"})
MAX_LINE = 16 * 1024
CUT = "... (cut)"


class LogBudget:
    """One per start of an actor; `begin_turn` opens a turn's budget, and a minute's when the last is over."""

    __slots__ = ("_minute", "_minute_used", "_telling", "_turn_used", "_untold")

    def __init__(self) -> None:
        self._minute = -1
        self._minute_used = 0
        self._turn_used = 0
        self._telling: TurnRecorder | None = None
        self._untold = 0

    def begin_turn(self, now_ms: int) -> None:
        self._turn_used = 0
        minute = now_ms // 60_000
        if minute != self._minute:
            self._minute = minute
            self._minute_used = 0
            self._telling = None

    def log(self, recorder: TurnRecorder, limits: Limits, level: str, message: str) -> None:
        """An unknown level counts as info; what is not well-formed Unicode is replaced."""
        data = message.encode("utf-8", "replace")
        if len(data) > MAX_LINE:
            data = data[: MAX_LINE - len(CUT)] + CUT.encode()
        size = len(data) + 1  # an empty line is not free
        if self._minute_used + size > limits.log_minute:
            self._drop(recorder, "log_minute")
            return
        if self._turn_used + size > limits.log_turn:
            self._drop(recorder, "log_turn")
            return
        self._turn_used += size
        self._minute_used += size
        recorder.logs.append(LogLine(level if level in LEVELS else "info", data.decode("utf-8", "ignore")))
        recorder.size += size

    def _drop(self, recorder: TurnRecorder, limit: str) -> None:
        recorder.logs_dropped += 1
        recorder.refused[limit] = recorder.refused.get(limit, 0) + 1
        self._untold += 1
        if self._telling is None:
            self._telling = recorder
        if self._telling is recorder:
            recorder.logs_told += self._untold
            self._untold = 0
