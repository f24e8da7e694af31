"""What an isolate asks of the turn that runs in it: the seam between the trampolines and the bridge.

The isolate knows nothing of envelopes, grants or effects; whatever a guest imports ends in one of these five. All are
called on the guest's thread while the guest is on the stack, so each must be bounded: no deadline interrupts the host.
An exception out of any of them ends the guest; the isolate raises it from the entry that made the call.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from host.model.errors import GuestFault
from host.model.limits import Limits

__all__ = ["NullTurnHost", "TurnHost"]


class TurnHost(Protocol):
    now_ms: int
    """The turn's frozen clock."""

    def host_call(self, req: bytes) -> bytes | int:
        """Answers a request envelope with an envelope or a negative number, -1 to -4. It counts the call by itself."""
        ...

    def charge(self) -> int:
        """Counts a call of any other import: 0 is fine, 1 is over the budget (the guest gets an error number); the call
        after that raises `guest/budget`."""
        ...

    def random(self, n: int) -> bytes:
        """The next n bytes of the actor's stream."""
        ...

    def guest_log(self, level: str, text: str) -> None:
        """A line that the guest wrote to its standard output (`info`) or error (`error`)."""
        ...


class NullTurnHost:
    """The host of code that runs outside a turn: top-level code of a module, the prelude of an image.

    The clock stands at 0, the randomness is a function of the seed alone, every host call is refused (-2), and what the
    code logs is kept in `logs` up to the log limit of a turn, for whoever looks into a failed load.
    """

    def __init__(self, seed: bytes, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.now_ms = 0
        self.logs: list[tuple[str, str]] = []
        self._seed = seed
        self._block = 0
        self._ready = b""
        self._calls = 0
        self._calls_allowed = limits.host_calls
        self._log_room = limits.log_turn

    def host_call(self, req: bytes) -> bytes | int:
        return -3 if self.charge() else -2

    def charge(self) -> int:
        self._calls += 1
        over = self._calls - self._calls_allowed
        if over > 1:
            raise GuestFault(
                "budget",
                f"host_calls: {self._calls} used, {self._calls_allowed} allowed; call the host less often at load",
                metadata=b'{"limit":"host_calls","used":%d,"allowed":%d}' % (self._calls, self._calls_allowed),
            )
        return 1 if over == 1 else 0

    def random(self, n: int) -> bytes:
        while len(self._ready) < n:
            block = self._seed + self._block.to_bytes(8, "little")
            self._ready += hashlib.shake_256(block).digest(max(4096, n))
            self._block += 1
        taken, self._ready = self._ready[:n], self._ready[n:]
        return taken

    def guest_log(self, level: str, text: str) -> None:
        room = self._log_room
        if room > 0:
            self._log_room = room - len(text.encode("utf-8", "replace"))
            self.logs.append((level, text[:room]))
