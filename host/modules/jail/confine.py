"""What a jailed process gives up, in two steps: the zygote what all children do without, a child the rest.

The zygote drops root, capabilities and the network once, so that a child costs a fork and no more. A child then takes
its limits and the filter of system calls; after `confine_child` it can compute, and write to the descriptors that it
was given. Whatever this machine does not offer is left out and named, so that the host can tell its operator.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from resource import (
    RLIM_INFINITY,
    RLIMIT_AS,
    RLIMIT_CORE,
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_NOFILE,
    getrlimit,
    setrlimit,
)

from host.modules.jail import seccomp
from host.modules.jail.jobs import Budget

__all__ = ["ZYGOTE_FILES", "address_space", "confine_child", "confine_zygote", "lower_priority"]

# A quarter of the weight of what is not nice: far behind guests, yet a busy machine must not starve it.
NICE = 5
OOM_SCORE = 800
NOBODY = 65_534
CHILD_FILES = 16
ZYGOTE_FILES = 256

_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000
_SET_PDEATHSIG, _SET_NO_NEW_PRIVS = 1, 38
_CAPABILITY_VERSION_3 = 0x2008_0522

LINUX = sys.platform == "linux"


def lower_priority() -> None:
    """Guests and the event loop go first, and if the machine has no memory left, the jail does. A session of its own
    may be scheduled as a group, which has its own value."""
    with suppress(OSError):
        os.nice(NICE)
    with suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(str(NICE))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(OOM_SCORE))


def confine_zygote() -> list[str]:
    """Everything that holds for all children; the process must be single-threaded. Returns what could not be had."""
    lower_priority()
    _limit(RLIMIT_CORE, 0, 0)
    _limit(RLIMIT_NOFILE, ZYGOTE_FILES, ZYGOTE_FILES)
    if not LINUX:
        return [f"{sys.platform} has no namespaces and no filter of system calls"]
    missing: list[str] = []

    def step(name: str, take: Callable[[], object]) -> None:
        try:
            take()
        except OSError as error:
            missing.append(f"{name}: {error.strerror}")

    if os.geteuid() == 0:
        step("an unprivileged user", _become_nobody)
    step("no new privileges", lambda: _prctl(_SET_NO_NEW_PRIVS, 1))
    step("a network namespace", lambda: _checked(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNET)))
    step("no capabilities", _drop_capabilities)
    refused = _filter_refused()
    if refused:
        missing.append(f"a filter of system calls: {refused}")
    return missing


def confine_child(budget: Budget, address_space_before: int, zygote: int) -> str | None:
    """The limits of one job and, at last, the filter; before any thread. Returns why there is no filter."""
    seconds = -(-budget.cpu_ms // 1000)
    _limit(RLIMIT_CPU, seconds, seconds + 1)
    _limit(RLIMIT_FSIZE, 0, 0)
    _limit(RLIMIT_NOFILE, CHILD_FILES, CHILD_FILES)
    _limit(RLIMIT_AS, *[address_space_before + budget.memory] * 2)
    if LINUX:
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != zygote:  # it died before it could have been told
            os._exit(1)
    return seccomp.install()


def _filter_refused() -> str:
    """Why children will have no filter; empty if they will. A child tries it, for what is put on stays on."""
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(tells, (seccomp.install() or "").encode())
        finally:
            os._exit(0)
    os.close(tells)
    with open(told, "rb") as source:
        refused = source.read().decode("utf-8", "replace")
    os.waitpid(pid, 0)
    return refused


def address_space() -> int:
    """Bytes of address space that this process has mapped; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as source:
            return int(source.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _limit(which: int, soft: int, hard: int) -> None:
    """Never above what the process was given."""
    most = getrlimit(which)[1]
    if most != RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    with suppress(OSError, ValueError):  # macOS knows limits that it does not take
        setrlimit(which, (soft, hard))


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_capabilities() -> None:
    """A new user namespace comes with every capability inside it."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    _checked(_libc().capset(header, ctypes.create_string_buffer(24)))


def _prctl(option: int, value: int) -> None:
    prctl = _libc().prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    _checked(prctl(option, value, 0, 0, 0))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
