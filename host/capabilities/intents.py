"""What a guest wants of its own life. An intent is an effect: the actor acts on it after the commit of the turn."""

from __future__ import annotations

from host.capabilities.recorder import TurnRecorder
from host.model.errors import CallerError

__all__ = ["MAX_HOLDS", "destroy", "keep_awake", "sleep"]

MAX_HOLDS = 2**31 - 1


def sleep(recorder: TurnRecorder) -> None:
    """Sleep as soon as what is in work has settled."""
    recorder.sleep = True


def destroy(recorder: TurnRecorder) -> None:
    """The end of the actor, for good: nothing new begins after this turn."""
    recorder.destroy = True


def keep_awake(recorder: TurnRecorder, awake: int, wait: int) -> None:
    """From now on `awake` promises hold the idle clock and `wait` more hold up the end of a stop; both are counts, not
    changes. Neither lengthens the grace."""
    if not (0 <= awake <= MAX_HOLDS and 0 <= wait <= MAX_HOLDS):
        raise CallerError("request", "invalid", f"'awake' and 'wait' are counts of 0 to {MAX_HOLDS}")
    recorder.held = (awake, wait)
