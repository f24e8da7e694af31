"""What a host function sees of the isolate that calls it, and the register by which it is found.

One cell per store, found by the address of wasmtime's store context, which every call hands over and which never moves.
The register is the only state that all isolates of the process share; its entries are made and removed by the isolate's
owner. It also keeps open isolates out of the garbage collector's hands: a store is closed by its owner or not at all.
"""

from __future__ import annotations

import os
import threading

from host.isolate.memory import GuestMemory
from host.isolate.ticker import Ticker
from host.isolate.turn_host import TurnHost
from host.model.limits import Limits

__all__ = ["CELLS", "Cell"]


class Cell:
    """`reason` is the slot for the exception that ends the guest; `kept` is a reply that did not fit."""

    __slots__ = (
        "asks",
        "context",
        "dead",
        "host",
        "kept",
        "limits",
        "lock",
        "memory",
        "reason",
        "soft_stop",
        "ticker",
        "told_to_stop",
    )

    def __init__(self, context: int, limits: Limits, host: TurnHost, ticker: Ticker) -> None:
        self.context = context
        self.limits = limits
        self.host = host
        self.ticker = ticker
        self.memory: GuestMemory | None = None
        self.kept: bytes | None = None
        self.reason: BaseException | None = None
        self.soft_stop = 0
        self.asks = 0
        self.told_to_stop = False
        self.dead = False
        self.lock = threading.Lock()


CELLS: dict[int, Cell] = {}


def _forget_in_child() -> None:
    """A forked child has no ticker and no threads of the engine: its copies of the isolates are never entered."""
    for cell in CELLS.values():
        cell.dead = True
        cell.ticker.stopped = True
    CELLS.clear()


os.register_at_fork(after_in_child=_forget_in_child)
