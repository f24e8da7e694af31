"""Runs cases against one host, one after another, while the neighbour is called all the time.

A case is contained when what must happen has happened in time, a counter moved where something was refused, the host's
process is the same one and answers, and every answer that the neighbour got meanwhile was right. At the end of all, the
host's memory and open files have to be back where they were, within a slack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import httpx

from host.model.clock import Clock
from host.selftest.case import Case
from host.selftest.escaped import Escaped, check
from host.selftest.figures import TARGET_RATIO, Result, Summary, median_of, p99
from host.selftest.lab import HostUnderTest, Lab
from host.selftest.neighbour import NEIGHBOUR, Neighbour
from host.selftest.process import open_files, resident_bytes

__all__ = ["run_corpus"]

Told = Callable[[Result], None]

# What may be left when all is over: caches of compiled code and of images (256 MiB of them) are kept on purpose, each
# entry with the memory of its module in a file that has no name; and allocators keep some of what was freed.
MEMORY_SLACK = 512 * 1024 * 1024
FILES_SLACK = 320
TIMEOUT = httpx.Timeout(40.0, connect=5.0)
FIRST_ANSWER = 30.0
AFTER = 15.0
# The percentile of a quarter of a second is that of its slowest answer, and machines stumble by themselves: a case that
# seems to be felt too much is measured again, for longer, and the median counts.
AGAIN = 2
LONGER = 1.0
# longer than the neighbour's caller waits for an answer itself
NEIGHBOUR_PATIENCE = 40.0


async def run_corpus(
    host: HostUnderTest,
    token: str,
    cases: Sequence[Case],
    clock: Clock,
    told: Told,
    *,
    settle: float = 0.25,
    at_least: float = 0.25,
    again: int = AGAIN,
    target: float = TARGET_RATIO,
) -> Summary:
    """`settle` is how long the neighbour is measured before each case, `at_least` how long while it runs. A case whose
    ratio is above `target` is measured `again` times more."""
    summary = Summary()
    neighbour = Neighbour()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=16)
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(
            base_url=host.endpoint, headers=headers, timeout=TIMEOUT, trust_env=False, limits=limits
        ) as http,
        anyio.create_task_group() as tasks,
    ):
        next_door = Lab(host, http, clock, "the-neighbour", token)
        await next_door.deploy(NEIGHBOUR, name="neighbour")
        # one of its own for each run: it counts its calls
        actor_id = await next_door.actor(str(clock.now_ms()), name="neighbour")
        tasks.start_soon(neighbour.watch, host.endpoint, actor_id, token)
        with clock.fail_after(FIRST_ANSWER):
            await neighbour.first.wait()
        runner = _Runner(host, http, clock, token, neighbour, summary)
        summary.rss_start, files = resident_bytes(host.pid), open_files(host.pid)
        began = clock.monotonic()
        for number, case in enumerate(cases):
            result = await runner.run(case, f"hostile-{number}", settle, at_least)
            runs = [result]
            while (result.ratio or 0.0) > target and len(runs) <= again and host.running():
                runs.append(await runner.run(case, f"hostile-{number}-{len(runs)}", LONGER, LONGER))
            result = median_of(runs)
            summary.results.append(result)
            told(result)
            if not host.running():
                summary.trouble.append(f"the host died in {case.name}\n{host.log_tail()}")
                break
            if neighbour.ended:
                summary.trouble.append(f"the neighbour's connection was lost in {case.name}")
                break
        else:
            await runner.settle_down(files)
        answered = neighbour.between(began, clock.monotonic())
        summary.answers = len(answered)
        summary.wrong_answers = [answer for _, _, answer in answered if answer != "ok"][:10]
        tasks.cancel_scope.cancel()
    return summary


class _Runner:
    def __init__(
        self,
        host: HostUnderTest,
        http: httpx.AsyncClient,
        clock: Clock,
        token: str,
        neighbour: Neighbour,
        summary: Summary,
    ) -> None:
        self._host = host
        self._http = http
        self._clock = clock
        self._token = token
        self._neighbour = neighbour
        self._summary = summary
        self._pid = host.pid

    async def run(self, case: Case, tenant: str, settle: float, at_least: float) -> Result:
        clock = self._clock
        quiet = clock.monotonic()
        await clock.sleep_until(quiet + settle)
        lab = Lab(self._host, self._http, clock, tenant, self._token)
        counters = await lab.metrics()
        begun = clock.monotonic()
        outcome, contained = await self._attempt(case, lab)
        took = clock.monotonic() - begun
        await clock.sleep_until(begun + at_least)
        ended = clock.monotonic()
        try:
            with clock.fail_after(NEIGHBOUR_PATIENCE):
                await self._neighbour.answered_after(ended)
        except TimeoutError:
            outcome, contained = f"{outcome}; the neighbour is not answered any more", False
        if self._neighbour.ended:
            outcome, contained = f"{outcome}; the neighbour's connection is lost", False
        counted: tuple[str, ...] = ()
        if contained:
            try:
                with clock.fail_after(AFTER):
                    counted = await self._aftermath(case, lab, counters)
            except (Escaped, TimeoutError, httpx.HTTPError) as error:
                contained, outcome = False, f"afterwards: {_told(error)}"
        before = [sample[1] for sample in self._neighbour.between(quiet, begun) if sample[0] >= quiet]
        during = self._neighbour.between(begun, ended)
        wrong = [answer for _, _, answer in during if answer != "ok"]
        if wrong and contained:
            contained, outcome = False, f"the neighbour was answered wrong: {wrong[0]}"
        self._summary.before += before
        self._summary.during += [took for _, took, _ in during]
        return Result(
            name=case.name,
            attacks=case.attacks,
            how=case.how,
            must=case.must,
            outcome=outcome,
            contained=contained,
            seconds=took,
            before=p99(before),
            during=p99([took for _, took, _ in during]),
            counted=counted,
            rss=resident_bytes(self._pid),
        )

    async def _attempt(self, case: Case, lab: Lab) -> tuple[str, bool]:
        try:
            with self._clock.fail_after(case.seconds):
                return await case.run(lab), True
        except Escaped as escaped:
            return str(escaped), False
        except TimeoutError:
            return f"hangs: not over within {case.seconds:g} s", False
        except Exception as error:  # noqa: BLE001 - a case that breaks in an unforeseen way was not contained
            return _told(error), False

    async def _aftermath(self, case: Case, lab: Lab, counters: dict[tuple[str, str], float]) -> tuple[str, ...]:
        """What holds behind every case; gives the counters that it moved."""
        check(self._host.running() and self._host.pid == self._pid, "the host's process is another one")
        await lab.clean_up()
        health = await self._http.get("/health")
        check(health.json() == {"status": "up"}, f"the host says {health.text[:100]}")
        now = await lab.metrics()
        moved = tuple(
            sorted(
                f"{name}{{{reason}}}" if reason else name
                for (name, reason), value in now.items()
                if name in case.counter and value > counters.get((name, reason), 0)
            )
        )
        check(bool(moved) or not case.counter, f"no counter moved of {', '.join(case.counter)}")
        for limit in case.limits:
            key = ("limits", limit)
            check(now.get(key, 0) > counters.get(key, 0), f"the limit {limit} was not counted")
        return moved

    async def settle_down(self, files: int | None) -> None:
        """The host is given a while to be as it was."""
        summary, limit = self._summary, self._clock.monotonic() + AFTER
        while True:
            trouble = []
            summary.rss_end = resident_bytes(self._pid)
            if summary.rss_start and summary.rss_end and summary.rss_end > summary.rss_start + MEMORY_SLACK:
                trouble.append(f"memory does not come back: {summary.rss_start >> 20} → {summary.rss_end >> 20} MiB")
            open_now = open_files(self._pid)
            if files and open_now and open_now > files + FILES_SLACK:
                trouble.append(f"files stay open: {files} → {open_now}")
            if not trouble or self._clock.monotonic() > limit:
                summary.trouble += trouble
                return
            await self._clock.sleep_until(self._clock.monotonic() + 0.25)


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(inner) for inner in error.exceptions)
    return str(error) if isinstance(error, Escaped) else f"{type(error).__name__}: {error}"[:400]
