"""From the way a job ended to its result or the one error that says so. Pure.

| what happened | verdict |
|---|---|
| an answer `Done` or `Refused` | the result, or the tenant's error |
| SIGXCPU, or SIGKILL past the CPU limit | `module/compile_budget`, limit `compile_cpu` |
| no memory: the child says so, or aborts saying so | `module/compile_budget`, limit `compile_memory` |
| any other signal or exit | `module/compile_failed`: the compiler did not survive this module |
| SIGKILL within its budget, or the zygote is gone | `Lost`: nothing is known of the module; try again |
"""

from __future__ import annotations

import signal

from host.model.errors import DormiceError, TenantError, limit_error
from host.modules.jail.jobs import Answer, Broken, Budget, Done, Ended, Exhausted, Refused

__all__ = ["Lost", "failed", "judge", "over_budget"]

OUT_OF_MEMORY = 3
"""The exit code of a child that had not even the memory to say so."""

# What the standard libraries of Rust and C++ write before they abort.
_NO_MEMORY = ("memory allocation of", "out of memory", "Cannot allocate memory", "bad_alloc", "os error 12")


class Lost(Exception):
    """The job came to no end of its own."""


def judge(answer: Answer | None, ended: Ended | None, budget: Budget) -> Done:
    """The result; raises the error that the module has earned, or `Lost`."""
    if ended is None:
        raise Lost("the zygote is gone")
    if ended.code < 0:
        raise Lost(ended.said)
    if isinstance(answer, Done):
        return answer
    if isinstance(answer, Refused):
        raise answer.exception()
    if ended.signal == signal.SIGXCPU or (ended.signal == signal.SIGKILL and ended.cpu_ms >= budget.cpu_ms):
        raise over_budget("compile_cpu", ended.cpu_ms, budget.cpu_ms)
    if isinstance(answer, Exhausted) or ended.code == OUT_OF_MEMORY or _no_memory(ended):
        raise over_budget("compile_memory", ended.peak, budget.memory)
    if ended.signal == signal.SIGKILL:
        raise Lost("the child was killed")
    if isinstance(answer, Broken):
        raise failed(answer.traceback)
    raise failed(f"exit code {ended.code}, signal {ended.signal}; {ended.said}")


def over_budget(limit: str, used: int, allowed: int) -> DormiceError:
    """Use is measured more coarsely than the limit is kept, so it may fall short of it."""
    advice = "split large functions, or make the module smaller"
    return limit_error(limit, max(used, allowed), allowed, advice, name="module/compile_budget")


def failed(detail: str) -> DormiceError:
    return TenantError("module", "compile_failed", "the compiler cannot cope with this module", detail=detail)


def _no_memory(ended: Ended) -> bool:
    return ended.signal == signal.SIGABRT and any(sign in ended.said for sign in _NO_MEMORY)
