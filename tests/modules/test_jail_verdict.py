"""How a job ended, and what its tenant is told."""

from __future__ import annotations

import signal

import msgspec
import pytest

from host.model.errors import DormiceError, ErrorInfo
from host.modules.jail.jobs import Answer, Broken, Budget, Done, Ended, Exhausted, Refused
from host.modules.jail.verdict import Lost, judge

BUDGET = Budget(10_000, 1 << 30)
REFUSED = Refused(ErrorInfo("module", "malformed", "no"), "why")


def ended(code: int = 0, number: int = 0, cpu: int = 5, peak: int = 1 << 20, said: str = "") -> Ended:
    return Ended(code, number, cpu, peak, said)


@pytest.mark.parametrize(
    ("answer", "end", "name", "limit"),
    [
        (REFUSED, ended(), "module/malformed", None),
        (None, ended(0, signal.SIGXCPU, 9_950), "module/compile_budget", "compile_cpu"),
        (None, ended(0, signal.SIGKILL, 11_000), "module/compile_budget", "compile_cpu"),
        (Exhausted("python"), ended(), "module/compile_budget", "compile_memory"),
        (None, ended(3), "module/compile_budget", "compile_memory"),
        (None, ended(0, signal.SIGABRT, said="memory allocation of 9 bytes failed"), "module/compile_budget",
         "compile_memory"),
        (None, ended(0, signal.SIGABRT, said="panicked at 'index out of bounds'"), "module/compile_failed", None),
        (None, ended(0, signal.SIGSEGV), "module/compile_failed", None),
        (None, ended(1, said="Traceback"), "module/compile_failed", None),
        (None, ended(0), "module/compile_failed", None),
        (Broken("Traceback"), ended(), "module/compile_failed", None),
    ],
)  # fmt: skip
def test_a_job_without_a_result_has_a_reason(answer: Answer | None, end: Ended, name: str, limit: str | None) -> None:
    with pytest.raises(DormiceError) as caught:
        judge(answer, end, BUDGET)
    assert caught.value.name == name
    told = msgspec.json.decode(caught.value.metadata or b"{}")
    assert told.get("limit") == limit
    if limit is not None:
        assert told["used"] >= told["allowed"]
        assert str(told["allowed"]) in caught.value.message
        assert limit in caught.value.message


@pytest.mark.parametrize("end", [None, ended(-1), ended(0, signal.SIGKILL, 9_000)])
def test_what_was_taken_away_is_nobodys_verdict(end: Ended | None) -> None:
    with pytest.raises(Lost):
        judge(None, end, BUDGET)


def test_a_result_is_a_result() -> None:
    assert judge(Done(b"code"), ended(), BUDGET).artifact == b"code"
