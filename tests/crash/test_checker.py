"""The checker itself, on good histories and on each kind of bad one."""

from __future__ import annotations

import pytest

from tests.crash.checker import Broken, Line, Once, Row, broken, counts


def line(sent: int = 4, told: tuple[int, ...] = (), marks: tuple[int, ...] = ()) -> Line:
    return Line([f"text {n}" for n in range(1, sent + 1)], list(told), list(marks))


def rows(*indexes: int) -> list[Row]:
    return [Row("a", index, f"text {index}") for index in indexes]


def check(line: Line, found: list[Row]) -> list[Broken]:
    return broken({"a": line}, Once(), found)


@pytest.mark.parametrize(
    ("history", "found"),
    [
        pytest.param(line(0), rows(), id="nothing"),
        pytest.param(line(4, (1, 2, 3, 4), (0, 2, 4)), rows(1, 2, 3, 4), id="all answered"),
        pytest.param(line(4, (1,)), rows(1, 2, 3), id="more on disk than the client was told"),
        pytest.param(line(4, ()), rows(), id="all lost, nothing acknowledged"),
        pytest.param(line(4, (1, 3)), rows(1, 2, 3), id="an answer lost with its TCP connection"),
    ],
)
def test_a_history_that_keeps_the_promise_passes(history: Line, found: list[Row]) -> None:
    assert check(history, found) == []


@pytest.mark.parametrize(
    ("history", "found", "kinds"),
    [
        pytest.param(line(4, (1, 2)), rows(1), ["lost"], id="ack without a durable row"),
        pytest.param(line(4), rows(1, 3), ["lost"], id="a message passed over"),
        pytest.param(line(4, (), (3,)), rows(1, 2), ["lost"], id="watermark above the last row"),
        pytest.param(line(4), rows(1, 2, 2, 3), ["doubled"], id="an effect twice"),
        pytest.param(line(4), rows(1, 2, 3, 1), ["doubled"], id="an effect again, later"),
        pytest.param(line(4, (1, 2, 2)), rows(1, 2), ["doubled"], id="an answer twice"),
        pytest.param(line(4), rows(2, 1, 3), ["reordered"], id="effects out of order"),
        pytest.param(line(4, (2, 1)), rows(1, 2), ["reordered"], id="answers out of order"),
        pytest.param(line(4, (), (2, 1)), rows(1, 2), ["index_back"], id="the index goes back"),
        pytest.param(line(1), rows(1, 2), ["invented"], id="a message that was never sent"),
        pytest.param(line(1), [Row("a", 1, "other")], ["invented"], id="another text"),
        pytest.param(line(1), [Row("b", 1, "text 1")], ["invented"], id="another connection's"),
    ],
)
def test_a_history_that_breaks_it_is_told_by_kind(history: Line, found: list[Row], kinds: list[str]) -> None:
    assert [one.kind for one in check(history, found)] == kinds


@pytest.mark.parametrize(
    ("asked", "told", "names", "kinds"),
    [
        pytest.param("xyz", "x", "xy", [], id="good: answered, carried out without an answer, unknown"),
        pytest.param("x", "x", "", ["lost"], id="answered and not on disk"),
        pytest.param("x", "", "xx", ["doubled"], id="twice"),
        pytest.param("x", "", "y", ["invented"], id="never asked for"),
    ],
)
def test_actions_and_alarms_happen_once_if_they_were_answered(
    asked: str, told: str, names: str, kinds: list[str]
) -> None:
    found = broken({}, Once(list(asked), list(told)), [Row("once", 0, name) for name in names])
    assert [one.kind for one in found] == kinds


def test_each_kind_is_counted() -> None:
    found = [*check(line(4, (1, 2)), rows(1)), *check(line(4), rows(1, 2, 2))]
    assert counts(found) == {"lost": 1, "doubled": 1, "reordered": 0, "invented": 0, "index_back": 0}
