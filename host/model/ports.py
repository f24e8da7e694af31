"""Calls that point up, as Protocols: implemented above, passed in by the node.

`StateReader` is synchronous and lives on executor threads; the others belong to the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from host.model.calls import Caller, CallOutcome, DeferredCall, FetchCall
from host.model.errors import DormiceError
from host.model.tunnel import Opened
from host.model.usage import TenantUsage

__all__ = [
    "CallPort",
    "CpuUser",
    "Done",
    "EgressPort",
    "GatewayPort",
    "Hold",
    "Metrics",
    "StateReader",
    "TenantPort",
    "WakePort",
]


# Is told how a call ended.
Done = Callable[[CallOutcome], None]
# Memory of the tenant's for so many bytes more of an answer; or why not.
Hold = Callable[[int], DormiceError | None]


class StateReader(Protocol):
    """Cold reads of one actor's committed KV, called on the executor thread during a hop. Raises
    `storage/unavailable` (UnavailableError)."""

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The keys that exist, with their values."""
        ...

    def range(self, start: bytes, end: bytes | None, *, reverse: bool, limit: int) -> list[tuple[bytes, bytes]]:
        """[start, end) in byte order, or from its top down; `end` None is the end of the key space."""
        ...

    def kv_bytes(self) -> int:
        """Bytes of all keys and values as committed."""
        ...

    def kv_keys(self) -> int:
        """How many keys, as committed."""
        ...


class GatewayPort(Protocol):
    """What an actor may ask of the gateway that holds its connections. All synchronous: messages, not calls."""

    gateway_id: str

    def connections_of(self, actor_id: str) -> Sequence[Opened]:
        """The open of every connection that the gateway now holds for the actor, the oldest first."""
        ...

    def is_open_acked(self, conn_id: str) -> bool | None:
        """Whether the open of a connection is known to be committed; None if the connection is not held."""
        ...

    def rebind(self, conn_id: str, msg_index: int) -> bool:
        """The actor is awake and knows this connection up to `msg_index`: the gateway frees what is acknowledged and
        posts again every message above it, in order, before this returns. False: the connection is not held."""
        ...

    def opened(self, conn_id: str) -> None:
        """The open is committed."""
        ...

    def frame(self, conn_id: str, data: str | bytes, index: int = 0) -> None:
        """Sends a frame; for an unknown connection it is dropped and counted. `index` is its number in the outbox of a
        session, from 1 and without a gap; 0 for a plain connection."""
        ...

    def ack(self, conn_id: str, msg_index: int) -> None:
        """Every message up to `msg_index` has been committed (cumulative)."""
        ...

    def resend(self, conn_id: str, after: int) -> bool:
        """Asks once for every message above `after`; False if the gateway does not have them."""
        ...

    def close(self, conn_id: str, code: int, reason: str) -> None:
        """Closes the client's socket after the frames sent so far; no close event comes back for it."""
        ...


class WakePort(Protocol):
    """What an instance tells placement."""

    def wake_at_changed(self, actor_id: str, wake_at: int | None) -> None:
        """The earliest alarm of the actor, after a commit."""
        ...

    def destroy_asked(self, actor_id: str) -> None:
        """The actor asked to be destroyed, in a turn that is committed."""
        ...


class CallPort(Protocol):
    """Carries out the calls of actors. Event loop."""

    def start_call(self, caller: Caller, call: DeferredCall, done: Done, hold: Hold) -> Callable[[], None]:
        """Begins it in a task of its own. `done` is told how it ended, once, and never before this has returned; what
        this returns cuts it off: then `done` is not called any more. `hold` is asked before more of an answer is
        kept."""
        ...


class EgressPort(Protocol):
    """The way out to other servers."""

    async def fetch(self, caller: Caller, call: FetchCall, hold: Hold) -> CallOutcome:
        """The answer, or why there is none; never raises but for a cancellation."""
        ...


class CpuUser(Protocol):
    """Who waits for CPU time of its tenant."""

    def signal(self) -> None:
        """Ask again."""
        ...


class TenantPort(Protocol):
    """What the actors of a tenant may use together, and what they use. Synchronous but for `load`, on the event loop.
    A refusal names the limit, is logged and counted here."""

    async def load(self, tenant: str) -> None:
        """Reads the tenant's quotas once; before anything else is asked about a tenant its defaults hold."""
        ...

    def begin_start(self, tenant: str, user: CpuUser | None = None) -> None:
        """One more of its actors is awake, until `end_start`; raises `limit/exceeded` with a time to try again. Never
        for a user whose start is kept (`may_start`)."""
        ...

    def wait_start(self, tenant: str, user: CpuUser) -> None:
        """A place in the line for the next start that becomes free; `signal` says that one is kept for the user."""
        ...

    def may_start(self, tenant: str, user: CpuUser) -> bool:
        """Whether a start is kept for the user."""
        ...

    def leave_start(self, tenant: str, user: CpuUser) -> None:
        """It does not wait any more, and gives back a start that is kept for it."""
        ...

    def end_start(self, tenant: str, again: CpuUser | None = None) -> None:
        """One less is awake; `again` starts anew at once, and one is kept for it if there is one."""
        ...

    def may_run(self, tenant: str, user: CpuUser) -> bool:
        """Whether `user` may have CPU time now. If not, it has a place in the line and is told when to ask again."""
        ...

    def leave(self, tenant: str, user: CpuUser) -> None:
        """It does not wait any more."""
        ...

    def charge(self, tenant: str, seconds: float) -> None:
        """CPU time that was used."""
        ...

    def late_for_cpu(self, tenant: str) -> DormiceError:
        """What is told, and counted once, to those who have waited too long for CPU time."""
        ...

    def refuse_connection(self, tenant: str) -> DormiceError | None:
        """Why the tenant may not have another connection."""
        ...

    def count_connections(self, tenant: str, change: int) -> None: ...

    def timer_room(self, tenant: str) -> tuple[int, int]:
        """(outstanding timers of the tenant, how many it may have)."""
        ...

    def count_timers(self, tenant: str, change: int) -> None: ...

    def begin_call(self, tenant: str, size: int) -> DormiceError | None:
        """One more call of its actors is outstanding, which holds so many bytes, until `end_call`; or why not."""
        ...

    def grow_call(self, tenant: str, size: int) -> DormiceError | None:
        """A call holds so many bytes more; or why not."""
        ...

    def take_fetch(self, tenant: str) -> DormiceError | None:
        """Counts one request to the outside against the tenant's rate; or why it may not be made."""
        ...

    def end_call(self, tenant: str, size: int) -> None:
        """It is over, with all the bytes that it held."""
        ...

    async def usage(self, tenant: str) -> TenantUsage: ...

    async def set_quotas(self, tenant: str, quotas: dict[str, int]) -> None:
        """In place of those that were set before; durable when it returns. Raises `request/invalid`."""
        ...

    async def admit_module(self, tenant: str, size: int) -> None:
        """Raises `limit/exceeded` if the tenant may not store a module of `size` bytes besides those it has."""
        ...

    async def admit_definition(self, tenant: str, name: str) -> None:
        """The same for a definition of a new name."""
        ...


class Metrics(Protocol):
    """Counters by reason (D10), gauges and histograms. Names are without the `dormice_` prefix."""

    def count(self, name: str, reason: str = "", n: int = 1) -> None: ...

    def gauge(self, name: str, value: float) -> None: ...

    def observe(self, name: str, seconds: float) -> None: ...
