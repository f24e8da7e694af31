"""One tenant with many actors: started at once, looping at once, filling what is everybody's."""

from __future__ import annotations

import anyio

from host.selftest.case import Case
from host.selftest.drives import SHORT, script, seen_error
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import Lab, error_of

__all__ = ["CASES"]


@script(
    "tenants/many-loops-at-once",
    "half of the threads",
    "actions of 16 actors",
    "each guest/deadline; others are served",
    ("guest_faults",),
)
async def _loops(lab: Lab) -> str:
    await lab.deploy(js_guest("for (;;) {}"), limits={"turn_deadline": SHORT})
    actors = [await lab.actor(f"k{n}") for n in range(16)]
    told: list[str] = []

    async def attack(actor: str) -> None:
        told.append(seen_error(await lab.call(actor, "go"), "guest/deadline"))

    async with anyio.create_task_group() as tasks:
        for actor in actors:
            tasks.start_soon(attack, actor)
    return f"{len(told)} x guest/deadline"


@script("tenants/started-at-once", "tenant_starts", "actions of 200 actors", "all start, or are told to wait")
async def _starts(lab: Lab) -> str:
    await lab.deploy(js_guest())
    told: list[str] = []

    async def attack(number: int) -> None:
        actor = await lab.actor(f"k{number}")
        answer = await lab.call(actor, "ok")
        told.append("started" if answer.status_code == 200 else error_of(answer)["name"])

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(attack, number)
    check(set(told) <= {"started", "node/full", "limit/exceeded"}, f"told {sorted(set(told))}")
    return f"{told.count('started')} of {len(told)} started"


@script(
    "tenants/start-storm",
    "starts after faults wait",
    "actions",
    "a start that fails is not tried without a pause",
    ("start_failures",),
)
async def _storm(lab: Lab) -> str:
    await lab.deploy(js_guest(more="onWake() { throw new Error('no'); },"))
    actor = await lab.actor()
    for _ in range(50):
        answer = await lab.call(actor, "ok")
        seen_error(answer, "actor/start_failed")
    check("retry-after" in answer.headers, "callers are not told when to come back")
    return "actor/start_failed, with retry-after"


@script(
    "tenants/faults-again-and-again",
    "faults in a minute",
    "actions",
    "the actor rests, and comes back",
    ("guest_faults",),
)
async def _faults(lab: Lab) -> str:
    await lab.deploy(js_guest("for (;;) {}"), limits={"turn_deadline": 50})
    actor = await lab.actor()
    for _ in range(3):
        seen_error(await lab.call(actor, "go"), "guest/deadline")
    answer = await lab.call(actor, "ok")
    told = seen_error(answer, "actor/start_failed")
    began = lab.clock.monotonic()
    while (answer := await lab.call(actor, "ok")).status_code == 503:
        check(lab.clock.monotonic() < began + 10, "the actor does not come back")
        await lab.clock.sleep_until(lab.clock.monotonic() + 0.1)
    check(answer.json() == {"output": 1}, f"it came back as {answer.text}")
    return f"{told}, then as it was"


@script("tenants/sleep-loop", "sleep and wake", "actions", "an actor that only sleeps is woken for each call")
async def _sleepy(lab: Lab) -> str:
    await lab.deploy(js_guest(more="onWake(c) { c.sleep(); },"))
    actor = await lab.actor()
    for number in range(1, 21):
        check(await lab.output(actor, "ok") == number, "the actor did not go on as it was")
    return "20 calls, 20 answers"


@script("tenants/create-and-destroy", "ids and generations", "HTTP", "200 lives of one key, each a new actor")
async def _lives(lab: Lab) -> str:
    await lab.deploy(js_guest())
    seen = set()
    for _ in range(50):
        actor = await lab.actor()
        seen.add(actor)
        check(await lab.output(actor, "ok") == 1, "a new actor has an old one's state")
        answer = await lab.http.delete(f"/actors/{actor}", params={"namespace": lab.tenant})
        check(answer.status_code == 200, answer.text)
    check(len(seen) == 50, "an id came back")
    return "50 actors"


CASES: tuple[Case, ...] = (_loops, _starts, _storm, _faults, _sleepy, _lives)
