"""One client socket that the gateway holds: its numbering, its buffer of unacknowledged messages, its outgoing frames.

No I/O here. What it guarantees (D3):

* Messages are numbered from 1 without a gap, and each stays buffered until an acknowledgement covers its index;
  acknowledgements are cumulative; the counts are exact.
* `full` is tested before the next read, so that one message may exceed the bound and none is refused.
* `push` keeps frames in order within a bound; a single frame larger than the bound passes when nothing else waits.
* When the client of a session comes back, a new `Connection` inherits numbering and buffer (`succeed`); the old one
  keeps nothing but its transport, on its way out.

Indexes are contiguous, so the buffer is a dict by index with the lowest one kept beside it: freeing and replaying need
no scan, and an idle connection costs two empty containers.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

from anyio import Event

from host.gateway.errors import cut_reason
from host.model.clock import TimerHandle
from host.model.tunnel import ActionRequest, Opened, SocketMessage, Subscription

__all__ = ["Connection", "size_of"]

# What a close frame may carry besides 3000 to 4999 (RFC 6455 section 7.4 and the registry that it founded).
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})

Waiter = Future[None] | None


def size_of(data: str | bytes) -> int:
    """Bytes on the wire; for ASCII text, which CPython knows of each str, without encoding it."""
    if type(data) is str and not data.isascii():
        return len(data.encode())
    return len(data)


class Connection:
    __slots__ = (
        "_messages",
        "abort",
        "actions",
        "actor_id",
        "buffered",
        "closing",
        "conn_id",
        "cut",
        "detached",
        "expires_at",
        "expiry",
        "first",
        "gone",
        "next_index",
        "open_acked",
        "open_settled",
        "opened",
        "outgoing",
        "pushed",
        "queued",
        "repeats",
        "replaying",
        "replays",
        "room_waiter",
        "sent",
        "session",
        "token_id",
        "write_waiter",
    )

    def __init__(self, opened: Opened, abort: Callable[[], None] | None = None) -> None:
        """`abort` drops the transport without asking the client; None where the server offers no such thing."""
        self.opened = opened
        self.actor_id = opened.actor_id
        self.conn_id = opened.conn_id
        self.token_id = opened.token_id
        self.actions = opened.actions
        self.abort = abort
        self.open_acked = False
        # incoming: indexes first .. next_index - 1 are buffered
        self.first = 1
        self.next_index = 1
        self._messages: dict[int, tuple[SocketMessage, int]] = {}
        self.buffered = 0
        self.replays = 0
        self.room_waiter: Waiter = None
        # outgoing
        self.outgoing: list[tuple[str | bytes, int]] = []
        self.queued = 0
        self.closing: tuple[int, str] | None = None
        self.cut = False
        self.gone = False
        self.write_waiter: Waiter = None
        # sessions: of the messages to come so many came before; frames up to `sent` are in the outbox, those up to
        # `pushed` are on their way on this transport
        self.session = opened.session
        self.repeats = 0
        self.sent = 0
        self.pushed = 0
        self.replaying = False
        self.detached = False
        self.expires_at: int | None = None
        self.expiry: TimerHandle | None = None
        self.open_settled: Event | None = None

    # incoming ----------------------------------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        return self.next_index - self.first

    @property
    def is_closing(self) -> bool:
        return self.closing is not None

    def take(self, data: str | bytes | ActionRequest | Subscription, size: int) -> SocketMessage:
        """Numbers and buffers a message of `size` bytes."""
        index = self.next_index
        self.next_index = index + 1
        message = SocketMessage(self.actor_id, self.conn_id, index, data)
        self._messages[index] = (message, size)
        self.buffered += size
        return message

    def ack(self, index: int) -> None:
        """D3: frees everything up to and including `index`, and nothing else does; wakes a reader that waits for
        room."""
        first, messages = self.first, self._messages
        last = min(index, self.next_index - 1)
        if last < first:
            return
        while first <= last:
            self.buffered -= messages.pop(first)[1]
            first += 1
        self.first = first
        self.confirm()  # the open settles before any message of its line does
        self.wake_reader()

    def after(self, index: int) -> list[SocketMessage]:
        """The buffered messages above `index`, in order."""
        return [self._messages[each][0] for each in range(max(index + 1, self.first), self.next_index)]

    # sessions ----------------------------------------------------------------------------------------------------

    def confirm(self) -> None:
        """The open is committed."""
        self.open_acked = True
        if self.open_settled is not None:
            self.open_settled.set()

    def restore(self, msg_index: int, sent: int) -> None:
        """As the disk knows it: what came after is not here any more."""
        self.first = self.next_index = msg_index + 1
        self.sent = sent
        self.open_acked = True
        self.detached = True

    def succeed(self, former: Connection, last_seen: int, following: int) -> None:
        """Takes over all but the transport. The client has the frames up to `last_seen`, and is going to send from
        `following` on, which is not above `next_index`."""
        self._messages, former._messages = former._messages, {}
        self.first, self.next_index, self.buffered = former.first, former.next_index, former.buffered
        self.open_acked, self.open_settled = former.open_acked, former.open_settled
        self.sent = former.sent
        self.pushed = last_seen
        self.replaying = True
        self.repeats = self.next_index - following
        if former.expiry is not None:
            former.expiry.cancel()

    def wants_replay(self) -> bool:
        """Asked after every await: it may have been taken over or ended meanwhile."""
        return self.replaying and self.closing is None

    def replay(self, data: str | bytes) -> None:
        """Queues a frame of the outbox, which is bounded itself, besides the bound of `push`."""
        self.outgoing.append((data, 0))
        self.wake_writer()

    def detach(self) -> None:
        """The transport is gone: frames wait in the outbox alone."""
        self.detached = True
        self.replaying = False
        self.outgoing.clear()
        self.queued = 0

    # outgoing ----------------------------------------------------------------------------------------------------

    def push(self, data: str | bytes, allowed: int) -> bool:
        """Queues a frame for the writer; False if the client does not keep up."""
        try:
            size = size_of(data)
        except UnicodeEncodeError:  # half of a surrogate pair has no form on the wire
            data = str(data).encode("utf-8", "replace")
            size, data = len(data), data.decode()
        if self.queued and self.queued + size > allowed:
            return False
        self.queued += size
        self.outgoing.append((data, size))
        self.wake_writer()
        return True

    def begin_close(self, code: int, reason: str, *, cut: bool = False) -> None:
        """The writer closes the socket after the frames queued so far, or with `cut` without them."""
        valid = code in _CLOSE_CODES or 3000 <= code <= 4999
        self.closing = (code if valid else 1000, cut_reason(reason))
        if cut:
            self.cut = True
            self.outgoing.clear()
        self.wake_writer()
        self.wake_reader()

    # waking ------------------------------------------------------------------------------------------------------

    def wake_reader(self) -> None:
        waiter = self.room_waiter
        if waiter is not None:
            self.room_waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def wake_writer(self) -> None:
        waiter = self.write_waiter
        if waiter is not None:
            self.write_waiter = None
            if not waiter.done():
                waiter.set_result(None)
