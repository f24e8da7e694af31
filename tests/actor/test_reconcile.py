"""Reconciliation at a start: each row of the table, and nothing asked of the guest."""

from __future__ import annotations

from collections.abc import Sequence

from host.actor.entries import Entry, Kind
from host.actor.ledger import Ledger
from host.actor.lines import Lines
from host.actor.mailbox import Mailbox
from host.actor.reconcile import rebind, reconcile
from host.model.records import ConnectionRow
from host.model.tunnel import Opened, SocketClosed
from host.telemetry.metrics import MetricsRegistry
from tests.actor.rows import ACTOR, closed, connection, ledger, opened


class Port:
    gateway_id = "g"

    def __init__(self, *held: str) -> None:
        self.held = held
        self.closes: list[tuple[str, int, str]] = []
        self.rebound: list[tuple[str, int]] = []
        self.fails: set[str] = set()
        self.fresh: set[str] = set()

    def connections_of(self, actor_id: str) -> Sequence[Opened]:
        assert actor_id == ACTOR
        return [Opened(ACTOR, conn, "g", "r", "/", (), None, 0) for conn in self.held]

    def is_open_acked(self, conn_id: str) -> bool | None:
        return conn_id not in self.fresh

    def close(self, conn_id: str, code: int, reason: str) -> None:
        self.closes.append((conn_id, code, reason))

    def rebind(self, conn_id: str, msg_index: int) -> bool:
        self.rebound.append((conn_id, msg_index))
        if conn_id in self.fails:
            raise RuntimeError("no binding")
        return True


class Scene:
    def __init__(
        self, rows: Sequence[ConnectionRow] = (), held: Sequence[str] = (), waiting: Sequence[Entry] = ()
    ) -> None:
        self.port = Port(*held)
        self.lines, self.mailbox, self.metrics = Lines(), Mailbox(), MetricsRegistry()
        self.ledger: Ledger = ledger(*rows)
        for entry in waiting:
            self.mailbox.post(entry)

    def run(self) -> list[SocketClosed]:
        """The close events that were queued."""
        before = set(map(id, self.mailbox.waiting()))
        reconcile(ACTOR, self.ledger, self.lines, self.mailbox, self.port, self.metrics)  # type: ignore[arg-type]
        new = [entry for entry in self.mailbox.waiting() if id(entry) not in before]
        assert all(entry.kind is Kind.CLOSED and entry.line == entry.payload.conn_id for entry in new)  # type: ignore[union-attr]
        return [entry.payload for entry in new if isinstance(entry.payload, SocketClosed)]


def test_held_and_stored_is_rebound_without_an_event() -> None:
    scene = Scene([connection("c", 4)], ["c"])
    assert scene.run() == []
    assert scene.port.closes == []
    assert scene.lines.last("c") == 4
    rebind(["c"], scene.ledger, scene.port, scene.port.close)  # type: ignore[arg-type]
    assert scene.port.rebound == [("c", 4)]


def test_held_but_not_stored_is_closed() -> None:
    scene = Scene([], ["c"])
    assert scene.run() == []
    assert scene.port.closes == [("c", 1000, "ws.meta_not_found_during_restore")]
    assert scene.metrics.counter("socket_closes", "ws.meta_not_found_during_restore") == 1


def test_stored_but_not_held_gets_one_close_event() -> None:
    scene = Scene([connection("c", 4)], [])
    (event,) = scene.run()
    assert (event.conn_id, event.code, event.reason, event.clean) == ("c", 1006, "ws.stale_metadata", False)
    assert scene.metrics.counter("socket_closes", "ws.stale_metadata") == 1
    assert scene.run() == []


def test_a_client_that_closed_meanwhile_is_not_told_twice() -> None:
    scene = Scene([connection("c", 4)], [], [closed("c")])
    assert scene.run() == []


def test_an_open_that_was_not_committed_is_not_the_case_without_a_row() -> None:
    scene = Scene([], ["c"], [opened("c")])
    assert scene.run() == []
    assert scene.port.closes == []


def test_a_connection_that_cannot_hibernate_is_closed_and_the_actor_told() -> None:
    scene = Scene([connection("c", 4, hibernatable=False)], ["c"])
    (event,) = scene.run()
    assert (event.code, event.reason) == (1012, "actor.restarted")
    assert scene.port.closes == [("c", 1012, "actor.restarted")]


def test_each_connection_is_decided_by_itself() -> None:
    scene = Scene([connection("both", 1), connection("gone", 2)], ["both", "stray"])
    assert [event.conn_id for event in scene.run()] == ["gone"]
    assert [conn for conn, _, _ in scene.port.closes] == ["stray"]


def test_a_rebind_that_fails_closes_that_connection_alone() -> None:
    scene = Scene([connection("a", 1), connection("b", 2), connection("c", 3)], ["a", "b", "c"])
    scene.run()
    scene.port.fails.add("b")
    rebind(["a", "b", "c"], scene.ledger, scene.port, scene.port.close)  # type: ignore[arg-type]
    assert scene.port.rebound == [("a", 1), ("b", 2), ("c", 3)]
    assert scene.port.closes == [("b", 1011, "ws.restore_error")]
