"""First what the client missed, from the outbox on disk, then what is sent live.

Live frames are in the outbox before they reach the gateway. So while the outbox is read they are only counted
(`Connection.sent`), and read in turn, until nothing is missing; from then on they go straight out. `pushed` keeps each
index from going out twice.
"""

from __future__ import annotations

from host.gateway.connection import Connection
from host.placement.api import ActorService

__all__ = ["Truncated", "replay_outbox"]


class Truncated(Exception):
    """The outbox does not go back to what the client saw last."""


async def replay_outbox(conn: Connection, service: ActorService, allowed: int) -> bool:
    """Queues what is missing behind `conn.pushed`. False if the client does not keep up. Raises Truncated."""
    first = True
    while conn.wants_replay() and (first or conn.sent > conn.pushed):
        found = await service.outbox(conn.actor_id, conn.conn_id, conn.pushed)
        if not conn.wants_replay():
            return True
        if found is None:
            break  # no row yet, and so no frames; or no row any more, which the actor's side tells
        for frame in found.frames:
            if frame.index != conn.pushed + 1:
                raise Truncated
            if first:
                conn.replay(frame.data)
            elif not conn.push(frame.data, allowed):
                return False
            conn.pushed = frame.index
        if conn.pushed < found.sent_index:
            raise Truncated
        conn.sent = max(conn.sent, conn.pushed)
        first = False
    conn.replaying = False
    return True
