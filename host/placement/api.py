"""What the layers above may ask of placement: the actor service, as a Protocol.

Every method raises `DormiceError`s only. The gateway is written against this and tested with a double of it.
"""

from __future__ import annotations

from typing import Protocol

from host.model.errors import DormiceError
from host.model.records import ActorRecord
from host.model.snapshot import ActorSnapshot
from host.model.status import ActorStatus
from host.model.tunnel import (
    ActionCall,
    ActionReply,
    HttpCall,
    HttpReply,
    Opened,
    SocketClosed,
    SocketMessage,
    Visitor,
)
from host.model.usage import TenantUsage
from host.storage.driver import Outbox

__all__ = ["ActorService"]


class ActorService(Protocol):
    async def get_or_create(
        self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None
    ) -> tuple[ActorRecord, bool]:
        """The live actor of the key, or a new one; True when created. No guest code runs."""
        ...

    async def create(self, tenant: str, name: str, key: tuple[str, ...], input: bytes | None) -> ActorRecord:
        """A new actor; `actor/duplicate_key` if the key has a live one."""
        ...

    async def find(self, tenant: str, name: str, key: tuple[str, ...]) -> ActorRecord | None: ...

    async def record(self, actor_id: str) -> ActorRecord:
        """`actor/not_found` if there is none (any more)."""
        ...

    def lifecycle_of(self, actor_id: str) -> str:
        """The live state: absent (not in memory), starting, running, stopping, asleep, failed."""
        ...

    def live_state(self, record: ActorRecord) -> str:
        """The state that status and snapshot name: of an actor that is not in memory, what its row says."""
        ...

    async def snapshot(self, actor_id: str) -> ActorSnapshot: ...

    async def action(self, call: ActionCall, visitor: Visitor | None = None) -> ActionReply:
        """The actor's auth hook, if it has one, is asked about the visitor first, and raises to refuse it. Wakes the
        actor if need be; returns after the commit of the turn in which the action settled."""
        ...

    async def request(self, call: HttpCall, visitor: Visitor | None = None) -> HttpReply:
        """As `action`."""
        ...

    async def open_socket(self, opened: Opened, visitor: Visitor | None = None) -> bytes | None:
        """Wakes the actor and returns once it runs (then the handshake is accepted and `post_opened` called); raises
        with the error to answer the upgrade with. Nothing is delivered yet. Returns what the auth hook made of the
        visitor."""
        ...

    def post_opened(self, opened: Opened) -> None:
        """Queues the open event of an accepted socket. Never blocks, never raises."""
        ...

    def post_message(self, message: SocketMessage) -> None:
        """Queues a message, waking the actor if it sleeps. Never blocks, never raises."""
        ...

    def post_closed(self, closed: SocketClosed) -> None:
        """Tells of a client that has gone, waking the actor if it sleeps. Never blocks, never raises."""
        ...

    async def outbox(self, actor_id: str, conn_id: str, after: int) -> Outbox | None:
        """The frames of a session above the index `after`, as they are on disk; None if the connection has no row. Does
        not wake the actor."""
        ...

    def connections_allowed(self, actor_id: str) -> int | None:
        """How many connections the actor may have; None while it is not awake, for its definition says so."""
        ...

    def refuse_connection(self, tenant: str) -> DormiceError | None:
        """Why the tenant may not have another connection."""
        ...

    def count_connections(self, tenant: str, change: int) -> None:
        """The gateway holds so many more of the tenant's connections. An empty name is not counted."""
        ...

    async def usage(self, tenant: str) -> TenantUsage:
        """The tenant's quotas and what it uses."""
        ...

    async def set_quotas(self, tenant: str, quotas: dict[str, int]) -> None:
        """Durably, in place of those set before; `request/invalid` for one that there is not, or over its maximum."""
        ...

    async def status(self, actor_id: str) -> ActorStatus:
        """Does not wake the actor."""
        ...

    async def reload(self, actor_id: str) -> ActorStatus:
        """Starts a running actor anew, tries one that failed at once, joins a start that is under way; one that sleeps
        stays asleep. From whichever version it was held back, it is not any more. Returns how it is when that is
        done, also if the start has failed."""
        ...

    async def behind(self, tenant: str, name: str) -> int:
        """How many actors of the name are awake on another version than the one that they are to run."""
        ...

    def roll_out(self, tenant: str, name: str, rate: int) -> int:
        """Begins to move the actors of the name that are awake to the version that they are to run, `rate` a second;
        how many are awake."""
        ...

    async def sleep(self, actor_id: str) -> None:
        """Puts a running actor to sleep and returns once it does; one that sleeps already is left alone."""
        ...

    async def destroy(self, actor_id: str) -> None:
        """Durably; returns when nothing of the actor is left, however many asked for it; `actor/not_found` for an
        unknown or destroyed id."""
        ...

    async def being_destroyed(self, actor_id: str) -> ActorRecord | None:
        """What an actor was whose destroy is under way: `destroy` joins it, nothing else finds it."""
        ...
