"""The KV view against the plainest model there is: a dict to which every write is applied at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.capabilities.kv_view import CACHE_BYTES, KvView
from host.capabilities.ranges import Ranges
from host.model.effects import KvDelete, KvDeleteRange, KvOp, KvPut
from host.model.errors import InternalError
from tests.capabilities.support import FakeReader

keys = st.binary(min_size=1, max_size=3).map(lambda key: bytes(byte % 3 for byte in key))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), keys, st.binary(max_size=3)),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("delete_range"), keys, keys),
        st.tuples(st.just("get"), st.lists(keys, max_size=4)),
        st.tuples(st.just("scan"), keys, st.none() | keys, st.booleans(), st.integers(1, 5)),
        st.tuples(st.just("commit")),
    ),
    max_size=30,
)


def view_of(reader: FakeReader) -> KvView:
    view = KvView(reader.kv_bytes())
    view.bind(reader)
    return view


@settings(max_examples=300)
@given(st.dictionaries(keys, st.binary(max_size=3), max_size=12), steps)
def test_a_guest_reads_what_it_wrote(rows: dict[bytes, bytes], actions: list[tuple[Any, ...]]) -> None:
    reader, model, ops = FakeReader(rows), dict(rows), list[KvOp]()
    view = view_of(reader)
    for name, *args in actions:
        if name == "put":
            view.put(*args)
            model[args[0]] = args[1]
            ops.append(KvPut(*args))
        elif name == "delete":
            view.delete(*args)
            model.pop(args[0], None)
            ops.append(KvDelete(*args))
        elif name == "delete_range":
            view.delete_range(*args)
            model = {key: value for key, value in model.items() if not args[0] <= key < args[1]}
            ops.append(KvDeleteRange(*args))
        elif name == "get":
            assert view.get_many(args[0]) == [model.get(key) for key in args[0]]
        elif name == "scan":
            start, end, reverse, limit = args
            found = view.scan(start, end, reverse=reverse, limit=limit, max_bytes=1000)
            hits = sorted((key for key in model if key >= start and (end is None or key < end)), reverse=reverse)
            assert found == [(key, model[key]) for key in hits[:limit]]
        else:
            reader.commit(ops)
            ops.clear()
            view.committed()
            assert not view.dirty
        assert view.bytes_estimate >= sum(len(key) + len(value) for key, value in model.items())


@given(st.lists(st.tuples(keys, keys), max_size=12), keys)
def test_merged_ranges_cover_what_each_of_them_covers(pairs: list[tuple[bytes, bytes]], key: bytes) -> None:
    ranges = Ranges()
    for start, end in pairs:
        ranges.add(start, end)
    assert ranges.covers(key) == any(start <= key < end for start, end in pairs)
    merged = ranges.pairs()
    assert all(start < end for start, end in merged)
    assert all(first[1] < second[0] for first, second in pairwise(merged))
    assert not ranges.covers(ranges.skip_up(key))
    assert ranges.skip_up(key) >= key >= ranges.skip_down(key)


def test_a_committed_write_is_read_from_memory() -> None:
    reader = FakeReader()
    view = view_of(reader)
    view.put(b"a", b"1")
    view.delete(b"b")
    view.committed()
    assert view.get_many([b"a", b"b"]) == [b"1", None]
    assert view.get_many([b"a", b"b"]) == [b"1", None]
    assert reader.reads == 0


def test_a_cold_read_is_kept_absent_keys_too() -> None:
    reader = FakeReader({b"a": b"1"})
    view = view_of(reader)
    for _ in range(3):
        assert view.get_many([b"a", b"b", b"a"]) == [b"1", None, b"1"]
    assert reader.reads == 1


def test_the_cache_is_bounded_and_forgets_what_was_used_least() -> None:
    reader = FakeReader({b"%d" % at: bytes(100_000) for at in range(30)})
    view = view_of(reader)
    for at in range(30):
        view.get_many([b"%d" % at, b"0"])
    before = reader.reads
    view.get_many([b"0"])
    view.get_many([b"29"])
    assert reader.reads == before
    view.get_many([b"1"])
    assert reader.reads == before + 1
    assert view._cached <= CACHE_BYTES


def test_tiny_entries_are_not_free_in_the_cache() -> None:
    view = view_of(FakeReader())
    for at in range(30_000):
        view.get_many([b"%d" % at])
    assert len(view._cache) < CACHE_BYTES / 64


def test_a_scan_stops_at_its_bytes_and_goes_on_from_the_last_key() -> None:
    reader = FakeReader({b"%03d" % at: bytes(97) for at in range(100)})
    view = view_of(reader)
    first = view.scan(b"", None, reverse=False, limit=1000, max_bytes=1000)
    assert [key for key, _ in first] == [b"%03d" % at for at in range(10)]
    rest = view.scan(b"009\x00", None, reverse=False, limit=1000, max_bytes=10**6)
    assert len(rest) == 90
    assert view.scan(b"", None, reverse=True, limit=2, max_bytes=1) == [(b"099", bytes(97))]


def test_a_scan_reads_pages_not_everything() -> None:
    reader = FakeReader({b"%05d" % at: bytes(50_000) for at in range(200)})
    view = view_of(reader)
    assert len(view.scan(b"", None, reverse=False, limit=1000, max_bytes=1024 * 1024)) == 20
    assert reader.rows_read <= 64


def test_a_scan_skips_what_a_range_deleted_instead_of_reading_it() -> None:
    reader = FakeReader({b"%05d" % at: b"x" for at in range(5_000)})
    view = view_of(reader)
    view.delete_range(b"", b"04990")
    assert len(view.scan(b"", None, reverse=False, limit=1000, max_bytes=10**6)) == 10
    assert len(view.scan(b"", b"04980", reverse=True, limit=1000, max_bytes=10**6)) == 0
    assert reader.rows_read <= 10


def test_a_view_without_a_reader_says_so() -> None:
    with pytest.raises(InternalError):
        KvView().get_many([b"a"])
