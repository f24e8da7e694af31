"""onUpgrade: when it runs, what it gets, and what its failure is."""

from __future__ import annotations

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.fake_host import FakeHost

SOURCE = """
import { actor } from "isolate";
export default actor({
  state: { log: [] },
  createVars(c) { c.state.log.push("createVars"); return {}; },
  onCreate(c) { c.state.log.push("onCreate"); },
  async onUpgrade(c, from) {
    await c.kv.put("from", String(from));
    c.state.log.push(`onUpgrade ${from} ${c.vars}`);
    if (from === 13) throw new Error("unlucky");
  },
  onWake(c) { c.state.log.push("onWake"); },
  actions: {},
});
"""


def known() -> FakeHost:
    host = FakeHost()
    host.state = {"log": []}
    return host


def test_it_runs_with_the_version_before_and_before_everything_of_a_wake(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE, known(), start=False)
    assert guest.start("upgrade", from_version=3).error is None
    assert guest.host.state == {"log": ["onUpgrade 3 undefined", "createVars", "onWake"]}


def test_it_does_not_run_at_a_creation_nor_at_a_plain_wake(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE, start=False)
    guest.start()
    assert guest.host.state == {"log": ["onCreate", "createVars", "onWake"]}
    guest = new_guest(SOURCE, known(), start=False)
    guest.start("wake")
    assert guest.host.state == {"log": ["createVars", "onWake"]}


def test_what_it_throws_fails_the_start_and_nothing_else_runs(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE, known(), start=False)
    settled = guest.start("upgrade", from_version=13)
    assert settled.error["message"] == "Error: unlucky"
    assert guest.host.state["log"] == ["onUpgrade 13 undefined"]


def test_a_plain_actor_has_it_too_with_the_context_last(new_guest: NewGuest) -> None:
    source = """export default class {
      state = { log: [] };
      onUpgrade(from, c) { c.state.log.push([from, c.actorId]); }
      onStart(c) { c.state.log.push("onStart"); }
    };"""
    guest = new_guest(source, known(), start=False)
    guest.start("upgrade", from_version=2)
    assert guest.host.state == {"log": [[2, "a1"], "onStart"]}


def test_a_hook_that_is_no_function_is_refused(new_guest: NewGuest) -> None:
    with pytest.raises(Exception, match="onUpgrade must be a function"):
        new_guest("export default { onUpgrade: 1, actions: {} };")
