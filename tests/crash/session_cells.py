"""The cells of the matrix for sessions: each fail point crossed with each blow, and those that cannot happen."""

from __future__ import annotations

from enum import Enum

from host.model.failpoints import GUEST_POINTS, FailPoint

__all__ = ["IMPOSSIBLE", "SESSION_CELLS", "SessionBlow", "blows_in_process", "session_kills"]


class SessionBlow(Enum):
    KILL = "kill -9 of the host"
    TRAP = "guest trap"
    TUNNEL = "the tunnel is cut: the gateway posts again what is unacknowledged"
    DROP = "the client's TCP connection is aborted"
    TAKE_OVER = "a second connection takes the session over"
    DESTROY = "destroy"


SESSION_CELLS = [(point, blow) for point in FailPoint for blow in SessionBlow]

_NO_GUEST = "no guest is on the stack: its turn is over, and the next begins only after the acknowledgement"
_ONE_STEP = (
    "from the answer of the commit to the last acknowledgement the instance awaits nothing, and only the event loop "
    "takes a destroy: it comes before that answer (before_commit has it) or after the acknowledgement (before_turn)"
)
_NOT_JAVASCRIPT = (
    "the clock of a JavaScript guest is the turn's own, so that it never makes this call; the same place is passed by "
    "call_random, and the call itself is crossed with each blow by the matrix of plain connections"
)
_THE_END = (
    "the call ends the actor, and with it every session of it: nothing is left to be brought through; the matrix of "
    "plain connections crosses it with each blow"
)
_NO_EVENT = "an event goes to a /connect connection: the matrix of sessions on those has this point"

IMPOSSIBLE: dict[tuple[FailPoint, SessionBlow], str] = {
    **{(point, SessionBlow.TRAP): _NO_GUEST for point in FailPoint if point not in GUEST_POINTS},
    (FailPoint.AFTER_COMMIT, SessionBlow.DESTROY): _ONE_STEP,
    (FailPoint.BEFORE_ACK, SessionBlow.DESTROY): _ONE_STEP,
    **{(FailPoint.CALL_NOW, blow): _NOT_JAVASCRIPT for blow in SessionBlow},
    **{(FailPoint.CALL_DESTROY, blow): _THE_END for blow in SessionBlow},
    **{(FailPoint.CALL_EVENT_SEND, blow): _NO_EVENT for blow in SessionBlow},
}


def blows_in_process() -> list[tuple[FailPoint, SessionBlow]]:
    return [cell for cell in SESSION_CELLS if cell not in IMPOSSIBLE and cell[1] is not SessionBlow.KILL]


def session_kills() -> list[FailPoint]:
    return [point for point, blow in SESSION_CELLS if blow is SessionBlow.KILL and (point, blow) not in IMPOSSIBLE]
