"""The three imports of `isolate.`: the way out of the guest.

Numbers that a guest gets instead of a reply: -1 malformed, -2 not granted, -3 over budget, -4 too large, -5 no reply
kept. A range that lies outside the guest's memory is a fault, before anything is done.
"""

from __future__ import annotations

from host.isolate.cell import Cell
from host.isolate.memory import GuestMemory
from host.model.errors import GuestFault

__all__ = ["ASKS_PER_CALL", "host_call", "host_read", "interrupted", "memory_of"]

OVER_BUDGET = -3
TOO_LARGE = -4
NOTHING_KEPT = -5

# An interpreter asks `interrupted` thousands of times in an honest turn, so asks are counted in lots: this many are one
# call. That bounds a guest that does nothing else, and an honest one never notices.
ASKS_PER_CALL = 64


def memory_of(cell: Cell) -> GuestMemory:
    memory = cell.memory
    if memory is None:
        raise GuestFault("trap", "a start function called the host; the memory can be used from `_initialize` on")
    return memory


def host_call(cell: Cell, req: int, length: int, out: int, cap: int) -> int:
    """Copies the request out, asks the turn's host, and copies the reply in if it fits in `cap`; else it is kept for
    `host_read`. Any kept reply that was not taken is dropped."""
    memory = memory_of(cell)
    memory.check(out, cap)
    cell.kept = None
    if length > cell.limits.host_call_bytes:
        memory.check(req, length)
        return TOO_LARGE
    reply = cell.host.host_call(memory.read(req, length))
    if isinstance(reply, int):
        return reply
    size = len(reply)
    if size <= cap:
        memory.write(out, reply)
    else:
        cell.kept = reply
    return size


def host_read(cell: Cell, out: int, length: int) -> int:
    """Copies the kept reply; it can be taken once. Into too little room nothing is copied and the reply stays."""
    memory = memory_of(cell)
    memory.check(out, length)
    if cell.host.charge():
        return OVER_BUDGET
    kept = cell.kept
    if kept is None:
        return NOTHING_KEPT
    if len(kept) > length:
        return TOO_LARGE
    memory.write(out, kept)
    cell.kept = None
    return len(kept)


def interrupted(cell: Cell) -> int:
    """1 once the turn's time is up; some ticks later the epoch ends the guest."""
    asks = cell.asks = cell.asks + 1
    if not asks % ASKS_PER_CALL and cell.host.charge():
        raise GuestFault("budget", "host_calls: the guest did little else than ask whether its time is up")
    if cell.ticker.ticks < cell.soft_stop:
        return 0
    cell.told_to_stop = True
    return 1
