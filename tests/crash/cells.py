"""The cells of the matrix: each fail point crossed with each blow, and those that cannot happen, with the reason."""

from __future__ import annotations

from enum import Enum

from host.model.failpoints import GUEST_POINTS, FailPoint

__all__ = ["ALARM_POINTS", "APART", "Blow", "CELLS", "IMPOSSIBLE", "in_process", "real_kills"]


class Blow(Enum):
    KILL = "kill -9 of the host"
    TRAP = "guest trap"
    REPOST = "the tunnel is cut: the gateway posts again what is unacknowledged"
    FORGET = "the tunnel is cut: the gateway forgets the connections"
    CLOSE = "client closes"
    DESTROY = "destroy"


CELLS = [(point, blow) for point in FailPoint for blow in Blow]

_NO_GUEST = "no guest is on the stack: its turn is over, and the next begins only after the acknowledgement"
_ONE_STEP = (
    "from the answer of the commit to the last acknowledgement the instance awaits nothing, and only the event loop "
    "takes a destroy: it comes before that answer (before_commit has it) or after the acknowledgement (before_turn)"
)

IMPOSSIBLE: dict[tuple[FailPoint, Blow], str] = {
    **{(point, Blow.TRAP): _NO_GUEST for point in FailPoint if point not in GUEST_POINTS},
    (FailPoint.AFTER_COMMIT, Blow.DESTROY): _ONE_STEP,
    (FailPoint.BEFORE_ACK, Blow.DESTROY): _ONE_STEP,
}

# Points with tests of their own: the clock of a JavaScript guest is the turn's own, so that it never makes the call
# `now`, a story ends with the call `destroy`, and events are sent to /connect connections only.
APART = (FailPoint.CALL_NOW, FailPoint.CALL_DESTROY, FailPoint.CALL_EVENT_SEND)

# Points that an alarm on its way passes. Alarms are not acknowledged to a gateway.
ALARM_POINTS = [point for point in FailPoint if point not in (FailPoint.BEFORE_ACK, *APART)]


def in_process() -> list[tuple[FailPoint, Blow]]:
    return [cell for cell in CELLS if cell not in IMPOSSIBLE and cell[1] is not Blow.KILL]


def real_kills() -> list[FailPoint]:
    return [point for point, blow in CELLS if blow is Blow.KILL and (point, blow) not in IMPOSSIBLE]
