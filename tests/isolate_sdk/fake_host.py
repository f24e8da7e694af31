"""A host in memory: answers every host call the way the bridge promises, and remembers what was asked.

Every request is decoded with the Structs of the real bridge, so a call whose shape the host would refuse fails here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from host.bridge import envelopes as env
from tests.isolate_sdk.frames import Buffers, join_frame, split_frame

__all__ = ["FakeHost"]


class FakeHost:
    """What the guest can see of the outside, as plain attributes."""

    def __init__(self) -> None:
        self.kv: dict[bytes, bytes] = {}
        self.state: Any = None
        self.alarms: dict[str, tuple[int, Any]] = {}
        self.events: list[tuple[str, str, Any]] = []
        self.crons: list[dict[str, Any]] = []
        self.cron_jobs: list[dict[str, Any]] = []
        self.cron_runs: list[dict[str, Any]] = []
        self.sent: list[tuple[str, str | bytes]] = []
        self.closed: list[tuple[str, int, str]] = []
        self.conn_states: dict[str, Any] = {}
        self.conn_tags: dict[str, list[str]] = {}
        self.connections: list[dict[str, Any]] = []
        self.logs: list[tuple[str, str]] = []
        self.timers: list[tuple[int, int]] = []
        self.ended_timers: list[int] = []
        self.held: list[tuple[int, int]] = []
        self.deferred: list[tuple[int, env.Fetch | env.ActorCall, bytes]] = []
        self.cancelled: list[int] = []
        self.calls: list[str] = []
        self.refuse: dict[str, int | dict[str, Any]] = {}
        # The longest answer to a call, in bytes; a longer one is -4.
        self.longest: dict[str, int] = {}
        self.stderr = ""
        self.now = 0
        self.interrupt = False
        self.asked = 0
        self._random = 0
        self._call_id = 0

    def answer(self, frame: bytes) -> int | bytes:
        """A reply frame, or a negative number."""
        header, buffers = split_frame(frame)
        call = msgspec.json.decode(header, type=env.Call)
        name = str(msgspec.json.decode(header)["call"])
        self.calls.append(name)
        if name in self.refuse:
            refusal = self.refuse[name]
            return refusal if isinstance(refusal, int) else join_frame({"error": refusal})
        out = Buffers()

        def data(field: env.Buffer) -> bytes:
            return buffers[field.index] if isinstance(field, env.Bin) else field

        reply = join_frame({"ok": self._run(call, data, out)}, out)
        return -4 if len(reply) > self.longest.get(name, len(reply)) else reply

    def _run(self, call: Any, data: Any, out: Buffers) -> Any:
        match call:
            case env.KvGet():
                found = [self.kv.get(data(key)) for key in call.keys]
                return [None if value is None else out.field(value) for value in found]
            case env.KvPut():
                self.kv.update({data(key): data(value) for key, value in call.entries})
            case env.KvDelete():
                for key in call.keys:
                    self.kv.pop(data(key), None)
            case env.KvList():
                return self._list(call, data, out)
            case env.KvDeleteRange():
                start, end = data(call.start), data(call.end)
                self.kv = {k: v for k, v in self.kv.items() if not start <= k < end}
            case env.StateGet():
                return self.state
            case env.StatePut():
                self.state = msgspec.json.decode(call.value)
            case env.AlarmSet():
                after = 0 if isinstance(call.after, msgspec.UnsetType) else call.after
                at = self.now + after if isinstance(call.at, msgspec.UnsetType) else call.at
                assert isinstance(call.at, int) != isinstance(call.after, int)
                payload = None if isinstance(call.payload, msgspec.UnsetType) else msgspec.json.decode(call.payload)
                self.alarms[call.alarm] = (at, payload)
                return {"alarm": call.alarm, "at": at}
            case env.AlarmCancel():
                return self.alarms.pop(call.alarm, None) is not None
            case env.AlarmList():
                rows = sorted((at, alarm, payload) for alarm, (at, payload) in self.alarms.items())
                return [{"alarm": alarm, "at": at, "payload": payload} for at, alarm, payload in rows]
            case env.CronSet():
                asked = msgspec.json.decode(msgspec.json.encode(call))
                del asked["call"]
                self.crons.append(asked)
                return {"cron": call.cron, "at": self.now}
            case env.CronDelete():
                before = len(self.cron_jobs)
                self.cron_jobs = [job for job in self.cron_jobs if job["cron"] != call.cron]
                return len(self.cron_jobs) < before
            case env.CronList():
                return self.cron_jobs
            case env.CronHistory():
                return self.cron_runs[: None if isinstance(call.limit, msgspec.UnsetType) else call.limit]
            case env.SocketSend():
                assert (call.text is msgspec.UNSET) != (call.data is msgspec.UNSET)
                self.sent.append((call.conn, data(call.data) if call.text is msgspec.UNSET else str(call.text)))
            case env.SocketClose():
                self.closed.append((call.conn, call.code, call.reason))
            case env.EventSend():
                self.events.append((call.conn, call.name, msgspec.json.decode(call.args)))
            case env.EventBroadcast():
                self.events.append(("*", call.name, msgspec.json.decode(call.args)))
                return 1
            case env.SocketSetState():
                self.conn_states[call.conn] = msgspec.json.decode(call.state)
            case env.SocketSetTags():
                self.conn_tags[call.conn] = call.tags
            case env.SocketList():
                rest = [row for row in self.connections if row["conn"] > call.after]
                return rest[: call.limit]
            case env.Log():
                self.logs.append((call.level, call.message))
            case env.Now():
                return self.now
            case env.Random():
                self._random += 1
                return out.field(bytes((i + self._random) % 256 for i in range(call.len)))
            case env.KeepAwake():
                self.held.append((call.awake, call.wait))
            case env.Fetch() | env.ActorCall():
                self._call_id += 1
                body = data(call.body) if isinstance(call, env.Fetch) else b""
                self.deferred.append((self._call_id, call, body))
                return {"call": self._call_id}
            case env.CallCancel():
                self.cancelled.append(call.which)
                return True
            case env.Timer():
                self._call_id += 1
                self.timers.append((self._call_id, call.after))
                return {"call": self._call_id}
            case env.TimerCancel():
                self.ended_timers.append(call.timer)
                return True
        return None

    def _list(self, call: env.KvList, data: Any, out: Buffers) -> Any:
        assert isinstance(call.prefix, msgspec.UnsetType) or isinstance(call.start, msgspec.UnsetType)
        keys = sorted(self.kv, reverse=call.reverse)
        if not isinstance(call.prefix, msgspec.UnsetType):
            keys = [key for key in keys if key.startswith(data(call.prefix))]
        if not isinstance(call.start, msgspec.UnsetType):
            keys = [key for key in keys if key >= data(call.start)]
        if not isinstance(call.end, msgspec.UnsetType):
            keys = [key for key in keys if key < data(call.end)]
        if not isinstance(call.limit, msgspec.UnsetType):
            keys = keys[: call.limit]
        return [[out.field(key), out.field(self.kv[key])] for key in keys]
