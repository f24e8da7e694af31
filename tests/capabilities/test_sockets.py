"""Connections: frames in order, closes that are final, state and tags that are bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from host.capabilities import sockets
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.effects import SendClose, SendFrame
from host.model.errors import CallerError
from host.model.limits import Limits
from host.model.records import ConnectionRow
from tests.capabilities.support import state_with

LIMITS = Limits()
Verb = Callable[[ActorState, TurnRecorder, str], Any]

VERBS: list[Verb] = [
    lambda state, recorder, conn: sockets.send(state, recorder, LIMITS, conn, "x"),
    lambda state, recorder, conn: sockets.close(state, recorder, conn, 1000, ""),
    lambda state, recorder, conn: sockets.set_state(state, recorder, LIMITS, conn, b"1"),
    lambda state, recorder, conn: sockets.set_tags(state, recorder, LIMITS, conn, ["x"]),
]


def test_frames_and_closes_are_outputs_in_order() -> None:
    state, recorder = state_with(None, "a", "b"), TurnRecorder()
    sockets.send(state, recorder, LIMITS, "a", "é")
    sockets.send(state, recorder, LIMITS, "b", b"\x00")
    sockets.close(state, recorder, "a", 4000, "bye")
    effects = recorder.effects()
    assert effects.outputs == (SendFrame("a", "é"), SendFrame("b", b"\x00"), SendClose("a", 4000, "bye"))
    assert effects.size == 2 + 1 + 3


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_connection_is_an_error(verb: Verb) -> None:
    recorder = TurnRecorder()
    with pytest.raises(CallerError) as error:
        verb(state_with(None, "a"), recorder, "b")
    assert error.value.name == "guest/unknown_connection"
    assert recorder.total() == 0


@pytest.mark.parametrize("verb", VERBS)
def test_a_connection_closed_in_this_hop_is_an_error(verb: Verb) -> None:
    state = state_with(None, "a")
    sockets.close(state, TurnRecorder(), "a", 1000, "")
    recorder = TurnRecorder()
    with pytest.raises(CallerError) as error:
        verb(state, recorder, "a")
    assert error.value.name == "guest/connection_closed"
    assert recorder.total() == 0


def test_a_message_over_the_limit_is_outgoing_too_long() -> None:
    state, recorder, limits = state_with(None, "a"), TurnRecorder(), Limits(message=4)
    sockets.send(state, recorder, limits, "a", "éé")
    for data in ("ééx", b"12345"):
        with pytest.raises(CallerError, match=r"^message/outgoing_too_long: message: 5 used, 4 allowed"):
            sockets.send(state, recorder, limits, "a", data)


BAD_TEXT: list[Verb] = [
    lambda state, recorder, conn: sockets.send(state, recorder, LIMITS, conn, "\ud800"),
    lambda state, recorder, conn: sockets.close(state, recorder, conn, 1000, "\ud800"),
    lambda state, recorder, conn: sockets.set_tags(state, recorder, LIMITS, conn, ["\ud800"]),
]


@pytest.mark.parametrize("verb", BAD_TEXT)
def test_text_must_be_well_formed(verb: Verb) -> None:
    state, recorder = state_with(None, "a"), TurnRecorder()
    with pytest.raises(CallerError, match="surrogate"):
        verb(state, recorder, "a")
    assert state.connections["a"].open
    assert recorder.total() == 0


@pytest.mark.parametrize("code", [0, -1, 999, 1001, 1005, 1006, 1011, 1012, 2999, 5000, 10**30])
def test_only_the_codes_of_applications_close(code: int) -> None:
    state = state_with(None, "a")
    with pytest.raises(CallerError, match="close code"):
        sockets.close(state, TurnRecorder(), "a", code, "")
    assert state.connections["a"].open


def test_a_reason_fits_in_a_close_frame() -> None:
    state = state_with(None, "a")
    with pytest.raises(CallerError, match="close_reason: 124 used, 123 allowed"):
        sockets.close(state, TurnRecorder(), "a", 3000, "é" * 62)
    sockets.close(state, TurnRecorder(), "a", 4999, "é" * 61 + "x")


def test_state_and_tags_are_recorded_together() -> None:
    state, recorder = state_with(None, "a"), TurnRecorder()
    sockets.set_state(state, recorder, LIMITS, "a", b"{}")
    assert recorder.connections == {"a": (b"{}", ())}
    sockets.set_tags(state, recorder, LIMITS, "a", ["x", "y", "x"])
    assert recorder.connections == {"a": (b"{}", ("x", "y"))}
    assert recorder.total() == 4


def test_state_and_tags_are_limited() -> None:
    state, recorder = state_with(None, "a"), TurnRecorder()
    sockets.set_state(state, recorder, LIMITS, "a", bytes(16 * 1024))
    with pytest.raises(CallerError, match="conn_state"):
        sockets.set_state(state, recorder, LIMITS, "a", bytes(16 * 1024 + 1))
    for tags, what in [([str(at) for at in range(11)], "conn_tags"), (["é" * 33], "tag"), ([""], "at least one byte")]:
        with pytest.raises(CallerError, match=what):
            sockets.set_tags(state, recorder, LIMITS, "a", tags)
    sockets.set_tags(state, recorder, LIMITS, "a", ["é" * 32] + [str(at) for at in range(9)])


def test_connections_are_listed_in_pages_by_id() -> None:
    state, recorder = state_with(None, *(f"{at:03}" for at in range(300))), TurnRecorder()

    def page(after: str = "", limit: int = 256, tag: str | None = None) -> list[str]:
        return [found.conn_id for found in sockets.list_connections(state, after=after, limit=limit, tag=tag)]

    assert page() == [f"{at:03}" for at in range(256)]
    assert page("255") == [f"{at:03}" for at in range(256, 300)]
    assert page("299") == []
    assert page("2985", 5) == ["299"]
    sockets.close(state, recorder, "000", 1000, "")
    sockets.set_tags(state, recorder, LIMITS, "007", ["x"])
    assert page(limit=2) == ["001", "002"]
    assert page(tag="x") == ["007"]
    state.remove_connection("001")
    state.remove_connection("001")
    state.add_connection(ConnectionRow("0015", "g", "r", 1, 0, "/p", 0, 0, params=b"1", state=b"2", tags=("x",)))
    assert page(limit=2) == ["0015", "002"]
    assert page(tag="x") == ["0015", "007"]


@pytest.mark.parametrize("limit", [0, -1, 257])
def test_a_page_has_bounds(limit: int) -> None:
    with pytest.raises(CallerError):
        sockets.list_connections(ActorState(), after="", limit=limit, tag=None)
