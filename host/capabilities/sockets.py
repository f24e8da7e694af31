"""What a guest does with the connections of its actor: send, close, attach a state or tags, list.

Frames and closes are outputs: they leave after the commit of their turn, in order. A connection that another actor
holds and one that never was are the same error, so nothing can be learnt by guessing ids.
"""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState, Connection
from host.model.effects import SendClose, SendFrame
from host.model.errors import CallerError, limit_error
from host.model.limits import Limits

__all__ = ["close", "list_connections", "open_connection", "send", "set_state", "set_tags"]

MAX_REASON = 123  # a close frame holds 125 bytes, two of them are the code
MAX_TAG = 64
MAX_PAGE = 256


def send(state: ActorState, recorder: TurnRecorder, limits: Limits, conn_id: str, data: str | bytes) -> None:
    connection = open_connection(state, conn_id)
    if connection.protocol:
        raise CallerError("request", "invalid", "this connection speaks the /connect protocol; send it events")
    size = len(data) if isinstance(data, bytes) else _utf8_size("text", data)
    if size > limits.message:
        raise limit_error("message", size, limits.message, "split the message", name="message/outgoing_too_long")
    recorder.output(SendFrame(connection.conn_id, data), size)


def close(state: ActorState, recorder: TurnRecorder, conn_id: str, code: int, reason: str) -> None:
    connection = open_connection(state, conn_id)
    if code != 1000 and not 3000 <= code <= 4999:
        raise CallerError("request", "invalid", f"the close code {code} is not allowed: 1000, or 3000 to 4999")
    size = _utf8_size("reason", reason)
    if size > MAX_REASON:
        raise limit_error("close_reason", size, MAX_REASON, "use a shorter reason")
    connection.open = False
    recorder.output(SendClose(connection.conn_id, code, reason), size)


def set_state(state: ActorState, recorder: TurnRecorder, limits: Limits, conn_id: str, value: bytes) -> None:
    connection = open_connection(state, conn_id)
    if len(value) > limits.conn_state:
        raise limit_error("conn_state", len(value), limits.conn_state, "keep what is large in KV")
    connection.state = value
    recorder.connections[connection.conn_id] = (value, connection.tags)


def set_tags(state: ActorState, recorder: TurnRecorder, limits: Limits, conn_id: str, tags: list[str]) -> None:
    """Replaces the tags; one given twice counts once."""
    connection = open_connection(state, conn_id)
    unique = tuple(dict.fromkeys(tags))
    if len(unique) > limits.conn_tags:
        raise limit_error("conn_tags", len(unique), limits.conn_tags, "use fewer tags")
    for tag in unique:
        size = _utf8_size("tag", tag)
        if not size:
            raise CallerError("request", "invalid", "a tag has at least one byte")
        if size > MAX_TAG:
            raise limit_error("tag", size, MAX_TAG, "use a shorter tag")
    connection.tags = unique
    recorder.connections[connection.conn_id] = (connection.state, unique)


def list_connections(state: ActorState, *, after: str, limit: int, tag: str | None) -> list[Connection]:
    """Open connections above `after` in the order of their ids, at most `limit`."""
    if limit > MAX_PAGE:
        raise limit_error("socket_list", limit, MAX_PAGE, "ask for fewer and go on after the last one")
    if limit < 1:
        raise CallerError("request", "invalid", "the limit of a list is at least 1")
    found: list[Connection] = []
    for conn_id in state.connections_after(after):
        connection = state.connections[conn_id]
        if connection.open and (tag is None or tag in connection.tags):
            found.append(connection)
            if len(found) == limit:
                break
    return found


def open_connection(state: ActorState, conn_id: str) -> Connection:
    """D9: looked up among the connections of the actor that the isolate is bound to."""
    connection = state.connections.get(conn_id)
    if connection is None:
        raise CallerError("guest", "unknown_connection", "this actor has no such connection")
    if not connection.open:
        raise CallerError("guest", "connection_closed", "this connection has been closed in this hop")
    return connection


def _utf8_size(what: str, text: str) -> int:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise CallerError("request", "invalid", f"the {what} holds half of a surrogate pair") from None
