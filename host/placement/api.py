"""What the layers above may ask of placement: the actor service, as a Protocol.

Every method raises `DormiceError`s only. The gateway is written against this and tested with a double of it.
"""

from __future__ import annotations

from typing import Protocol

from host.model.records import ActorRecord
from host.model.snapshot import ActorSnapshot
from host.model.tunnel import ActionCall, ActionReply, HttpCall, HttpReply, Opened, SocketClosed, SocketMessage
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

    async def snapshot(self, actor_id: str) -> ActorSnapshot: ...

    async def action(self, call: ActionCall) -> ActionReply:
        """Wakes the actor if need be; returns after the commit of the turn in which the action settled."""
        ...

    async def request(self, call: HttpCall) -> HttpReply: ...

    async def open_socket(self, opened: Opened) -> None:
        """Wakes the actor and returns once it runs (then the handshake is accepted and `post_opened` called); raises
        with the error to answer the upgrade with. Nothing is delivered yet."""
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

    async def sleep(self, actor_id: str) -> None:
        """Puts a running actor to sleep and returns once it does; one that sleeps already is left alone."""
        ...

    async def destroy(self, actor_id: str) -> None:
        """Durably; idempotent for concurrent calls; `actor/not_found` for an unknown or destroyed id."""
        ...
