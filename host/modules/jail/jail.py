"""The jail as the host sees it: give it a job, get the result, or the error that says whose fault it was.

What it guarantees: no more jobs than cores at once and one of a tenant, fair between tenants, a bounded line; every job
ends, by its own budget of CPU and memory or by the wall deadline, and with it its process; a job whose process was
taken from it is tried once more. The zygote starts with the first job and is started anew when it died, or when it says
nothing any more (it may be stopped, or swapped out). `close` leaves no process behind.
"""

from __future__ import annotations

import os

import anyio

from host.model.clock import Clock
from host.model.errors import DormiceError, UnavailableError
from host.model.limits import Limits
from host.model.ports import Metrics
from host.modules.compile import Progress, no_progress
from host.modules.flights import Begin, anyhow
from host.modules.jail.jobs import Budget, Done, Job
from host.modules.jail.line import Line
from host.modules.jail.process import ZygoteGone, ZygoteProcess
from host.modules.jail.verdict import Lost, judge
from host.telemetry.logging import get_logger

__all__ = ["Jail"]

ATTEMPTS = 2
# Jobs in a row that come to no end by the clock, after which the zygote is taken to hang; a single one may be a child's
# affair.
SILENCES = 2

log = get_logger("jail")


class Jail:
    def __init__(
        self,
        clock: Clock,
        limits: Limits,
        metrics: Metrics,
        *,
        progress: Progress = no_progress,
        places: int | None = None,
    ) -> None:
        self.budget = Budget(limits.compile_cpu, limits.compile_memory)
        self._clock = clock
        self._seconds = limits.compile_time / 1000
        self._metrics = metrics
        self._progress = progress
        self._line = Line(places or os.cpu_count() or 1, limits.compile_queue)
        self._zygote: ZygoteProcess | None = None
        self._starting = anyio.Lock()
        self._told: tuple[str, ...] = ()
        self._closed = False

    @property
    def waiting(self) -> int:
        return self._line.waiting

    @property
    def zygote_pid(self) -> int | None:
        return None if self._zygote is None else self._zygote.pid

    async def run(self, tenant: str, job: Job, what: str, *, behind: bool = False, begin: Begin = anyhow) -> Done:
        """Raises the tenant's error, `module/compile_budget`, or an UnavailableError, which is no verdict. `behind`:
        when nobody else wants the place. `begin` is called with the place in hand, and may raise to give it back."""
        async with self._line.place(tenant, behind=behind):
            begin()
            self._progress(what, done=False)
            began = self._clock.monotonic()
            try:
                done = await self._attempts(job)
            except DormiceError as error:
                self._metrics.count("jail_jobs", error.code)
                log.info("job of the jail failed", tenant=tenant, what=what, reason=error.name, detail=error.detail)
                raise
            finally:
                self._progress(what, done=True)
                self._metrics.observe("jail_job", self._clock.monotonic() - began)
            self._metrics.count("jail_jobs", "done")
            return done

    async def close(self) -> None:
        """Ends zygote and children. Safe to call twice, and while jobs run: those get `node/draining`."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            async with self._starting:
                zygote, self._zygote = self._zygote, None
                if zygote is not None:
                    await zygote.stop(self._clock)

    async def _attempts(self, job: Job) -> Done:
        reason = ""
        for _ in range(ATTEMPTS):
            zygote: ZygoteProcess | None = None
            try:
                with self._clock.fail_after(self._seconds):
                    zygote = await self._ready()
                    answer, ended = await zygote.run(job, self.budget)
                return judge(answer, ended, self.budget)
            except (Lost, ZygoteGone, OSError) as error:
                if isinstance(error, TimeoutError):  # an OSError by birth
                    reason = f"no end within {self._seconds} s"
                    if zygote is not None:
                        await self._unheard(zygote)
                    break
                reason = str(error)
                self._metrics.count("jail_jobs", "lost")
                log.warning("job of the jail lost", reason=reason)
        raise UnavailableError(
            "node",
            "compiler_down",
            "the module could not be compiled for now; try again",
            detail=reason,
            retry_after=1.0,
        )

    async def _unheard(self, zygote: ZygoteProcess) -> None:
        zygote.silent += 1
        if zygote.silent < SILENCES or self._zygote is not zygote:
            return
        self._zygote = None
        self._metrics.count("jail_restarts")
        log.warning("the jail's zygote hangs and is started anew", pid=zygote.pid, silent=zygote.silent)
        await zygote.kill()

    async def _ready(self) -> ZygoteProcess:
        async with self._starting:
            if self._closed:
                raise UnavailableError("node", "draining", "this node takes no more work; try another, or again later")
            if self._zygote is not None and not self._zygote.alive:
                zygote, self._zygote = self._zygote, None
                await zygote.stop(self._clock)
                self._metrics.count("jail_restarts")
                log.warning("the jail's zygote died and is started anew")
            if self._zygote is None:
                self._zygote = await ZygoteProcess.start()
                if self._zygote.missing != self._told:
                    self._told = self._zygote.missing
                    log.warning("the jail goes without some of its walls", missing=list(self._told))
            return self._zygote
