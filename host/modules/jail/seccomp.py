"""The list of system calls that a jailed child may make; everything else fails with EPERM. Linux on x86_64 and aarch64.

What is left is computing, memory, threads of its own and the file descriptors that it was given: no open, no socket, no
new process, no signal to anybody else, no larger limit. The program is classic BPF, written here instruction by
instruction, so that nothing has to be installed. On another machine `install` does nothing and says so.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["available", "install", "program"]


class _Machine(NamedTuple):
    """`audit` is the kernel's number for the instruction set; the calls are those that need a look at an argument."""

    audit: int
    clone: int
    clone3: int
    prlimit64: int
    tgkill: int
    allowed: tuple[int, ...]


# read write close fstat lseek mmap mprotect munmap brk mremap madvise | rt_sigaction rt_sigprocmask rt_sigreturn
# sigaltstack | readv writev ppoll | futex sched_yield sched_getaffinity set_tid_address set_robust_list rseq membarrier
# | nanosleep clock_gettime clock_getres clock_nanosleep restart_syscall | getpid gettid getrusage sysinfo getrandom
# | exit exit_group
_X86_64 = _Machine(
    audit=0xC000003E,
    clone=56,
    clone3=435,
    prlimit64=302,
    tgkill=234,
    allowed=(
        *(0, 1, 3, 5, 8, 9, 10, 11, 12, 25, 28),
        *(13, 14, 15, 131),
        *(19, 20, 271),
        *(202, 24, 204, 218, 273, 334, 324),
        *(35, 228, 229, 230, 219),
        *(39, 186, 98, 99, 318),
        *(60, 231),
    ),
)
_AARCH64 = _Machine(
    audit=0xC00000B7,
    clone=220,
    clone3=435,
    prlimit64=261,
    tgkill=131,
    allowed=(
        *(63, 64, 57, 80, 62, 222, 226, 215, 214, 216, 233),
        *(134, 135, 139, 132),
        *(65, 66, 73),
        *(98, 124, 123, 96, 99, 293, 283),
        *(101, 113, 114, 115, 128),
        *(172, 178, 165, 179, 278),
        *(93, 94),
    ),
)
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_KILL, _ALLOW = 0x8000_0000, 0x7FFF_0000
_NOT_PERMITTED, _NOT_THERE = 0x0005_0001, 0x0005_0026  # EPERM; ENOSYS, after which the C library asks for `clone`

_NUMBER, _ARCHITECTURE = 0, 4
_CLONE_THREAD = 0x0001_0000

_SET_SECCOMP, _MODE_FILTER, _SET_NO_NEW_PRIVS = 22, 2, 38

Instruction = tuple[int, int, int, int]


def available() -> bool:
    """Whether this is a machine that `program` is written for."""
    return sys.platform == "linux" and struct.calcsize("P") == 8 and platform.machine() in _MACHINES


def program(pid: int, machine: str | None = None) -> list[Instruction]:
    """The filter as (code, jump if true, jump if false, value). Signals go to threads of `pid` alone (`abort` needs
    that); `clone` makes threads alone; `prlimit64` reads alone."""
    calls = _MACHINES[machine or platform.machine()]
    out: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, calls.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        # clone: a thread
        (_EQUAL, 0, 4, calls.clone),
        (_LOAD, 0, 0, _low(0)),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOT_PERMITTED),
        # clone3: its flags are in memory, where a filter cannot look
        (_EQUAL, 0, 1, calls.clone3),
        (_RETURN, 0, 0, _NOT_THERE),
        # prlimit64: without a new limit
        (_EQUAL, 0, 6, calls.prlimit64),
        (_LOAD, 0, 0, _low(2)),
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _low(2) + 4),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOT_PERMITTED),
        # tgkill: itself
        (_EQUAL, 0, 4, calls.tgkill),
        (_LOAD, 0, 0, _low(0)),
        (_EQUAL, 0, 1, pid),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _NOT_PERMITTED),
    ]
    for number in calls.allowed:
        out += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    out.append((_RETURN, 0, 0, _NOT_PERMITTED))
    return out


def install() -> str | None:
    """Puts the filter on this process, for good; None, or why it could not. Before it has threads."""
    if not available():
        return f"there is no filter of system calls for {sys.platform} on {platform.machine()}"
    code = _assembled(program(os.getpid()))
    held = ctypes.create_string_buffer(code)
    frame = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    described = ctypes.create_string_buffer(frame)
    if prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(described), 0, 0):
        return f"the kernel takes no filter of system calls: {os.strerror(ctypes.get_errno())}"
    return None


def _assembled(instructions: Sequence[Instruction]) -> bytes:
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def _low(argument: int) -> int:
    """Where the lower half of an argument stands; both machines are little-endian."""
    return 16 + 8 * argument
