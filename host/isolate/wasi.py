"""The part of `wasi_snapshot_preview1` that ordinary toolchains link in, and not a function more.

There are no files, no environment, no arguments; the clock is the turn's frozen one, randomness the actor's stream, and
standard output and error are the log. Each function answers an error number; a pointer outside the memory is a fault as
everywhere, so that a guest cannot probe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from host.isolate.cell import Cell
from host.isolate.faults import exit_fault
from host.isolate.host_imports import host_call, host_read, interrupted, memory_of

__all__ = ["HANDLERS"]

OK = 0
AGAIN = 6
BAD_FILE = 8
INVALID = 28
NOT_SEEKABLE = 70

_LEVELS = {1: "info", 2: "error"}
_CLOCKS = 4
_MAX_VECTORS = 1_024
_MAX_WRITE = 64 * 1024
_MAX_RANDOM = 64 * 1024

# A character device that can be written: so a C library flushes each line.
_FDSTAT = bytes([2, 0, 0, 0, 0, 0, 0, 0]) + (1 << 6).to_bytes(8, "little") + bytes(8)


def fd_write(cell: Cell, fd: int, vectors: int, count: int, written: int) -> int:
    """Logs what is written to 1 and 2. More than 64 KiB at once is a short write, which callers must expect anyway."""
    memory = memory_of(cell)
    level = _LEVELS.get(fd)
    if cell.host.charge():
        return AGAIN
    if level is None:
        return BAD_FILE
    if count > _MAX_VECTORS:
        return INVALID
    table = memory.read(vectors, 8 * count)
    parts, room = [], _MAX_WRITE
    for at in range(0, len(table), 8):
        pointer = int.from_bytes(table[at : at + 4], "little")
        length = int.from_bytes(table[at + 4 : at + 8], "little")
        memory.check(pointer, length)
        part = memory.read(pointer, min(length, room))
        parts.append(part)
        room -= len(part)
    data = b"".join(parts)
    memory.write_u32(written, len(data))
    text = data.decode("utf-8", "replace").removesuffix("\n")
    if text:
        cell.host.guest_log(level, text)
    return OK


def fd_close(cell: Cell, fd: int) -> int:
    if cell.host.charge():
        return AGAIN
    return OK if fd in _LEVELS else BAD_FILE


def fd_fdstat_get(cell: Cell, fd: int, out: int) -> int:
    if cell.host.charge():
        return AGAIN
    if fd not in _LEVELS:
        return BAD_FILE
    memory_of(cell).write(out, _FDSTAT)
    return OK


def fd_seek(cell: Cell, fd: int, _offset: int, _whence: int, _out: int) -> int:
    if cell.host.charge():
        return AGAIN
    return NOT_SEEKABLE if fd in _LEVELS else BAD_FILE


def clock_time_get(cell: Cell, clock: int, _precision: int, out: int) -> int:
    """The turn's frozen time, in nanoseconds, whichever clock is asked."""
    if cell.host.charge():
        return AGAIN
    if clock >= _CLOCKS:
        return INVALID
    memory_of(cell).write_u64(out, cell.host.now_ms * 1_000_000)
    return OK


def random_get(cell: Cell, out: int, length: int) -> int:
    memory = memory_of(cell)
    memory.check(out, length)
    if cell.host.charge():
        return AGAIN
    if length > _MAX_RANDOM:
        return INVALID
    memory.write(out, cell.host.random(length))
    return OK


def nothing_listed(cell: Cell, _pointers: int, _buffer: int) -> int:
    """environ_get and args_get: there are none, so nothing is written."""
    return AGAIN if cell.host.charge() else OK


def nothing_counted(cell: Cell, count: int, size: int) -> int:
    """environ_sizes_get and args_sizes_get."""
    if cell.host.charge():
        return AGAIN
    memory = memory_of(cell)
    memory.write_u32(count, 0)
    memory.write_u32(size, 0)
    return OK


def proc_exit(cell: Cell, code: int) -> int:
    memory = cell.memory
    raise exit_fault(code, cell.limits, memory.size() if memory else 0)


def sched_yield(cell: Cell) -> int:
    return AGAIN if cell.host.charge() else OK


_WASI = "wasi_snapshot_preview1"

HANDLERS: Mapping[tuple[str, str], Callable[..., int]] = {
    ("isolate", "host_call"): host_call,
    ("isolate", "host_read"): host_read,
    ("isolate", "interrupted"): interrupted,
    (_WASI, "fd_write"): fd_write,
    (_WASI, "fd_close"): fd_close,
    (_WASI, "fd_fdstat_get"): fd_fdstat_get,
    (_WASI, "fd_seek"): fd_seek,
    (_WASI, "clock_time_get"): clock_time_get,
    (_WASI, "random_get"): random_get,
    (_WASI, "environ_get"): nothing_listed,
    (_WASI, "environ_sizes_get"): nothing_counted,
    (_WASI, "args_get"): nothing_listed,
    (_WASI, "args_sizes_get"): nothing_counted,
    (_WASI, "proc_exit"): proc_exit,
    (_WASI, "sched_yield"): sched_yield,
}
