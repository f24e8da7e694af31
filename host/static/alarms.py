"""Alarms of a static actor: durable, at least once, by name; and actions run later, on top of them."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Raw, Struct

from host.bridge.envelopes import AlarmCancel, AlarmInfo, AlarmList, AlarmSet, AlarmTime, Random
from host.static.calls import Caller
from host.static.values import native
from host.wire.values import from_python

__all__ = ["SCHEDULED", "Alarm", "Alarms", "PendingAlarm", "Schedule", "ScheduledAction"]

# Ids of `Schedule` begin with it and `Alarms` refuses it, so that neither is taken for the other.
SCHEDULED = "$schedule:"


class Alarm(Struct, frozen=True):
    """One that is due: (`id`, `scheduled_at`) names it for ever, `attempt` counts from 1. `scheduled_at` in ms."""

    id: str
    payload: Any
    scheduled_at: int
    attempt: int


class PendingAlarm(Struct, frozen=True):
    id: str
    at: int
    payload: Any


class ScheduledAction(Struct, frozen=True):
    """Runs `at` (ms)."""

    id: str
    action: str
    args: tuple[Any, ...]
    at: int


class Alarms:
    __slots__ = ("_call",)

    def __init__(self, call: Caller) -> None:
        self._call = call

    def set(self, id: str, *, at: int | None = None, after: int | None = None, payload: Any = None) -> int:
        """Sets or replaces the alarm of this id, `at` (ms since the epoch) or `after` (ms from now): exactly one. A
        past time fires now. Returns the time, in ms."""
        if id.startswith("$"):
            raise ValueError("the id of an alarm does not start with $")
        if (at is None) == (after is None):
            raise ValueError("an alarm needs either at (ms since the epoch) or after (ms from now)")
        return _set(self._call, id, at, after, payload)

    def cancel(self, id: str) -> bool:
        """True if there was one."""
        return bool(self._call(AlarmCancel(id)))

    def list(self) -> list[PendingAlarm]:
        """The earliest first."""
        rows: list[AlarmInfo] = self._call(AlarmList())
        return [
            PendingAlarm(row.alarm, row.at, native(bytes(row.payload)))
            for row in rows
            if not row.alarm.startswith(SCHEDULED)
        ]


class Schedule:
    """Runs an action of the actor later; what the action returns is dropped."""

    __slots__ = ("_actions", "_call")

    def __init__(self, call: Caller, actions: frozenset[str]) -> None:
        self._call = call
        self._actions = actions

    def after(self, ms: int, action: str, *args: Any) -> str:
        """Returns the id, for `cancel`."""
        return self._later(None, ms, action, args)

    def at(self, ms: int, action: str, *args: Any) -> str:
        return self._later(ms, None, action, args)

    def get(self, id: str) -> ScheduledAction | None:
        return next((one for one in self.list() if one.id == id), None)

    def cancel(self, id: str) -> bool:
        return id.startswith(SCHEDULED) and bool(self._call(AlarmCancel(id)))

    def list(self) -> list[ScheduledAction]:
        """The earliest first."""
        rows: list[AlarmInfo] = self._call(AlarmList())
        return [_scheduled(row) for row in rows if row.alarm.startswith(SCHEDULED)]

    def _later(self, at: int | None, after: int | None, action: str, args: tuple[Any, ...]) -> str:
        if action not in self._actions:
            raise ValueError(f"this actor has no action {action!r}")
        random: bytes = self._call(Random(16))
        id = f"{SCHEDULED}{random.hex()}"
        _set(self._call, id, at, after, {"action": action, "args": [*args]})
        return id


def _scheduled(row: AlarmInfo) -> ScheduledAction:
    payload = native(bytes(row.payload))
    return ScheduledAction(row.alarm, payload["action"], tuple(payload["args"]), row.at)


def _set(call: Caller, id: str, at: int | None, after: int | None, payload: Any) -> int:
    answer: AlarmTime = call(
        AlarmSet(
            id,
            at=UNSET if at is None else at,
            after=UNSET if after is None else after,
            payload=Raw(from_python(payload)),
        )
    )
    return answer.at
