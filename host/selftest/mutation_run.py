"""Damaged modules by the thousand: what a fresh host says to each, and whether that host is the same afterwards.

Every mutant goes in as an upload does. One that is admitted, against all odds, is deployed and its actor is called:
what compiles has to be contained as well. The host must give each its verdict in time, live, and not grow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import httpx

from host.model.clock import Clock
from host.selftest.corpus.calls import write_flood
from host.selftest.escaped import Escaped
from host.selftest.guests import js_guest, wasm_guest
from host.selftest.lab import WASM, HostUnderTest, Lab, error_of
from host.selftest.mutate import mutants
from host.selftest.process import resident_bytes

__all__ = ["Tally", "run_mutants"]

AT_ONCE = 4
# a tenant's modules are bounded, so the tenants change
PER_TENANT = 2_000
HANG = 30.0
WARM_UP = 200
MEMORY_SLACK = 256 * 1024 * 1024
TOLD_EVERY = 100
# What the host may say of a mutant: anything else is an error of ours.
GROUPS = ("module", "limit")
RAN = ("actor", "guest", "internal", "user", "message", "limit")


@dataclass(slots=True)
class Tally:
    """How many mutants got which verdict; `trouble` is what must not be."""

    verdicts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    slowest: float = 0.0
    rss_start: int | None = None
    rss_end: int | None = None
    trouble: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        return not self.trouble


async def run_mutants(
    host: HostUnderTest, token: str, count: int, seed: int, clock: Clock, told: Callable[[int], None]
) -> Tally:
    tally, verdicts = Tally(), Counter[str]()
    began = clock.monotonic()
    source = enumerate(mutants(seed, [wasm_guest(""), write_flood()], count))
    headers = {"authorization": f"Bearer {token}"}
    pid = host.pid
    async with httpx.AsyncClient(base_url=host.endpoint, headers=headers, timeout=HANG, trust_env=False) as http:

        async def work() -> None:
            for number, mutant in source:
                lab = Lab(host, http, clock, f"mutants-{number // PER_TENANT}", token)
                asked = clock.monotonic()
                try:
                    verdicts[await _verdict(lab, mutant)] += 1
                except (Escaped, httpx.HTTPError) as error:
                    tally.trouble.append(f"mutant {number} of seed {seed}: {type(error).__name__} {error}"[:300])
                tally.slowest = max(tally.slowest, clock.monotonic() - asked)
                if number == WARM_UP:
                    tally.rss_start = resident_bytes(pid)
                if number % TOLD_EVERY == 0:
                    told(number)
                if len(tally.trouble) >= 10 or not host.running():
                    return

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(work)
        if not host.running() or host.pid != pid:
            tally.trouble.append(f"the host died\n{host.log_tail()}")
        else:
            await _still_serves(Lab(host, http, clock, "afterwards", token), tally)
    tally.verdicts, tally.seconds = dict(verdicts), clock.monotonic() - began
    tally.rss_end = resident_bytes(pid)
    if tally.rss_start and tally.rss_end and tally.rss_end > tally.rss_start + MEMORY_SLACK:
        tally.trouble.append(f"memory grew: {tally.rss_start >> 20} → {tally.rss_end >> 20} MiB")
    return tally


async def _verdict(lab: Lab, mutant: bytes) -> str:
    answer = await lab.upload(mutant, WASM)
    if answer.status_code != 201:
        error = error_of(answer)
        if error["group"] not in GROUPS:
            raise Escaped(f"answered {answer.status_code} {answer.text[:200]}")
        return str(error["name"])
    await lab.define("mutant", answer.json()["digest"], limits={"turn_deadline": 100})
    actor = await lab.actor(answer.json()["digest"][-32:], name="mutant")
    called = await lab.call(actor, "go", "!")
    await lab.clean_up()
    if called.status_code == 200:
        return "admitted, and ran"
    error = error_of(called)
    if error["group"] not in RAN:
        raise Escaped(f"the call was answered {called.status_code} {called.text[:200]}")
    return f"admitted, then {error['name']}"


async def _still_serves(lab: Lab, tally: Tally) -> None:
    try:
        await lab.deploy(js_guest())
        if await lab.output(await lab.actor(), "ok") != 1:
            tally.trouble.append("the host answers wrong afterwards")
    except (Escaped, httpx.HTTPError) as error:
        tally.trouble.append(f"the host does not serve afterwards: {error}")
