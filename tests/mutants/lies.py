"""What stands in for a guard: functions that take the true one and give the lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec

from host.actor.failures import ABORTED
from host.capabilities.state import Connection

__all__ = [
    "answers",
    "acknowledges_what_settled_ahead",
    "an_action_is_retried_once",
    "by_host_says_nothing",
    "connections_only_while_it_runs",
    "frees_everything",
    "hands_nothing_back",
    "keeps_the_count",
    "knows_every_connection",
    "last_turn_first",
    "leaps_over_gaps",
    "lets_all_out",
    "nothing",
    "reads_all_actors",
    "release_first",
]

Function = Callable[..., Any]


def nothing(true: Function) -> Function:
    """It does not do its work."""
    return lambda *args, **more: None


def answers(value: object) -> Callable[[Function], Function]:
    """It says the same of everything."""
    return lambda true: lambda *args, **more: value


def release_first(true: Function) -> Function:
    async def lie(commit: Function, release: Function) -> Any:
        release()
        return await commit()

    return lie


def last_turn_first(true: Function) -> Function:
    return lambda self, result: true(self, replace(result, turns=result.turns[::-1]))


def lets_all_out(true: Function) -> Function:
    return lambda self, effects: effects


def leaps_over_gaps(true: Function) -> Function:
    def lie(self: Any, index: int) -> None:
        self.msg_index = max(self.msg_index, index)

    return lie


def acknowledges_what_settled_ahead(true: Function) -> Function:
    def lie(self: Any, conns: dict[str, None]) -> None:
        for conn in conns:
            mark = self._ledger.marks.get(conn)
            if mark is not None:
                self._gateway.ack(conn, max((mark.msg_index, *mark.ahead)))

    return lie


def keeps_the_count(true: Function) -> Function:
    def lie(self: Any, index: int) -> None:
        before = self.buffered
        true(self, index)
        self.buffered = before

    return lie


def frees_everything(true: Function) -> Function:
    return lambda self, index: true(self, self.next_index - 1)


def an_action_is_retried_once(true: Function) -> Function:
    return lambda self: self.attempt == 1 or true(self)


def hands_nothing_back(true: Function) -> Function:
    def lie(self: Any) -> None:
        for entry in self._runner.unsettled.values():
            entry.fail(ABORTED)
        self._runner.unsettled.clear()

    return lie


def connections_only_while_it_runs(true: Function) -> Function:
    def lie(image: Any, lifecycle: str, *more: Any) -> Any:
        snapshot = true(image, lifecycle, *more)
        return snapshot if lifecycle == "running" else msgspec.structs.replace(snapshot, connections=[])

    return lie


def knows_every_connection(true: Function) -> Function:
    return lambda state, conn_id: state.connections.get(conn_id) or Connection(conn_id, "/")


def reads_all_actors(true: Function) -> Function:
    def lie(self: Any, actor_id: str) -> dict[bytes, bytes]:
        return {key: value for actor in self._actors.values() for key, value in actor.kv.items()}

    return lie


def by_host_says_nothing(true: Function) -> Function:
    return lambda self, conn, code, reason: self._close(conn, code, reason)
