"""The connections that the gateway holds: by id, by actor in the order of their opens, and by a session's secret.

One connection stands for each id. When a session's client comes back, the new one takes the place of the old (`put`),
and the old one cannot take itself out any more (`remove` asks who stands there).
"""

from __future__ import annotations

from collections.abc import Iterator

from host.gateway.connection import Connection

__all__ = ["Held"]


class Held:
    def __init__(self) -> None:
        self._by_id: dict[str, Connection] = {}
        self._by_actor: dict[str, dict[str, Connection]] = {}
        self._by_session: dict[tuple[str, bytes], str] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._by_id.values()))

    def get(self, conn_id: str) -> Connection | None:
        return self._by_id.get(conn_id)

    def of_actor(self, actor_id: str) -> list[Connection]:
        return list(self._by_actor.get(actor_id, {}).values())

    def count_of(self, actor_id: str) -> int:
        return len(self._by_actor.get(actor_id, ()))

    def of_session(self, actor_id: str, session: bytes) -> Connection | None:
        """A secret counts on the actor that it was chosen for, and on no other."""
        conn_id = self._by_session.get((actor_id, session))
        return None if conn_id is None else self.get(conn_id)

    def stands(self, conn: Connection) -> bool:
        return self.get(conn.conn_id) is conn

    def put(self, conn: Connection) -> None:
        self._by_id[conn.conn_id] = conn
        self._by_actor.setdefault(conn.actor_id, {})[conn.conn_id] = conn
        if conn.session is not None:
            self._by_session[(conn.actor_id, conn.session)] = conn.conn_id

    def remove(self, conn: Connection) -> bool:
        """False if it does not stand there (any more)."""
        if not self.stands(conn):
            return False
        del self._by_id[conn.conn_id]
        of_actor = self._by_actor[conn.actor_id]
        del of_actor[conn.conn_id]
        if not of_actor:
            del self._by_actor[conn.actor_id]
        if conn.session is not None:
            place = (conn.actor_id, conn.session)
            if self._by_session.get(place) == conn.conn_id:
                del self._by_session[place]
        return True
