"""Bytes that are almost a module: an answer for each of them, and never another one than the compiler's without a rule.

What the compiler takes and admission does not has to be a rule of this host: a code of its own, or metadata that names
the limit or the proposal. `module/malformed` without metadata says that no compiler would take the bytes.
"""

from __future__ import annotations

import pytest

from host.model.errors import TenantError
from host.model.limits import Limits
from host.model.report import ModuleReport
from host.modules.admission import precheck, rewrite, survey
from host.selftest.mutate import flips, mutants, prefixes
from tests.modules.admission.build import GOOD, RICH, compiles

LIMITS = Limits()
RULES = {"too_large", "bad_export", "bad_import", "bad_manifest"}


def told(wasm: bytes) -> ModuleReport | TenantError:
    try:
        return survey(wasm, LIMITS)
    except TenantError as error:
        return error


def answer(wasm: bytes) -> bool:
    """Whether it is admitted; fails if that contradicts the compiler."""
    report = told(wasm)
    if isinstance(report, TenantError):
        assert report.group == "module"
        if report.code == "malformed" and report.metadata is None:
            assert not compiles(wasm), report
        elif report.code != "not_wasm":
            assert report.code in RULES or report.metadata is not None
        return False
    assert report.size == len(wasm)
    assert precheck(wasm, LIMITS) == report.manifest
    if compiles(wasm):
        assert compiles(rewrite(wasm, LIMITS))
    return True


@pytest.mark.parametrize("module", [GOOD, RICH], ids=["plain", "rich"])
def test_every_prefix_of_a_guest_is_refused(module: bytes) -> None:
    assert answer(module)
    assert [len(each) for each in prefixes(module) if answer(each)] == []


@pytest.mark.parametrize("bit", range(8))
def test_every_flip_of_a_bit_of_a_guest_has_an_answer_that_the_compiler_does_not_contradict(bit: int) -> None:
    admitted = sum(answer(each) for each in flips(RICH, [1 << bit]))
    assert 0 < admitted < len(RICH)


def test_every_value_of_every_byte_of_a_small_guest_has_an_answer() -> None:
    for each in flips(GOOD, range(1, 256)):
        answer(each)


@pytest.mark.parametrize("seed", range(4))
def test_mutants_have_an_answer_too(seed: int) -> None:
    admitted = [answer(each) for each in mutants(seed, [GOOD, RICH], 1_500)]
    assert 0 < sum(admitted) < len(admitted)


def test_the_same_seed_makes_the_same_mutants_and_another_one_makes_others() -> None:
    assert list(mutants(1, [GOOD, RICH], 50)) == list(mutants(1, [GOOD, RICH], 50))
    assert list(mutants(1, [GOOD, RICH], 50)) != list(mutants(2, [GOOD, RICH], 50))
    assert len(set(mutants(3, [GOOD], 300))) > 250
