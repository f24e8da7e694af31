"""What the npm package `rivetkit` writes is read here, and what is written here is what it was seen to read.

`make_vectors.mjs` has made the vectors, with that package; a change of a frame here needs them made again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from host.model.tunnel import ActionRequest, Subscription
from host.wire.frames.bodies import (
    QueueSend,
    QueueSent,
    decode_action_request,
    decode_action_result,
    decode_http_error,
    decode_queue_send,
    decode_queue_sent,
)
from host.wire.frames.to_client import ActionResponse, ErrorFrame, EventFrame, Init, decode_to_client
from host.wire.frames.to_server import decode_to_server
from host.wire.values import UNDEFINED, to_python
from tests.wire.frames.ours import ours

VECTORS: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "vectors.json").read_text())


def rows(name: str) -> list[Any]:
    return [pytest.param(row, id=f"{number}-{row['encoding']}") for number, row in enumerate(VECTORS[name])]


def data(row: dict[str, Any]) -> str | bytes:
    return str(row["text"]) if "text" in row else bytes.fromhex(row["hex"])


def body(row: dict[str, Any]) -> bytes:
    found = data(row)
    return found.encode() if isinstance(found, str) else found


def value(raw: str | bytes | None) -> Any:
    return None if raw is None else to_python(raw.encode() if isinstance(raw, str) else raw)


@pytest.mark.parametrize("row", rows("actions"))
def test_actions_of_the_client_are_read(row: dict[str, Any]) -> None:
    got = decode_to_server(row["encoding"], data(row))
    assert isinstance(got, ActionRequest)
    assert (got.id, got.name, value(got.args)) == (int(row["id"]), row["name"], value(row["args"]))


@pytest.mark.parametrize("row", rows("subscriptions"))
def test_subscriptions_of_the_client_are_read(row: dict[str, Any]) -> None:
    assert decode_to_server(row["encoding"], data(row)) == Subscription(row["event"], row["on"])


@pytest.mark.parametrize("row", rows("frames"))
def test_frames_of_a_host_are_read(row: dict[str, Any]) -> None:
    assert seen_in(decode_to_client(row["encoding"], data(row))) == without_nothing(value(row["val"]))


@pytest.mark.parametrize("row", rows("bodies"))
def test_bodies_of_the_client_are_read(row: dict[str, Any]) -> None:
    encoding, raw, expected = row["encoding"], body(row), value(row["value"])
    if row["kind"] == "action_request":
        assert value(decode_action_request(encoding, raw)) == expected
    elif row["kind"] == "action_result":
        assert value(decode_action_result(encoding, raw)) == expected
    elif row["kind"] == "queue_send":
        message = decode_queue_send(encoding, raw)
        assert (message.name, message.wait, message.timeout) == ("q", True, 1_500)
        assert value(message.body) == expected
        assert isinstance(message, QueueSend)
    else:
        sent = decode_queue_sent(encoding, raw)
        assert isinstance(sent, QueueSent)
        assert (sent.status, value(sent.response)) == ("completed", expected)


def test_what_is_written_here_is_what_the_client_was_seen_to_read() -> None:
    recorded = [
        {name: row[name] for name in ("kind", "encoding", "text", "hex") if name in row} for row in VECTORS["read"]
    ]
    assert ours() == recorded


@pytest.mark.parametrize("row", rows("read"))
def test_the_client_read_what_was_meant(row: dict[str, Any]) -> None:
    seen = value(row["seen"])
    if row["kind"] == "frame":
        frame = decode_to_client(row["encoding"], data(row))
        assert seen["tag"] == {ErrorFrame: "Error", EventFrame: "Event"}.get(type(frame), type(frame).__name__)
        assert without_nothing(seen["val"]) == seen_in(frame)
    elif row["kind"] == "action_result":
        assert seen == value(decode_action_result(row["encoding"], body(row)))
    else:
        error, actor = decode_http_error(row["encoding"], body(row))
        assert without_nothing(seen) == seen_in(ErrorFrame(error, None, actor))


def seen_in(frame: Init | ErrorFrame | ActionResponse | EventFrame) -> dict[str, Any]:
    """A frame as the protocol spells it, without what is not there."""
    if isinstance(frame, Init):
        return {"actorId": frame.actor_id, "connectionId": frame.conn_id}
    if isinstance(frame, ActionResponse):
        return {"id": frame.id, "output": value(frame.output)}
    if isinstance(frame, EventFrame):
        return {"name": frame.name, "args": value(frame.args)}
    error, actor = frame.error, frame.actor
    shown = {
        "group": error.group,
        "code": error.code,
        "message": error.message,
        "metadata": value(error.metadata),
        "actionId": frame.action_id,
        "actor": actor and {"actorId": actor.actor_id, "generation": actor.generation, "key": actor.key},
    }
    return without_nothing(shown)


def without_nothing(document: dict[str, Any]) -> dict[str, Any]:
    if "output" in document:
        return document
    return {
        name: without_nothing(item) if name == "actor" else item
        for name, item in document.items()
        if item is not None and item is not UNDEFINED
    }
