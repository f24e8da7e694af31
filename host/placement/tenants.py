"""The accounts of tenants: what the actors of each may use together, what they use, and what was refused to them.

A tenant that uses much costs itself: its CPU time comes out of a bucket of its own, and while that is empty its next
hops wait, in order; starts, actors awake, connections, modules and definitions over its quota are refused with the
limit's name. Quotas are in storage and read once; an account that has not been asked for since the process started does
not exist. Everything belongs to the event loop.
"""

from __future__ import annotations

from host.model.clock import Clock
from host.model.errors import DormiceError, limit_error
from host.model.limits import QUOTAS, Limits, quotas_with
from host.model.ports import CpuUser, Metrics
from host.model.usage import QuotaUse, TenantUsage
from host.placement.cpu_line import CpuLine
from host.placement.start_line import StartLine
from host.placement.token_bucket import TokenBucket
from host.storage.driver import Driver
from host.telemetry.logging import get_logger

__all__ = ["Tenants"]

log = get_logger("tenants")


class _Account:
    __slots__ = (
        "call_bytes",
        "calls",
        "connections",
        "cpu",
        "fetches",
        "held_up",
        "limits",
        "own",
        "refusals",
        "slowed",
        "starts",
        "timers",
    )

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self.own: dict[str, int] | None = None  # None: not read yet
        self.cpu = CpuLine(clock, limits.tenant_cpu / 1_000, limits.tenant_cpu_burst / 1_000, self._held)
        self.starts = StartLine(clock, limits.tenant_actors, limits.tenant_starts)
        self.connections = 0
        self.timers = 0
        self.fetches = TokenBucket(limits.tenant_fetches / 60, limits.tenant_fetches, clock.monotonic())
        self.calls = 0
        self.call_bytes = 0
        self.held_up = 0
        # Its bucket ran empty, and has not been full since.
        self.slowed = False
        self.refusals: dict[str, int] = {}

    def _held(self) -> None:
        self.held_up += 1


