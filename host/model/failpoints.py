"""Fail points: places on the way of an event at which a test makes something happen, a kill above all.

Crash points are enumerated, not sampled: each place where a crash could tell apart what is on
disk from what somebody was told is a member of `FailPoint`. A host started with DORMICE_FAILPOINT has one of them (or
all) armed; otherwise `OFF` stands in every layer, and passing a point costs one look at `on`.

Points are passed on executor threads and on the event loop; what is done at one must work on both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from itertools import count
from typing import Literal, cast, get_args

from host.model.errors import CallerError

__all__ = [
    "AFTER_CALL",
    "GUEST_POINTS",
    "OFF",
    "Act",
    "FailAction",
    "FailPoint",
    "FailPoints",
    "FailSetting",
    "parse_failpoint",
]

FailAction = Literal["kill", "trap", "cut", "trace"]


class FailPoint(Enum):
    """In the order in which an event passes them. `call_…`: in the turn, when that host call has been carried out and
    before its answer is with the guest."""

    BEFORE_TURN = "before_turn"
    CALL_KV_GET = "call_kv_get"
    CALL_KV_PUT = "call_kv_put"
    CALL_KV_DELETE = "call_kv_delete"
    CALL_KV_LIST = "call_kv_list"
    CALL_KV_DELETE_RANGE = "call_kv_delete_range"
    CALL_STATE_GET = "call_state_get"
    CALL_STATE_PUT = "call_state_put"
    CALL_ALARM_SET = "call_alarm_set"
    CALL_ALARM_CANCEL = "call_alarm_cancel"
    CALL_ALARM_LIST = "call_alarm_list"
    CALL_CRON_SET = "call_cron_set"
    CALL_CRON_DELETE = "call_cron_delete"
    CALL_CRON_LIST = "call_cron_list"
    CALL_CRON_HISTORY = "call_cron_history"
    CALL_SOCKET_SEND = "call_socket_send"
    CALL_SOCKET_CLOSE = "call_socket_close"
    CALL_EVENT_SEND = "call_event_send"
    CALL_EVENT_BROADCAST = "call_event_broadcast"
    CALL_SOCKET_SET_STATE = "call_socket_set_state"
    CALL_SOCKET_SET_TAGS = "call_socket_set_tags"
    CALL_SOCKET_LIST = "call_socket_list"
    CALL_LOG = "call_log"
    CALL_NOW = "call_now"
    CALL_RANDOM = "call_random"
    CALL_SLEEP = "call_sleep"
    CALL_DESTROY = "call_destroy"
    CALL_KEEP_AWAKE = "call_keep_awake"
    CALL_TIMER = "call_timer"
    CALL_TIMER_CANCEL = "call_timer_cancel"
    CALL_FETCH = "call_fetch"
    CALL_ACTOR_CALL = "call_actor_call"
    CALL_CALL_CANCEL = "call_call_cancel"
    BEFORE_COMMIT = "before_commit"
    AFTER_COMMIT = "after_commit"
    BEFORE_ACK = "before_ack"


AFTER_CALL: dict[str, FailPoint] = {
    point.value.removeprefix("call_"): point for point in FailPoint if point.value.startswith("call_")
}
"""The point behind each row of the host-call table, by the name of the call."""

GUEST_POINTS = frozenset({FailPoint.BEFORE_TURN, *AFTER_CALL.values()})
"""Where an exception ends the guest, and nothing else."""

Act = Callable[[FailPoint], None]
ANY = "any"


@dataclass(frozen=True, slots=True)
class FailSetting:
    """What to do at which hit of a point; `point` None is every point. `kill` ends the process by SIGKILL, `trap` ends
    the guest that is on the stack, `cut` drops every client's TCP connection, `trace` writes a log line at every
    hit from the nth on."""

    point: FailPoint | None
    nth: int
    action: FailAction


def parse_failpoint(text: str) -> FailSetting:
    """`<name or any>[:<nth hit>][:<action>]`; raises `request/invalid`."""
    name, *rest = text.split(":")
    nth, action = 1, "kill"
    if rest and rest[0].isdecimal():
        nth = int(rest.pop(0))
    if rest:
        action = rest.pop(0)
    known = {point.value: point for point in FailPoint}
    point = known.get(name)
    fits = point in GUEST_POINTS if action == "trap" else point is not None or (name == ANY and action == "trace")
    if rest or nth < 1 or action not in get_args(FailAction) or not fits:
        raise CallerError(
            "request",
            "invalid",
            f"DORMICE_FAILPOINT is <point>[:<nth hit>][:<{'|'.join(get_args(FailAction))}>] or {ANY}:trace, with a "
            f"point of: {', '.join(known)}; a trap needs a point inside a turn; not {text!r}",
        )
    return FailSetting(point, nth, cast(FailAction, action))


class FailPoints:
    """Counts the hits of the armed point and calls `act` at the nth (at every hit if `every` is set). Whoever passes
    a point looks at `on` first."""

    __slots__ = ("_act", "_every", "_hits", "_nth", "_point", "on")

    def __init__(
        self, point: FailPoint | None = None, act: Act | None = None, *, nth: int = 1, every: bool = False
    ) -> None:
        self.on = act is not None
        self._point = point
        self._act = act
        self._nth = nth
        self._every = every
        self._hits = count(1)

    def hit(self, point: FailPoint) -> None:
        """May not return, or raise GuestFault."""
        if self._act is None or (self._point is not None and point is not self._point):
            return
        hits = next(self._hits)
        if hits == self._nth or (self._every and hits > self._nth):
            self._act(point)


OFF = FailPoints()
