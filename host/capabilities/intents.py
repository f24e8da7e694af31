"""What a guest wants of its own life. An intent is an effect: the actor acts on it after the commit of the turn."""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder

__all__ = ["sleep"]


def sleep(recorder: TurnRecorder) -> None:
    """Sleep as soon as what is in work has settled."""
    recorder.sleep = True
