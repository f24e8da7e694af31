"""Loaded by a child pytest (`-p tests.mutants.plugin`): puts one mutant in the place of its guard before anything is
collected, and writes down which tests failed and how often the mutant was asked.

Without a mutant in the environment it only writes the report.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.registry import Mutant, mutant_named

__all__ = ["MUTANT", "REPORT", "find_guard"]

MUTANT = "TESTS_MUTANT"
REPORT = "TESTS_MUTANT_REPORT"

_failed: list[str] = []
_passed: list[str] = []
_asked = 0


def find_guard(guard: str) -> tuple[Any, str, Any]:
    """Where the guard is (module or class), its name there, and what is there: a function or a property."""
    module, _, path = guard.partition(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    return holder, name, vars(holder)[name]


def _counted(lie: Callable[..., Any]) -> Callable[..., Any]:
    def asked(*args: Any, **more: Any) -> Any:
        global _asked
        _asked += 1
        return lie(*args, **more)

    return asked


def _put_in_place(mutant: Mutant) -> None:
    holder, name, true = find_guard(mutant.guard)
    lie: Any
    if isinstance(true, property):
        assert true.fget is not None
        lie = property(_counted(mutant.lie(true.fget)))
    else:
        lie = functools.wraps(true)(_counted(mutant.lie(true)))
    setattr(holder, name, lie)
    # Modules that have imported the guard by name hold the true one.
    for module in list(sys.modules.values()):
        if module is not None and getattr(module, "__name__", "").startswith("host."):
            for each, value in list(vars(module).items()):
                if value is true:
                    setattr(module, each, lie)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    test = report.nodeid.partition("[")[0]
    if report.failed:
        _failed.append(test)
    elif report.when == "call" and report.passed:
        _passed.append(test)


def pytest_sessionfinish() -> None:
    found = {"failed": sorted(set(_failed)), "passed": sorted(set(_passed)), "asked": _asked}
    Path(os.environ[REPORT]).write_text(json.dumps(found), encoding="utf-8")


if MUTANT in os.environ:
    importlib.import_module("host.node")  # and with it everything that may hold a guard by its name
    _put_in_place(mutant_named(os.environ[MUTANT]))
