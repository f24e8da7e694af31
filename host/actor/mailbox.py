"""The mailbox: events of one actor in the order in which placement received them, with a line per connection.

Two halves with two owners. `post` only appends to `incoming`, from the event loop, at any time. Everything else is the
schedule: it belongs to the event loop between hops and to the executor thread while a hop runs.

Order (D4): events start in order of arrival; the events of one connection start one after another, each
when the former has settled, and one that is held back holds up only its own line.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable

from host.actor.entries import Entry, Kind

__all__ = ["Mailbox"]


class Mailbox:
    __slots__ = ("_busy", "_heap", "_parked", "_seq", "_sharing", "incoming")

    def __init__(self) -> None:
        self.incoming: deque[Entry] = deque()
        self._seq = 0
        self._heap: list[tuple[int, Entry]] = []
        self._busy: set[str] = set()
        # line -> entries in work on it that leave it free for others of their kind
        self._sharing: dict[str, int] = {}
        self._parked: dict[str, list[tuple[int, Entry]]] = {}

    def post(self, entry: Entry) -> None:
        """Event loop only; the entry takes its place in the order of arrival."""
        self._seq += 1
        entry.seq = self._seq
        self.incoming.append(entry)

    def schedule(self, entry: Entry) -> None:
        """Puts an entry, new or come back, where its `seq` says."""
        heapq.heappush(self._heap, (entry.seq, entry))

    def next(self) -> Entry | None:
        """The next entry that may start; its line is busy until `settled`. None when nothing may start."""
        heap = self._heap
        while heap:
            item = heapq.heappop(heap)
            line = item[1].line
            if line is None:
                return item[1]
            serial = item[1].serial
            if self._is_free(line, serial):
                if serial:
                    self._busy.add(line)
                else:
                    self._sharing[line] = self._sharing.get(line, 0) + 1
                return item[1]
            self._parked.setdefault(line, []).append(item)
        return None

    def _is_free(self, line: str, serial: bool) -> bool:
        """D4: the next event of a connection starts when the former has settled, and not before. Those that are not
        serial wait for the serial ones only, and the serial ones for all."""
        return line not in self._busy and not (serial and line in self._sharing)

    def hold_back(self, entry: Entry) -> None:
        """Undoes `next` for an entry that may not start yet: it waits until something of its line settles."""
        assert entry.line is not None
        self._leave(entry.line, entry.serial)
        self._parked.setdefault(entry.line, []).append((entry.seq, entry))

    def _leave(self, line: str, serial: bool) -> None:
        if serial:
            self._busy.discard(line)
        elif self._sharing.get(line, 0) > 1:
            self._sharing[line] -= 1
        else:
            self._sharing.pop(line, None)

    def settled(self, line: str, serial: bool = True) -> None:
        """The event in work on this line has settled, or goes back: its next one may start."""
        self._leave(line, serial)
        if line in self._parked:
            for item in self._parked.pop(line):
                heapq.heappush(self._heap, item)

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Returns entries whose delivery came to nothing; they keep their place, at the head of their lines."""
        for entry in entries:
            entry.reset()
            self.schedule(entry)
            if entry.line is not None:
                self.settled(entry.line, entry.serial)

    def remove_line(self, line: str) -> list[Entry]:
        """Takes out every waiting entry of a connection, and forgets that one was in work."""
        self._sharing.pop(line, None)
        self.settled(line)
        return self._take(lambda entry: entry.line == line)

    def remove_answered(self, last: int | None = None) -> list[Entry]:
        """Takes out every event whose answer is waited for, or those that were posted no later than the place
        `last`."""
        until = self._seq if last is None else last
        return self._take(lambda entry: entry.kind in (Kind.ACTION, Kind.REQUEST, Kind.AUTH) and entry.seq <= until)

    @property
    def last(self) -> int:
        """The place of what was posted last."""
        return self._seq

    def remove_kind(self, kind: Kind) -> list[Entry]:
        return self._take(lambda entry: entry.kind is kind)

    def remove_unchecked(self) -> list[Entry]:
        """Takes out every event of a client about which no auth hook was asked."""
        return self._take(lambda entry: entry.unchecked)

    def remove_alarms(self) -> list[Entry]:
        """Alarms are not kept here across instances: their rows are the truth, and a start queues those that are
        due."""
        return self.remove_kind(Kind.ALARM)

    def remove_all(self) -> list[Entry]:
        self._busy.clear()
        self._sharing.clear()
        return self._take(lambda entry: True)

    def _take(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        taken = [entry for entry in self.incoming if wanted(entry)]
        if taken:
            self.incoming = deque(entry for entry in self.incoming if not wanted(entry))
        for queue in (self._heap, *self._parked.values()):
            out = [item for item in queue if wanted(item[1])]
            if out:
                taken += [item[1] for item in out]
                queue[:] = [item for item in queue if not wanted(item[1])]
                heapq.heapify(queue)
        self._parked = {line: items for line, items in self._parked.items() if items}
        taken.sort(key=lambda entry: entry.seq)
        return taken

    def is_closing(self, line: str) -> bool:
        """The close event of the connection waits already."""
        return any(entry.kind is Kind.CLOSED and entry.line == line for entry in self.waiting())

    @property
    def may_start(self) -> bool:
        """Something may be startable: a hop is worth its while."""
        return bool(self.incoming or self._heap)

    @property
    def empty(self) -> bool:
        """Nothing waits (entries in work are not counted)."""
        return not (self.incoming or self._heap or self._parked)

    def waiting(self) -> list[Entry]:
        return [
            *self.incoming,
            *(item[1] for item in self._heap),
            *(item[1] for items in self._parked.values() for item in items),
        ]

    def __len__(self) -> int:
        return len(self.incoming) + len(self._heap) + sum(map(len, self._parked.values()))
