"""The lifecycle table: every row of it, and that there is no other way."""

from __future__ import annotations

import itertools

import pytest

from host.actor.lifecycle import TABLE, IllegalStep, State, Step, step

# Written out by hand: the table in the code has to agree with it, row by row.
LEGAL = {
    (State.ABSENT, Step.CAUSE): State.STARTING,
    (State.ABSENT, Step.RECALL): State.FAILED,
    (State.ASLEEP, Step.CAUSE): State.STARTING,
    (State.FAILED, Step.CAUSE): State.STARTING,
    (State.STARTING, Step.STARTED): State.RUNNING,
    (State.STARTING, Step.START_FAILED): State.FAILED,
    (State.STARTING, Step.LOST): State.ABSENT,
    (State.RUNNING, Step.FAULT): State.STARTING,
    (State.RUNNING, Step.STOP): State.STOPPING,
    (State.RUNNING, Step.LOST): State.ABSENT,
    (State.RUNNING, Step.GIVE_UP): State.FAILED,
    (State.STARTING, Step.FALL_BACK): State.STARTING,
    (State.FAILED, Step.RELOAD): State.STARTING,
    (State.STOPPING, Step.STOPPED): State.ASLEEP,
    (State.STOPPING, Step.UPGRADE): State.STARTING,
    (State.STOPPING, Step.FAULT): State.ASLEEP,
    (State.STOPPING, Step.LOST): State.ABSENT,
    **{(state, Step.DESTROY): State.DESTROYED for state in State},
}


@pytest.mark.parametrize(("before", "taken"), list(itertools.product(State, Step)))
def test_each_step_leads_where_the_table_says_or_is_refused(before: State, taken: Step) -> None:
    if (before, taken) in LEGAL:
        assert step(before, taken) is LEGAL[before, taken]
        return
    rows = dict(TABLE)
    with pytest.raises(IllegalStep) as refused:
        step(before, taken)
    assert (refused.value.state, refused.value.step) == (before, taken)
    assert rows == TABLE


def test_destroy_leads_out_of_every_state_and_nothing_leads_back() -> None:
    assert all(step(state, Step.DESTROY) is State.DESTROYED for state in State)
    out = {taken: after for (before, taken), after in TABLE.items() if before is State.DESTROYED}
    assert out == {Step.DESTROY: State.DESTROYED}


def test_every_state_can_be_reached_from_the_first() -> None:
    reached = {State.ABSENT}
    for _ in State:
        reached |= {after for (before, _), after in TABLE.items() if before in reached}
    assert reached == set(State)