class Tenants:
    """Implements `host.model.ports.TenantPort`."""

    def __init__(self, storage: Driver, clock: Clock, limits: Limits, metrics: Metrics) -> None:
        self._storage = storage
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._accounts: dict[str, _Account] = {}
        self._since = clock.now_ms()

    def _account(self, tenant: str) -> _Account:
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = _Account(self._limits, self._clock)
        return account

    # --- quotas --------------------------------------------------------------------------------------------------

    async def load(self, tenant: str) -> None:
        account = self._account(tenant)
        if account.own is not None:
            return
        stored = await self._storage.tenant_quotas(tenant)
        # A quota that is set meanwhile is newer than what was read.
        if account.own is None:
            self._apply(account, _known(stored))

    async def set_quotas(self, tenant: str, quotas: dict[str, int]) -> None:
        """In place of those that were set before; durable when it returns."""
        quotas_with(quotas, self._limits)
        await self._storage.put_tenant_quotas(tenant, quotas, self._clock.now_ms())
        self._apply(self._account(tenant), dict(quotas))
        log.info("quotas set", tenant=tenant, quotas=quotas)

    def _apply(self, account: _Account, own: dict[str, int]) -> None:
        limits = quotas_with(own, self._limits)
        account.own, account.limits = own, limits
        account.cpu.configure(limits.tenant_cpu / 1_000, limits.tenant_cpu_burst / 1_000)
        account.starts.configure(limits.tenant_actors, limits.tenant_starts)
        account.fetches.configure(limits.tenant_fetches / 60, limits.tenant_fetches, self._clock.monotonic())

    async def usage(self, tenant: str) -> TenantUsage:
        await self.load(tenant)
        account = self._account(tenant)
        modules, stored = await self._storage.modules_size(tenant)
        definitions = len(await self._storage.list_definitions(tenant))
        tokens = len(await self._storage.tokens_of(tenant, self._clock.now_ms()))
        limits = account.limits
        used: dict[str, int | None] = {
            "tenant_cpu": None,
            "tenant_cpu_burst": limits.tenant_cpu_burst - int(account.cpu.level * 1_000),
            "tenant_actors": account.starts.awake,
            "tenant_starts": limits.tenant_starts - int(account.starts.level),
            "tenant_connections": account.connections,
            "tenant_modules": stored,
            "tenant_definitions": definitions,
            "tenant_tokens": tokens,
            "tenant_timers": account.timers,
            "tenant_fetches": limits.tenant_fetches - int(account.fetches.level(self._clock.monotonic())),
            "tenant_calls": account.calls,
            "tenant_call_bytes": account.call_bytes,
        }
        own = account.own or {}
        return TenantUsage(
            namespace=tenant,
            quotas={
                quota.name: QuotaUse(
                    used[quota.name], getattr(limits, quota.name), quota.maximum, quota.unit, quota.name in own
                )
                for quota in QUOTAS
            },
            modules=modules,
            cpu_ms=int(account.cpu.used * 1_000),
            starts=account.starts.started,
            held_up=account.held_up,
            refusals=dict(sorted(account.refusals.items())),
            since=self._since,
        )

    # --- actors --------------------------------------------------------------------------------------------------

    def begin_start(self, tenant: str, user: CpuUser | None = None) -> None:
        account = self._account(tenant)
        limit = account.starts.begin(user)
        if limit is None:
            return
        allowed = account.limits.tenant_actors if limit == "tenant_actors" else account.limits.tenant_starts
        used = account.starts.awake + 1 if limit == "tenant_actors" else allowed + 1
        what = "let others sleep" if limit == "tenant_actors" else "start fewer actors"
        advice, after = f"{what}, or ask the operator for more", account.starts.retry_after(limit)
        raise self._refusal(tenant, account, limit, used, allowed, advice, after)

    def wait_start(self, tenant: str, user: CpuUser) -> None:
        self._account(tenant).starts.wait(user)

    def may_start(self, tenant: str, user: CpuUser) -> bool:
        return self._account(tenant).starts.is_kept(user)

    def leave_start(self, tenant: str, user: CpuUser) -> None:
        self._account(tenant).starts.leave(user)

    def end_start(self, tenant: str, again: CpuUser | None = None) -> None:
        self._account(tenant).starts.end(again)

    # --- CPU time ------------------------------------------------------------------------------------------------

    def may_run(self, tenant: str, user: CpuUser) -> bool:
        account = self._account(tenant)
        before = account.held_up
        if account.cpu.may_run(user):
            return True
        if account.held_up != before:
            self._metrics.count("limits", "tenant_cpu")
            log.debug("held up", tenant=tenant, limit="tenant_cpu", waiting=len(account.cpu))
        return False

    def leave(self, tenant: str, user: CpuUser) -> None:
        self._account(tenant).cpu.leave(user)

    def charge(self, tenant: str, seconds: float) -> None:
        account = self._account(tenant)
        if account.slowed and account.cpu.level >= account.limits.tenant_cpu_burst / 1_000:
            account.slowed = False
        if account.cpu.charge(seconds) <= 0 and not account.slowed:
            # D10: that a tenant is slowed is told once until it has saved all that it can save again: one that is
            # always busy hovers around nothing.
            account.slowed = True
            self._metrics.count("tenants_slowed", "tenant_cpu")
            log.warning(
                "tenant slowed",
                tenant=tenant,
                limit="tenant_cpu_burst",
                used=account.limits.tenant_cpu_burst - int(account.cpu.level * 1_000),
                allowed=account.limits.tenant_cpu_burst,
            )

    def late_for_cpu(self, tenant: str) -> DormiceError:
        account = self._account(tenant)
        allowed = account.limits.tenant_cpu_burst
        used = allowed - int(account.cpu.level * 1_000)
        advice = "use less CPU time, or ask the operator for more"
        return self._refusal(tenant, account, "tenant_cpu_burst", used, allowed, advice, account.cpu.wait)

    # --- connections and timers ----------------------------------------------------------------------------------

    def refuse_connection(self, tenant: str) -> DormiceError | None:
        account = self._account(tenant)
        allowed = account.limits.tenant_connections
        if account.connections < allowed:
            return None
        advice = "close others first, or ask the operator for more"
        return self._refusal(tenant, account, "tenant_connections", account.connections + 1, allowed, advice, None)

    def count_connections(self, tenant: str, change: int) -> None:
        self._account(tenant).connections += change

    def timer_room(self, tenant: str) -> tuple[int, int]:
        account = self._account(tenant)
        return account.timers, account.limits.tenant_timers

    def count_timers(self, tenant: str, change: int) -> None:
        self._account(tenant).timers += change

    # --- calls ---------------------------------------------------------------------------------------------------

    def begin_call(self, tenant: str, size: int) -> DormiceError | None:
        account = self._account(tenant)
        allowed = account.limits.tenant_calls
        if account.calls >= allowed:
            advice = "wait for calls to complete, or ask the operator for more"
            return self._refusal(tenant, account, "tenant_calls", account.calls + 1, allowed, advice, None)
        refused = self.grow_call(tenant, size)
        if refused is None:
            account.calls += 1
        return refused

    def grow_call(self, tenant: str, size: int) -> DormiceError | None:
        account = self._account(tenant)
        used, allowed = account.call_bytes + size, account.limits.tenant_call_bytes
        if used > allowed:
            advice = "send and ask for less at a time, or ask the operator for more"
            return self._refusal(tenant, account, "tenant_call_bytes", used, allowed, advice, None)
        account.call_bytes = used
        return None

    def take_fetch(self, tenant: str) -> DormiceError | None:
        account, now = self._account(tenant), self._clock.monotonic()
        if account.fetches.try_take(1, now):
            return None
        allowed = account.limits.tenant_fetches
        advice, after = "fetch less often, or ask the operator for more", account.fetches.wait(now, 1)
        return self._refusal(tenant, account, "tenant_fetches", allowed + 1, allowed, advice, after)

    def end_call(self, tenant: str, size: int) -> None:
        account = self._account(tenant)
        account.calls -= 1
        account.call_bytes -= size

    # --- modules and definitions ---------------------------------------------------------------------------------

    async def admit_module(self, tenant: str, size: int) -> None:
        await self.load(tenant)
        account = self._account(tenant)
        _, stored = await self._storage.modules_size(tenant)
        allowed = account.limits.tenant_modules
        if stored + size > allowed:
            advice = "ask the operator for more"
            raise self._refusal(tenant, account, "tenant_modules", stored + size, allowed, advice, None)

    async def admit_definition(self, tenant: str, name: str) -> None:
        await self.load(tenant)
        account = self._account(tenant)
        names = {definition.name for definition in await self._storage.list_definitions(tenant)}
        allowed = account.limits.tenant_definitions
        if name not in names and len(names) >= allowed:
            advice = "use a name that there is, or ask the operator for more"
            raise self._refusal(tenant, account, "tenant_definitions", len(names) + 1, allowed, advice, None)

    def _refusal(
        self, tenant: str, account: _Account, limit: str, used: int, allowed: int, advice: str, after: float | None
    ) -> DormiceError:
        account.refusals[limit] = account.refusals.get(limit, 0) + 1
        log.info("refused over a quota", tenant=tenant, limit=limit, used=used, allowed=allowed)
        error = limit_error(limit, used, allowed, advice)
        if after is not None:
            error.retryable, error.retry_after = True, after
        return error


def _known(stored: dict[str, int]) -> dict[str, int]:
    """Quotas that this version knows, within the maxima that it has now: what is stored may be older."""
    maxima = {quota.name: quota.maximum for quota in QUOTAS}
    return {name: max(1, min(value, maxima[name])) for name, value in stored.items() if name in maxima}
