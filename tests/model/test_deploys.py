"""Which version an actor runs: the newest that is live, that its bucket is in, and that it is not held back from."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from host.model.definitions import Definition, DeployStatus
from host.model.deploys import (
    DEPLOY_WINDOW_MS,
    bucket_of,
    deploy_fails,
    goes_back_to,
    is_settled,
    rolls_back_to,
    wanted,
)

IDS = [f"{number:032x}" for number in range(1_000)]


def version(number: int, *, status: DeployStatus = "live", percent: int = 100) -> Definition:
    return Definition("default", "chat", number, f"{number:064x}", 0, status=status, percent=percent)


def runs(actor_id: str, current: int | None, held: int | None, *versions: Definition) -> int | None:
    found = wanted(actor_id, current, held, versions)
    return None if found is None else found.version


def test_the_newest_live_version_is_wanted_by_new_and_old_actors() -> None:
    assert runs(IDS[0], None, None, version(1), version(2)) == 2
    assert runs(IDS[0], 1, None, version(2), version(1)) == 2


def test_an_actor_is_held_back_from_one_version_only() -> None:
    assert runs(IDS[0], 1, 2, version(1), version(2)) == 1
    assert runs(IDS[0], 1, 2, version(1), version(2), version(3)) == 3


def test_nor_is_it_given_what_came_before_that_one_and_failed_for_it_too() -> None:
    assert runs(IDS[0], 1, 3, version(1), version(2), version(3)) == 1
    assert runs(IDS[0], 2, 3, version(1), version(2), version(3)) == 2
    assert runs(IDS[0], 1, 3, version(1), version(2), version(3), version(4)) == 4
    assert runs(IDS[0], None, 3, version(1), version(2), version(3)) == 2


def test_an_actor_goes_back_to_what_it_ran_and_to_nothing_else() -> None:
    known = [version(1), version(2), version(3)]

    def back(current: int | None, held: int | None, failed: int) -> int | None:
        found = goes_back_to(IDS[0], current, held, failed, known)
        return None if found is None else found.version

    assert back(1, None, 3) == 1
    assert back(1, 3, 1) is None
    assert back(2, None, 2) is None
    assert back(None, None, 3) == 2
    assert back(None, 3, 2) is None
    known[1] = version(2, status="failed")
    assert back(None, None, 3) == 1
    known[0] = version(1, status="failed")
    assert back(None, None, 3) is None
    assert back(1, None, 3) == 1


def test_a_deploy_is_settled_when_it_has_been_out_to_all_for_the_window() -> None:
    assert not is_settled(version(1), DEPLOY_WINDOW_MS)
    assert is_settled(version(1), DEPLOY_WINDOW_MS + 1)
    assert not is_settled(version(1, percent=99), 10 * DEPLOY_WINDOW_MS)


def test_a_rollback_goes_to_the_newest_older_version_that_is_live_and_different() -> None:
    def back(*known: Definition) -> tuple[int, int] | None:
        found = rolls_back_to(known)
        return None if found is None else (found[0].version, found[1].version)

    assert back() is None
    assert back(version(1)) is None
    assert back(version(1), version(2)) == (2, 1)
    assert back(version(1), version(2, status="failed"), version(3)) == (3, 1)
    assert back(version(1, status="failed"), version(2)) is None
    again = replace(version(3), module=version(1).module)
    assert back(version(1), version(2, status="failed"), again) is None
    assert back(replace(version(1), limits={"memory": 5}), version(2, status="failed"), again) == (3, 1)


def test_a_failed_deploy_takes_nobody_in_and_lets_nobody_out() -> None:
    failed = version(2, status="failed")
    assert runs(IDS[0], 1, None, version(1), failed) == 1
    assert runs(IDS[0], None, None, version(1), failed) == 1
    assert runs(IDS[0], 2, None, version(1), failed) == 2


def test_a_canary_reaches_its_share_and_the_same_actors_stay_in_while_it_grows() -> None:
    at = {
        percent: {each for each in IDS if runs(each, 1, None, version(1), version(2, percent=percent)) == 2}
        for percent in (0, 10, 50, 100)
    }
    assert not at[0]
    assert 60 < len(at[10]) < 140
    assert at[10] < at[50] < at[100] == set(IDS)


def test_an_actor_stays_on_a_canary_that_it_runs_whatever_its_bucket() -> None:
    assert all(runs(each, 2, None, version(1), version(2, percent=0)) == 2 for each in IDS[:50])


def test_the_first_in_line_differ_from_version_to_version() -> None:
    assert [bucket_of(each, "chat", 2) for each in IDS[:20]] != [bucket_of(each, "chat", 3) for each in IDS[:20]]


def test_what_is_all_there_is_is_better_than_nothing() -> None:
    assert runs(IDS[0], None, None, version(1, status="failed")) == 1
    assert runs(IDS[0], None, None) is None


@pytest.mark.parametrize(
    ("failed_at", "actors", "fails"),
    [
        ([], 1, False),
        ([0], 1, True),
        ([0], 2, False),
        ([0, 0], 5, False),
        ([0, 0, 0], 5, True),
        ([-DEPLOY_WINDOW_MS - 1, 0, 0], 5, False),
        ([-DEPLOY_WINDOW_MS, 0, 0], 5, True),
    ],
)
def test_a_deploy_fails_at_three_actors_in_the_window_or_at_the_only_one(
    failed_at: list[int], actors: int, fails: bool
) -> None:
    assert deploy_fails(failed_at, actors, 0) is fails
