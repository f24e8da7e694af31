"""Collects what one turn wants to change or send. Nothing of it is visible before the commit."""

from __future__ import annotations

from host.model.calls import DeferredCall
from host.model.effects import DeferredTimer, KvDelete, KvOp, KvPut, LogLine, Output, TurnEffects
from host.model.records import AlarmRow

__all__ = ["TurnRecorder"]


class TurnRecorder:
    """Lists in the order of the calls; of state, alarms, connections and holds only the last value of the turn counts.
    `over_state` is the size of a state document that was refused, until a smaller one replaces it; `refused` counts the
    calls that a limit refused, by its name; `cron_sets` those that set a cron."""

    __slots__ = (
        "alarms",
        "cancelled",
        "connections",
        "cron_sets",
        "deferred",
        "destroy",
        "ended_timers",
        "held",
        "kv",
        "logs",
        "logs_dropped",
        "logs_told",
        "outputs",
        "over_state",
        "refused",
        "runs_trimmed",
        "size",
        "sleep",
        "state",
        "timers",
    )

    def __init__(self) -> None:
        self.kv: list[KvOp] = []
        self.state: bytes | None = None
        self.alarms: dict[str, AlarmRow | None] = {}
        self.runs_trimmed: dict[str, int] = {}
        self.cron_sets = 0
        self.connections: dict[str, tuple[bytes | None, tuple[str, ...]]] = {}
        self.outputs: list[Output] = []
        self.logs: list[LogLine] = []
        self.timers: list[DeferredTimer] = []
        self.ended_timers: list[int] = []
        self.deferred: list[DeferredCall] = []
        self.cancelled: list[int] = []
        self.sleep = False
        self.destroy = False
        self.held: tuple[int, int] | None = None
        self.logs_dropped = 0
        self.logs_told = 0
        self.over_state: int | None = None
        self.refused: dict[str, int] = {}
        self.size = 0

    def put(self, key: bytes, value: bytes) -> None:
        self.kv.append(KvPut(key, value))
        self.size += len(key) + len(value)

    def delete(self, key: bytes) -> None:
        self.kv.append(KvDelete(key))
        self.size += len(key)

    def output(self, output: Output, size: int) -> None:
        self.outputs.append(output)
        self.size += size

    def defer(self, call: DeferredCall) -> None:
        self.deferred.append(call)
        self.size += call.size

    def give_up(self, call: int) -> None:
        """A call of this turn does not even start."""
        self.deferred = [each for each in self.deferred if each.call != call]
        self.cancelled.append(call)

    def effects(self) -> TurnEffects:
        return TurnEffects(
            kv=tuple(self.kv),
            state=self.state,
            alarms=self.alarms,
            runs_trimmed=self.runs_trimmed,
            connections=self.connections,
            outputs=tuple(self.outputs),
            logs=tuple(self.logs),
            timers=tuple(self.timers),
            ended_timers=tuple(self.ended_timers),
            deferred=tuple(self.deferred),
            cancelled=tuple(self.cancelled),
            sleep=self.sleep,
            destroy=self.destroy,
            held=self.held,
            logs_dropped=self.logs_dropped,
            logs_told=self.logs_told,
            refused=self.refused,
            size=self.total(),
        )

    def total(self) -> int:
        """Raw bytes of all that is recorded."""
        size = self.size
        if self.state is not None:
            size += len(self.state)
        for alarm_id, row in self.alarms.items():
            size += len(alarm_id) + (0 if row is None else len(row.payload))
        for attached, tags in self.connections.values():
            size += (0 if attached is None else len(attached)) + sum(map(len, tags))
        return size
