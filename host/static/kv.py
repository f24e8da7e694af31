"""The durable key-value store of a static actor: ordered by bytes, written with the turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET

from host.bridge.envelopes import KvDelete, KvDeleteRange, KvGet, KvList, KvPut
from host.static.calls import Caller

__all__ = ["Kv"]

Key = str | bytes


class Kv:
    """Keys and values are bytes; text is taken as UTF-8. Reads see the writes of the running turn. Every method raises
    `CallerError` (`limit/exceeded`) for what is over a limit, and writes nothing of that call then."""

    __slots__ = ("_call",)

    def __init__(self, call: Caller) -> None:
        self._call = call

    def get(self, key: Key) -> bytes | None:
        found: list[bytes | None] = self._call(KvGet([_bytes(key)]))
        return found[0]

    def get_text(self, key: Key) -> str | None:
        value = self.get(key)
        return None if value is None else value.decode()

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Up to 128, in the order asked."""
        found: list[bytes | None] = self._call(KvGet([_bytes(key) for key in keys]))
        return found

    def put(self, key: Key, value: str | bytes) -> None:
        self._call(KvPut([(_bytes(key), _bytes(value))]))

    def put_many(self, entries: Mapping[Key, str | bytes]) -> None:
        """Up to 128, all or none."""
        self._call(KvPut([(_bytes(key), _bytes(value)) for key, value in entries.items()]))

    def delete(self, *keys: Key) -> None:
        self._call(KvDelete([_bytes(key) for key in keys]))

    def delete_range(self, start: Key, end: Key) -> None:
        """From `start` up to, without, `end`."""
        self._call(KvDeleteRange(_bytes(start), _bytes(end)))

    def list(
        self,
        prefix: Key | None = None,
        *,
        start: Key | None = None,
        end: Key | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> list[tuple[bytes, bytes]]:
        """By `prefix`, or from `start` up to `end`; at most `limit` entries (1,000) and 1 MiB: go on after the last."""
        found: list[tuple[bytes, bytes]] = self._call(
            KvList(
                prefix=UNSET if prefix is None else _bytes(prefix),
                start=UNSET if start is None else _bytes(start),
                end=UNSET if end is None else _bytes(end),
                reverse=reverse,
                limit=UNSET if limit is None else limit,
            )
        )
        return found


def _bytes(given: str | bytes) -> bytes:
    return given.encode() if isinstance(given, str) else bytes(given)
