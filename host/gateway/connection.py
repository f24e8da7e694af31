"""One client socket that the gateway holds: its numbering, its buffer of unacknowledged messages, its outgoing frames.

No I/O here. What it guarantees (delivery.md D3, section 4):

* Messages are numbered from 1 without a gap, and each stays buffered until an acknowledgement covers its index;
  acknowledgements are cumulative; the counts are exact.
* `full` is tested before the next read, so that one message may exceed the bound and none is refused.
* `push` keeps frames in order within a bound; a single frame larger than the bound passes when nothing else waits.

Indexes are contiguous, so the buffer is a dict by index with the lowest one kept beside it: freeing and replaying need
no scan, and an idle connection costs two empty containers.
"""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable

from host.gateway.errors import cut_reason
from host.model.tunnel import Opened, SocketMessage

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
        "actor_id",
        "buffered",
        "closing",
        "conn_id",
        "cut",
        "first",
        "gone",
        "next_index",
        "open_acked",
        "opened",
        "outgoing",
        "queued",
        "replays",
        "room_waiter",
        "write_waiter",
    )

    def __init__(self, opened: Opened, abort: Callable[[], None] | None = None) -> None:
        """`abort` drops the transport without asking the client; None where the server offers no such thing."""
        self.opened = opened
        self.actor_id = opened.actor_id
        self.conn_id = opened.conn_id
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

    # incoming ----------------------------------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        return self.next_index - self.first

    def take(self, data: str | bytes, size: int) -> SocketMessage:
        """Numbers and buffers a message."""
        index = self.next_index
        self.next_index = index + 1
        message = SocketMessage(self.actor_id, self.conn_id, index, data)
        self._messages[index] = (message, size)
        self.buffered += size
        return message

    def ack(self, index: int) -> None:
        """Frees everything up to and including `index`; wakes a reader that waits for room."""
        first, messages = self.first, self._messages
        last = min(index, self.next_index - 1)
        if last < first:
            return
        while first <= last:
            self.buffered -= messages.pop(first)[1]
            first += 1
        self.first = first
        self.open_acked = True  # the open settles before any message of its line does
        self.wake_reader()

    def after(self, index: int) -> list[SocketMessage]:
        """The buffered messages above `index`, in order."""
        return [self._messages[each][0] for each in range(max(index + 1, self.first), self.next_index)]

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
