"""Rows and units for the storage tests, with ids that are easy to tell apart."""

from __future__ import annotations

from typing import Any

from host.model.effects import ActorChange, CommitUnit, IndexUpdate
from host.model.errors import ErrorInfo
from host.model.records import AlarmRow, ConnectionRow, CronRun, DeadLetter
from host.storage.driver import CreateActor, Driver

MODULE = "ab" * 32


def ident(number: int) -> str:
    return f"{number:032x}"


def wanted(number: int, key: tuple[str, ...] = ("k",), *, name: str = "room", **more: Any) -> CreateActor:
    more = {"tenant": "default", "version": 1, "module": MODULE, "now": 1_000 + number, **more}
    return CreateActor(actor_id=ident(number), name=name, key=key, **more)


async def create(driver: Driver, number: int, **more: Any) -> str:
    """A new actor of its own key; its id."""
    record, created = await driver.get_or_create(wanted(number, (f"key-{number}",), **more))
    assert created
    return record.actor_id


def unit(actor_id: str, hop_seq: int, **more: Any) -> CommitUnit:
    """Of generation 1 and epoch 1; the first hop claims."""
    more = {"generation": 1, "epoch": 1, "claims": hop_seq == 1, **more}
    return CommitUnit(actor_id=actor_id, hop_seq=hop_seq, **more)


def connection(number: int = 1, **more: Any) -> ConnectionRow:
    values: dict[str, Any] = {
        "gateway_id": ident(900),
        "request_id": ident(700 + number),
        "generation": 1,
        "msg_index": 0,
        "path": "/websocket/",
        "opened_at": 5,
        "last_seen_at": 5,
        **more,
    }
    return ConnectionRow(conn_id=ident(800 + number), **values)


def index(number: int, msg_index: int, ahead: tuple[int, ...] = (), seen: int = 9) -> IndexUpdate:
    return IndexUpdate(ident(800 + number), msg_index, ahead, seen)


def alarm(alarm_id: str = "a", due_at: int = 50, **more: Any) -> AlarmRow:
    values: dict[str, Any] = {"scheduled_at": due_at, "fire_seq": 1, "payload": b"null", **more}
    return AlarmRow(alarm_id=alarm_id, due_at=due_at, **values)


def run(name: str = "x", seq: int = 1, **more: Any) -> CronRun:
    values: dict[str, Any] = {"scheduled_at": 5, "started_at": 6, "finished_at": 7, "result": "ok", **more}
    return CronRun(name=name, seq=seq, action="go", **values)


def letter(number: int) -> DeadLetter:
    return DeadLetter("message", ident(801), number, "guest/trap", "it trapped", 3, 77, b"frame \xff")


def change(**more: Any) -> ActorChange:
    values: dict[str, Any] = {
        "lifecycle": "asleep",
        "attempt": 0,
        "retry_at": None,
        "last_error": None,
        "started_once": True,
        "version": 1,
        "module": MODULE,
        "started_at": 10,
        "slept_at": None,
        **more,
    }
    return ActorChange(**values)


FAILED = ErrorInfo("guest", "trap", "it trapped", metadata=b'{"at":1}', retry_after=1.5)
