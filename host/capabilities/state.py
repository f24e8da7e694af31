"""The hydrated state of one actor: what its capabilities read and change in memory, ahead of the commit.

While a hop runs it belongs to the hop's thread; between hops the actor adds and removes connections and settles
alarms. After a fault the whole of it is thrown away and hydrated anew, which is why nothing here can be undone.
"""

from __future__ import annotations

from bisect import bisect_right

from host.capabilities.kv_view import KvView
from host.model.records import ActorImage, AlarmRow, ConnectionRow, CronRun
from host.model.tunnel import SocketProtocol

__all__ = ["ActorState", "Connection"]


class Connection:
    """What a guest sees of one connection. `open` turns false when the guest closes it in the running hop. `protocol`
    is the encoding of a /connect connection, else empty; what it is subscribed to, `ActorState` keeps by event.
    `is_session`: its frames are kept on disk too."""

    __slots__ = (
        "auth", "conn_id", "hibernatable", "is_session", "open", "params", "path", "protocol", "state", "tags",
    )  # fmt: skip

    def __init__(
        self,
        conn_id: str,
        path: str,
        params: bytes | None = None,
        state: bytes | None = None,
        tags: tuple[str, ...] = (),
        hibernatable: bool = True,
        protocol: SocketProtocol = "",
        is_session: bool = False,
        auth: bytes | None = None,
    ) -> None:
        self.conn_id = conn_id
        self.path = path
        self.params = params
        self.state = state
        self.tags = tags
        self.hibernatable = hibernatable
        self.protocol = protocol
        self.is_session = is_session
        self.auth = auth
        self.open = True


class ActorState:
    """The KV view is bound to its reader by the session of host calls. `fire_seq` is the last one given out: it rises
    with every setting of an alarm, over all alarms of the actor. `runs` are those kept of each cron, the oldest first.
    `subscribers` has the connections of each event, in the order in which they subscribed."""

    __slots__ = ("_order", "alarms", "connections", "document", "fire_seq", "kv", "runs", "subscribers")

    def __init__(self) -> None:
        self.document: bytes | None = None
        self.alarms: dict[str, AlarmRow] = {}
        self.connections: dict[str, Connection] = {}
        self.runs: dict[str, list[CronRun]] = {}
        self.fire_seq = 0
        self.kv = KvView()
        self.subscribers: dict[str, dict[str, Connection]] = {}
        self._order: list[str] | None = None

    @classmethod
    def from_image(cls, image: ActorImage) -> ActorState:
        state = cls()
        state.document = image.state
        state.alarms = {row.alarm_id: row for row in image.alarms}
        state.fire_seq = max((row.fire_seq for row in image.alarms), default=0)
        for run in image.runs:
            state.runs.setdefault(run.name, []).append(run)
        state.kv.bytes_estimate = image.record.kv_bytes
        state.kv.keys_estimate = image.record.kv_keys
        for row in image.connections:
            state.add_connection(row)
        return state

    @property
    def kv_bytes(self) -> int:
        """Never below the true size of the KV; exact after a start and after a refresh."""
        return self.kv.bytes_estimate

    def add_connection(self, row: ConnectionRow) -> None:
        connection = self.connections[row.conn_id] = Connection(
            row.conn_id,
            row.path,
            row.params,
            row.state,
            row.tags,
            row.hibernatable,
            row.protocol,
            row.session is not None,
            row.auth,
        )
        for event in row.subscriptions:
            self.subscribers.setdefault(event, {})[row.conn_id] = connection
        self._order = None

    def remove_connection(self, conn_id: str) -> None:
        """The connection is gone (an unknown one is no error: both sides may end it)."""
        connection = self.connections.pop(conn_id, None)
        if connection is None:
            return
        self._order = None
        if connection.protocol:
            for event in [event for event, wanted in self.subscribers.items() if conn_id in wanted]:
                self.subscribe(conn_id, event, False)

    def subscribe(self, conn_id: str, event: str, on: bool) -> None:
        """A client of a /connect connection wants an event, or no longer."""
        connection = self.connections.get(conn_id)
        if on and connection is not None:
            self.subscribers.setdefault(event, {})[conn_id] = connection
            return
        wanted = self.subscribers.get(event, {})
        wanted.pop(conn_id, None)
        if not wanted:
            self.subscribers.pop(event, None)

    def connections_after(self, conn_id: str) -> list[str]:
        """The ids above `conn_id`, in order; the guest pages through them, so the order is kept between calls."""
        if self._order is None:
            self._order = sorted(self.connections)
        return self._order[bisect_right(self._order, conn_id) :]

    def alarm_settled(self, alarm_id: str, fire_seq: int) -> bool:
        """Forgets an alarm whose handler settled with a result, unless its id was set again meanwhile."""
        row = self.alarms.get(alarm_id)
        if row is None or row.fire_seq != fire_seq:
            return False
        del self.alarms[alarm_id]
        return True

    def committed(self) -> None:
        """The hop is durable: its KV writes become part of the cache."""
        self.kv.committed()
