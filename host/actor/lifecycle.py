"""The life of one actor on one node, as a table; docs/lifecycle.md has it drawn.

The table is the only place that says what may follow what: `step` returns the next state or raises `IllegalStep` and
changes nothing. It is pure; whoever holds the state writes the log line.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["TABLE", "IllegalStep", "State", "Step", "step"]


class State(StrEnum):
    ABSENT = "absent"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ASLEEP = "asleep"
    FAILED = "failed"
    DESTROYED = "destroyed"


class Step(StrEnum):
    """What happens to an actor. A `cause` is anything that has to be delivered: a request, a message, an alarm."""

    CAUSE = "cause"
    STARTED = "started"
    START_FAILED = "start failed"
    FAULT = "fault"
    STOP = "stop"
    STOPPED = "stopped"
    LOST = "lost"
    DESTROY = "destroy"
    # Stopped for another version, or for a reload: it goes on at once.
    UPGRADE = "upgrade"
    # A version could not be started, and the actor goes back to another at once.
    FALL_BACK = "fall back"
    # Faults of too many different events.
    GIVE_UP = "give up"
    # An operator wants it tried again now.
    RELOAD = "reload"
    # Its row says that its last start failed, and that the time for the next has not come.
    RECALL = "recall"


TABLE: dict[tuple[State, Step], State] = {
    (State.ABSENT, Step.CAUSE): State.STARTING,
    (State.ABSENT, Step.RECALL): State.FAILED,
    (State.ASLEEP, Step.CAUSE): State.STARTING,
    (State.FAILED, Step.CAUSE): State.STARTING,
    (State.STARTING, Step.STARTED): State.RUNNING,
    (State.STARTING, Step.START_FAILED): State.FAILED,
    # The fence refused the start, or storage could not be read: nothing was learnt about the actor itself.
    (State.STARTING, Step.LOST): State.ABSENT,
    (State.RUNNING, Step.FAULT): State.STARTING,
    (State.RUNNING, Step.STOP): State.STOPPING,
    (State.RUNNING, Step.LOST): State.ABSENT,
    (State.RUNNING, Step.GIVE_UP): State.FAILED,
    (State.STARTING, Step.FALL_BACK): State.STARTING,
    (State.FAILED, Step.RELOAD): State.STARTING,
    (State.STOPPING, Step.STOPPED): State.ASLEEP,
    (State.STOPPING, Step.UPGRADE): State.STARTING,
    # A fault while stopping is the end of the isolate, which is what stopping wanted.
    (State.STOPPING, Step.FAULT): State.ASLEEP,
    (State.STOPPING, Step.LOST): State.ABSENT,
    **{(state, Step.DESTROY): State.DESTROYED for state in State},
}


class IllegalStep(RuntimeError):
    def __init__(self, state: State, taken: Step) -> None:
        super().__init__(f"an actor that is {state} cannot take the step {taken!r}")
        self.state = state
        self.step = taken


def step(state: State, taken: Step) -> State:
    """The state after `taken`; raises `IllegalStep` if the table has no such row."""
    try:
        return TABLE[state, taken]
    except KeyError:
        raise IllegalStep(state, taken) from None
