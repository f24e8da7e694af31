"""Events to the clients of /connect connections: to one of them, or to all that are subscribed.

They are outputs like any frame. An event that goes to many is encoded once in each encoding, and what it costs is
looked at before anything is recorded: one call of a guest makes as many frames as there are subscribers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from host.capabilities.recorder import TurnRecorder
from host.capabilities.sockets import open_connection
from host.capabilities.state import ActorState
from host.model.effects import SendFrame
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits

__all__ = ["broadcast", "check_event_name", "send"]

# Of those protocols that are encodings.
Encoding = Literal["json", "cbor", "bare"]

# What one more frame of an event costs that is kept in memory once for all who get it.
SHARED = 64

Encode = Callable[[Encoding], str | bytes]


def check_event_name(limits: Limits, name: str) -> None:
    size = len(name.encode("utf-8", "replace"))
    if size > limits.event_name:
        raise limit_error("event_name", size, limits.event_name, "use a shorter name")


def send(state: ActorState, recorder: TurnRecorder, limits: Limits, conn_id: str, name: str, encode: Encode) -> None:
    """To one connection, whatever it is subscribed to."""
    connection = open_connection(state, conn_id)
    if not connection.protocol:
        raise CallerError("request", "invalid", "this connection is a raw WebSocket; send it text or data")
    check_event_name(limits, name)
    frame, size = _frame(connection.protocol, encode, limits)
    recorder.output(SendFrame(conn_id, frame), size)


def broadcast(state: ActorState, recorder: TurnRecorder, limits: Limits, name: str, encode: Encode) -> int:
    """To every connection that is subscribed; how many they are."""
    check_event_name(limits, name)
    wanted = [connection for connection in state.subscribers.get(name, {}).values() if connection.open]
    if not wanted:
        return 0
    frames: dict[str, tuple[str | bytes, int]] = {}
    for connection in wanted:
        if connection.protocol and connection.protocol not in frames:
            frames[connection.protocol] = _frame(connection.protocol, encode, limits)
    cost = sum(size for _, size in frames.values())
    cost += sum(frames[one.protocol][1] if one.is_session else SHARED for one in wanted)
    if recorder.size + cost > limits.effects:
        advice = "broadcast less in one turn"
        raise limit_error("effects", recorder.size + cost, limits.effects, advice)
    recorder.outputs += [SendFrame(one.conn_id, frames[one.protocol][0]) for one in wanted]
    recorder.size += cost
    return len(wanted)


def _frame(protocol: Encoding, encode: Encode, limits: Limits) -> tuple[str | bytes, int]:
    """The frame and its size in bytes."""
    frame = encode(protocol)
    size = len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode())
    if size > limits.message:
        raise limit_error("message", size, limits.message, "send less at a time", name="message/outgoing_too_long")
    return frame, size
