"""The actor's state document: one Value, replaced as a whole.

A document over the limit is refused, and remembered: if no smaller one has replaced it when the turn ends, the turn is
a fault. A guest that ignores the refusal would otherwise go on with a state that is not the one on disk.
"""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.errors import limit_error
from host.model.limits import Limits

__all__ = ["get_document", "put_document"]


def get_document(state: ActorState) -> bytes | None:
    return state.document


def put_document(state: ActorState, recorder: TurnRecorder, limits: Limits, document: bytes) -> None:
    if len(document) > limits.state:
        recorder.over_state = len(document)
        raise limit_error("state", len(document), limits.state, "keep what grows in KV")
    state.document = document
    recorder.state = document
    recorder.over_state = None
