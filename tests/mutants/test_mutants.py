"""The registry of mutants is whole, and its runner believes nobody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.mutants.__main__ import Outcome, verdict
from tests.mutants.plugin import find_guard
from tests.mutants.registry import INVARIANTS, MUTANTS, Mutant, mutant_named

ROOT = Path(__file__).parents[2]


def named(mutant: Mutant) -> str:
    return mutant.name


def test_every_invariant_of_the_documentation_has_a_mutant() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert tuple(f"D{number}" for number in re.findall(r"^\| D(\d+) \|", text, re.MULTILINE)) == INVARIANTS
    assert {mutant.invariant for mutant in MUTANTS} == set(INVARIANTS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_every_guard_is_a_function_that_names_its_invariant(mutant: Mutant) -> None:
    _, _, guard = find_guard(mutant.guard)
    assert callable(guard) or isinstance(guard, property)
    assert re.search(rf"\b{mutant.invariant}\b", guard.__doc__ or ""), f"{mutant.guard} does not say {mutant.invariant}"
    assert mutant_named(mutant.name) is mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=named)
def test_every_test_that_is_named_exists(mutant: Mutant) -> None:
    for test in mutant.tests:
        path, _, function = test.partition("::")
        assert re.search(rf"def {function}\(", (ROOT / path).read_text(encoding="utf-8")), test


def test_a_mutant_is_noticed_only_if_all_of_its_tests_fail_by_it() -> None:
    mutant = Mutant("D1", "host.actor.gates:release_after", lambda true: true, ("a", "b"), "x")
    assert verdict(mutant, Outcome(1, ("a", "b"), (), 3)) is None
    for missed in (
        Outcome(1, ("a",), ("b",), 3),
        Outcome(0, (), ("a", "b"), 3),
        Outcome(1, ("a", "b"), (), 0),
        Outcome(4, (), (), 0),
        Outcome(None),
    ):
        assert verdict(mutant, missed) is not None
