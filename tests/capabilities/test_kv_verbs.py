"""KV calls: limits that name themselves, batches that are all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from host.capabilities import kv
from host.capabilities.recorder import TurnRecorder
from host.capabilities.state import ActorState
from host.model.effects import KvDelete, KvDeleteRange, KvPut
from host.model.errors import CallerError
from host.model.limits import Limits
from tests.capabilities.support import FakeReader, state_with

LIMITS = Limits()


def test_writes_are_recorded_in_order_and_read_back() -> None:
    state, recorder = state_with(), TurnRecorder()
    kv.put(state, recorder, LIMITS, [(b"a", b"1"), (b"b", b"2")])
    kv.delete(state, recorder, LIMITS, [b"a"])
    kv.delete_range(state, recorder, LIMITS, b"b", b"c")
    kv.delete_range(state, recorder, LIMITS, b"c", b"c")
    assert kv.get(state, LIMITS, [b"a", b"b"]) == [None, None]
    effects = recorder.effects()
    assert effects.kv == (KvPut(b"a", b"1"), KvPut(b"b", b"2"), KvDelete(b"a"), KvDeleteRange(b"b", b"c"))
    assert effects.size == 7


Verb = Callable[[ActorState, TurnRecorder, Limits], Any]


@pytest.mark.parametrize(
    ("verb", "limit"),
    [
        (lambda s, r, m: kv.get(s, m, [b"k"] * 129), "kv_batch"),
        (lambda s, r, m: kv.put(s, r, m, [(b"k", b"")] * 129), "kv_batch"),
        (lambda s, r, m: kv.delete(s, r, m, [b"k"] * 129), "kv_batch"),
        (lambda s, r, m: kv.get(s, m, [b"k" * 2049]), "kv_key"),
        (lambda s, r, m: kv.put(s, r, m, [(b"k", b""), (b"k" * 2049, b"")]), "kv_key"),
        (lambda s, r, m: kv.put(s, r, m, [(b"k", b""), (b"l", bytes(128 * 1024 + 1))]), "kv_value"),
        (lambda s, r, m: kv.delete(s, r, m, [b"k", b"k" * 2049]), "kv_key"),
        (lambda s, r, m: kv.delete_range(s, r, m, b"", b"k" * 2049), "kv_key"),
        (lambda s, r, m: kv.list_range(s, m, prefix=b"k" * 2049), "kv_key"),
        (lambda s, r, m: kv.list_range(s, m, limit=1001), "kv_list"),
    ],
)
def test_over_a_limit_nothing_is_done_and_the_limit_is_named(verb: Verb, limit: str) -> None:
    state, recorder = state_with(), TurnRecorder()
    with pytest.raises(CallerError) as error:
        verb(state, recorder, LIMITS)
    assert error.value.name == "limit/exceeded"
    assert error.value.metadata is not None
    assert error.value.metadata.startswith(b'{"limit":"%s","used":' % limit.encode())
    assert recorder.effects().kv == ()
    assert not state.kv.dirty


@pytest.mark.parametrize(
    "verb",
    [
        lambda s, r, m: kv.get(s, m, [b""]),
        lambda s, r, m: kv.put(s, r, m, [(b"a", b""), (b"", b"")]),
        lambda s, r, m: kv.delete(s, r, m, [b"a", b""]),
        lambda s, r, m: kv.list_range(s, m, prefix=b"a", start=b"a"),
        lambda s, r, m: kv.list_range(s, m, prefix=b"a", end=b"a"),
        lambda s, r, m: kv.list_range(s, m, limit=0),
        lambda s, r, m: kv.list_range(s, m, limit=-1),
    ],
)
def test_arguments_that_make_no_sense_are_refused(verb: Verb) -> None:
    state, recorder = state_with(), TurnRecorder()
    with pytest.raises(CallerError) as error:
        verb(state, recorder, LIMITS)
    assert error.value.name == "request/invalid"
    assert not state.kv.dirty


def test_keys_and_values_at_their_limits_are_kept() -> None:
    state, recorder = state_with(), TurnRecorder()
    kv.put(state, recorder, LIMITS, [(b"k" * 2048, bytes(128 * 1024))] + [(b"%d" % at, b"") for at in range(127)])
    assert kv.get(state, LIMITS, [b"k" * 2048]) == [bytes(128 * 1024)]


def test_the_size_of_an_actor_is_limited_and_asked_again_before_a_refusal() -> None:
    reader = FakeReader({b"a": bytes(99)})
    state, recorder, limits = state_with(reader), TurnRecorder(), Limits(kv_actor=300)
    kv.put(state, recorder, limits, [(b"a", bytes(99))])
    state.committed()
    kv.put(state, recorder, limits, [(b"a", bytes(99))])
    state.committed()
    assert state.kv_bytes == 300
    kv.put(state, recorder, limits, [(b"b", bytes(99))])  # the estimate was 300, the truth is 100
    assert state.kv_bytes == 200
    with pytest.raises(CallerError, match="kv_actor: 301 used, 300 allowed"):
        kv.put(state, recorder, limits, [(b"c", bytes(100))])


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        (b"", [b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"]),
        (b"a", [b"a", b"a\xff", b"a\xff\xff"]),
        (b"a\xff", [b"a\xff", b"a\xff\xff"]),
        (b"\xff", [b"\xff", b"\xff\xff"]),
        (b"\xff\xff", [b"\xff\xff"]),
        (b"c", []),
    ],
)
def test_a_prefix_finds_all_that_start_with_it(prefix: bytes, found: list[bytes]) -> None:
    state = state_with(FakeReader(dict.fromkeys([b"a", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff"], b"")))
    assert [key for key, _ in kv.list_range(state, LIMITS, prefix=prefix)] == found
    assert [key for key, _ in kv.list_range(state, LIMITS, prefix=prefix, reverse=True)] == found[::-1]


def test_a_range_includes_its_start_and_leaves_out_its_end() -> None:
    state = state_with(FakeReader(dict.fromkeys([b"a", b"b", b"c"], b"v")))
    assert kv.list_range(state, LIMITS, start=b"a", end=b"c") == [(b"a", b"v"), (b"b", b"v")]
    assert kv.list_range(state, LIMITS, start=b"b") == [(b"b", b"v"), (b"c", b"v")]
    assert kv.list_range(state, LIMITS, end=b"b") == [(b"a", b"v")]
    assert kv.list_range(state, LIMITS, start=b"c", end=b"a") == []
    assert kv.list_range(state, LIMITS, reverse=True, limit=1) == [(b"c", b"v")]
