"""The rest of the context: the end as a signal, saving at once, work in the background, hooks with limits, errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.fake_host import FakeHost

LIFE = """
import { actor } from "rivetkit";
const wait = (ms) => new Promise((r) => setTimeout(r, ms));
export default actor({
  state: { log: [] },
  createVars: (c, driver) => ({ driver }),
  onCreate(c) { c.state.log.push("create"); },
  onMigrate(c, isNew) { c.state.log.push(`migrate ${isNew} ${"driver" in c.vars}`); },
  onWake(c) { c.state.log.push("wake"); },
  async run(c) {
    c.state.log.push("run");
    while (!c.aborted) await Promise.race([wait(1000), new Promise((r) => c.abortSignal.addEventListener("abort", r))]);
    c.state.log.push("ran");
  },
  onSleep(c) { c.state.log.push(`sleep ${c.aborted} ${c.abortSignal.aborted}`); },
  actions: {
    log: (c) => c.state.log,
    signal(c) {
      const signal = c.abortSignal;
      return [signal.aborted, c.aborted, signal === c.abortSignal, signal instanceof AbortSignal];
    },
    async now(c, n) { c.state.n = n; await c.saveState({ immediate: true }); c.state.n = "later"; },
    async soon(c, n) { c.state.n = n; await c.saveState(); },
    queue: (c) => c.queue, db: (c) => c.db,
  },
});
"""


def test_hooks_run_in_order_and_run_goes_on_beside_them(new_guest: NewGuest) -> None:
    host = FakeHost()
    guest = new_guest(LIFE, host)
    assert host.state["log"] == ["create", "migrate true true", "wake", "run"]
    assert host.held == [(0, 1)], "a stop waits for it"
    assert guest.action("signal").result == [False, False, True, True]
    assert guest.one(type="stop", reason="sleep", deadline_ms=1).error is None
    assert host.state["log"][4:] == ["sleep true true", "ran"]
    assert host.held[-1] == (0, 0)
    woken = new_guest(LIFE, host, start=False)
    woken.start("wake")
    assert host.state["log"][6:] == ["migrate false true", "wake", "run"]


def test_a_run_that_throws_is_logged_and_the_actor_goes_on(new_guest: NewGuest) -> None:
    source = """import { actor } from "rivetkit";
    export default actor({ run: { name: "r", run() { throw new Error("lost"); } } });"""
    guest = new_guest(source)
    assert any("run failed: Error: lost" in text for _, text in guest.host.logs)


def test_saving_at_once_ends_in_a_later_turn(new_guest: NewGuest) -> None:
    guest = new_guest(LIFE)
    event: dict[str, Any] = {"type": "action", "name": "now", "args": [1]}
    assert guest.deliver(event) == []
    assert guest.host.state["n"] == 1
    call, after = guest.host.timers[-1]
    assert after == 0
    (settled,) = guest.complete(call)
    assert (settled.event, guest.host.state["n"]) == (event["id"], "later")
    assert guest.action("soon", 2).error is None
    assert guest.host.state["n"] == 2


@pytest.mark.parametrize("name", ["queue", "db"])
def test_what_is_not_there_yet_says_so(new_guest: NewGuest, name: str) -> None:
    assert f"c.{name} is not available yet" in new_guest(LIFE).action(name).error["message"]


@pytest.mark.parametrize(
    ("hook", "option"),
    [
        ("async createVars() { await wait(9); }", "createVarsTimeout"),
        ("async onMigrate() { await wait(9); }", "onMigrateTimeout"),
    ],
)
def test_hooks_of_a_start_have_their_time(new_guest: NewGuest, hook: str, option: str) -> None:
    source = (
        'import { actor } from "rivetkit"; const wait = (ms) => new Promise((r) => setTimeout(r, ms));'
        f"export default actor({{ {hook}, options: {{ {option}: 3 }} }});"
    )
    guest = new_guest(source, start=False)
    event = {"type": "start", "reason": "create", "actor": "a", "generation": 1, "name": "n", "key": []}
    assert guest.deliver(event) == []
    assert [after for _, after in guest.host.timers] == [9, 3]
    (settled,) = guest.complete(2)
    assert "did not settle within 3 ms" in settled.error["message"]


ERRORS = """
import { actor, UserError, RivetError, ActorError } from "rivetkit";
export default actor({ actions: {
  user() { throw new UserError("text", { code: "c", metadata: { a: [1n] }, cause: new Error("inner") }); },
  rivet() { throw new RivetError("auth", "forbidden", "not me", { public: true }); },
  kinds() {
    const e = new UserError("m", { code: "c", cause: 1 }), plain = new UserError("m");
    return [e instanceof RivetError, e instanceof ActorError, e instanceof Error, e.name, e.group, e.code, e.cause,
      plain.code, "cause" in plain, Object.keys(e)];
  },
} });
"""


def test_user_errors_carry_code_and_metadata(new_guest: NewGuest) -> None:
    guest = new_guest(ERRORS)
    assert guest.action("user").error == {
        "group": "user", "code": "c", "message": "text", "metadata": {"a": [["$BigInt", "1"]]},
    }  # fmt: skip
    assert guest.action("rivet").error["group"] == "internal"
    assert guest.action("kinds").result == [
        True, True, True, "UserError", "user", "c", 1, "user_error", False, [],
    ]  # fmt: skip
