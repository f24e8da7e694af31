"""What a guest reads from its KV: the hop's own writes over a write-through cache over the committed rows.

Guarantees: a read sees every earlier write of the same hop, range deletions included, and never a write that is not
committed from elsewhere (an actor has one writer). The overlay becomes part of the cache when the hop has committed;
after a fault the whole view is thrown away, so there is no way back to implement.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from host.capabilities.ranges import Ranges
from host.model.errors import InternalError
from host.model.ports import StateReader

__all__ = ["CACHE_BYTES", "KvView"]

CACHE_BYTES = 1024 * 1024
ENTRY_COST = 64  # what an entry costs beside its bytes: many tiny entries must not be free
FIRST_PAGE = 32  # rows of the first read of a list; later pages follow from the size of the rows seen


class KvView:
    """`bytes_estimate` never falls below the true size of the actor's KV with the hop's writes in it, and
    `keys_estimate` never below the number of its keys."""

    __slots__ = (
        "_bound",
        "_cache",
        "_cached",
        "_hop",
        "_hop_bytes",
        "_hop_puts",
        "_order",
        "_ranges",
        "bytes_estimate",
        "keys_estimate",
    )

    def __init__(self, kv_bytes: int = 0, kv_keys: int = 0) -> None:
        self._bound: StateReader | None = None
        self._cache: dict[bytes, bytes | None] = {}  # in order of use; None: known to be absent
        self._cached = 0
        self._hop: dict[bytes, bytes | None] = {}  # None: deleted
        self._hop_bytes = 0
        self._order: list[bytes] | None = []
        self._ranges = Ranges()
        self._hop_puts = 0
        self.bytes_estimate = kv_bytes
        self.keys_estimate = kv_keys

    def bind(self, reader: StateReader) -> None:
        """Reads go through `reader`, the one of this actor and epoch."""
        self._bound = reader

    @property
    def _reader(self) -> StateReader:
        if self._bound is None:
            raise InternalError("KV was read before a reader was bound")
        return self._bound

    @property
    def dirty(self) -> bool:
        return bool(self._hop) or bool(self._ranges)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes | None] = {}
        misses: list[bytes] = []
        for key in keys:
            if key in self._hop:
                found[key] = self._hop[key]
            elif self._ranges and self._ranges.covers(key):
                found[key] = None
            elif key in self._cache:
                self._cache[key] = found[key] = self._cache.pop(key)  # now the last one used
            else:
                misses.append(key)
        if misses:
            rows = self._reader.get_many(misses)
            for key in misses:
                found[key] = value = rows.get(key)
                self._remember(key, value)
        return [found[key] for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        if self._order is not None and key not in self._hop:
            self._order = None
        if self._hop.get(key) is None and self._cache.get(key) is None:  # what is known to be there is not new
            self._hop_puts += 1
            self.keys_estimate += 1
        self._hop[key] = value
        size = len(key) + len(value)
        self._hop_bytes += size
        self.bytes_estimate += size

    def delete(self, key: bytes) -> None:
        if self._order is not None and key not in self._hop:
            self._order = None
        self._hop[key] = None

    def delete_range(self, start: bytes, end: bytes) -> None:
        for key in self._hop_keys(start, end):
            del self._hop[key]
            self._order = None
        self._ranges.add(start, end)

    def refresh_estimate(self) -> int:
        """Asks storage; what the hop has put counts in full, so the estimate stays an upper bound."""
        self.bytes_estimate = self._reader.kv_bytes() + self._hop_bytes
        return self.bytes_estimate

    def keys_with(self, keys: Sequence[bytes]) -> int:
        """How many keys there are at most when these have been put: asks storage which of them are there already."""
        self.keys_estimate = self._reader.kv_keys() + self._hop_puts
        new = {key for key, value in zip(keys, self.get_many(keys), strict=True) if value is None}
        return self.keys_estimate + len(new)

    def scan(
        self, start: bytes, end: bytes | None, *, reverse: bool, limit: int, max_bytes: int
    ) -> list[tuple[bytes, bytes]]:
        """Entries of [start, end) in byte order or from the top down, at most `limit` and `max_bytes` of keys and
        values (one entry may exceed them)."""
        found: list[tuple[bytes, bytes]] = []
        room = max_bytes
        for entry in self._merged(start, end, reverse, limit, max_bytes):
            room -= len(entry[0]) + len(entry[1])
            if room < 0 and found:
                break
            found.append(entry)
            if len(found) == limit:
                break
        return found

    def committed(self) -> None:
        """The hop's writes are on disk: they become part of the cache."""
        if self._ranges:
            for key in [key for key in self._cache if self._ranges.covers(key)]:
                self._forget(key)
            self._ranges.clear()
        if self._hop:
            for key, value in self._hop.items():
                self._remember(key, value)
            self._hop.clear()
        self._hop_bytes = 0
        self._hop_puts = 0
        self._order = []

    def _merged(
        self, start: bytes, end: bytes | None, reverse: bool, limit: int, max_bytes: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """The committed rows and the hop's own, merged; a key of the hop hides the row."""
        own = self._hop_keys(start, end)
        if reverse:
            own.reverse()
        mine = iter(own)
        key = next(mine, None)
        for row in self._rows(start, end, reverse, limit, max_bytes):
            while key is not None and (key > row[0] if reverse else key < row[0]):
                value = self._hop[key]
                if value is not None:
                    yield key, value
                key = next(mine, None)
            if key == row[0]:
                continue  # the hop's own comes in its turn
            if not self._ranges.covers(row[0]):
                yield row
        while key is not None:
            value = self._hop[key]
            if value is not None:
                yield key, value
            key = next(mine, None)

    def _rows(
        self, start: bytes, end: bytes | None, reverse: bool, limit: int, max_bytes: int
    ) -> Iterator[tuple[bytes, bytes]]:
        """Committed rows, page by page: a page of the largest values stays bounded, a page of small ones is whole."""
        page = min(limit, FIRST_PAGE)
        while True:
            if reverse:
                end = None if end is None else self._ranges.skip_down(end)
            else:
                start = self._ranges.skip_up(start)
            if end is not None and start >= end:
                return
            rows = self._reader.range(start, end, reverse=reverse, limit=page)
            yield from rows
            if len(rows) < page:
                return
            last = rows[-1][0]
            if reverse:
                end = last
            else:
                start = last + b"\x00"
            average = sum(len(key) + len(value) for key, value in rows) // len(rows)
            page = max(FIRST_PAGE, min(limit, max_bytes // (average + 1)))

    def _hop_keys(self, start: bytes, end: bytes | None) -> list[bytes]:
        if not self._hop:
            return []
        if self._order is None:
            self._order = sorted(self._hop)
        low = bisect_left(self._order, start)
        high = len(self._order) if end is None else max(low, bisect_left(self._order, end))
        return self._order[low:high]

    def _remember(self, key: bytes, value: bytes | None) -> None:
        self._forget(key)
        cost = _cost(key, value)
        if cost > CACHE_BYTES // 4:
            return
        self._cache[key] = value
        self._cached += cost
        while self._cached > CACHE_BYTES:
            self._forget(next(iter(self._cache)))

    def _forget(self, key: bytes) -> None:
        if key in self._cache:
            self._cached -= _cost(key, self._cache.pop(key))


def _cost(key: bytes, value: bytes | None) -> int:
    return ENTRY_COST + len(key) + (0 if value is None else len(value))
