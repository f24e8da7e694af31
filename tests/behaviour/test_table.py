"""The table of what a kind cannot have is complete and true: every feature has tests, every row a reason."""

from __future__ import annotations

import importlib

from tests.behaviour.kinds import FEATURES, HERE, KINDS, LACKS, TESTED

TESTS = sorted(path.stem for path in HERE.glob("test_*.py"))


def test_every_feature_is_tested_and_every_test_is_of_one() -> None:
    for name in TESTS:
        importlib.import_module(f"tests.behaviour.{name}")
    assert set(FEATURES) == TESTED


def test_every_row_names_a_kind_a_feature_and_a_reason() -> None:
    for (kind, feature), reason in LACKS.items():
        assert kind in KINDS
        assert feature in FEATURES
        assert len(reason) > 20
    assert all(any((kind, feature) not in LACKS for kind in KINDS) for feature in FEATURES)
