"""c.kv against the contract of the host calls."""

from __future__ import annotations

import pytest

from tests.isolate_sdk.conftest import NewGuest

SOURCE = """export default { actions: {
  put: (c, k, v) => c.kv.put(k, v),
  get: (c, ...args) => c.kv.get(...args),
  del: (c, k) => c.kv.delete(k),
  list: (c, ...args) => c.kv.list(...args),
  range: (c, a, b) => c.kv.deleteRange(a, b),
  buffer: async (c, k) => (await c.kv.get(k, { type: "arrayBuffer" })) instanceof ArrayBuffer,
  big: async (c, n) => { await c.kv.put("big", new Uint8Array(n).fill(7)); const b = await c.kv.get("big",
    { type: "binary" });
    return [b.length, b.every((x) => x === 7)]; },
  views: async (c) => { const b = new Uint16Array([0x4142, 0x4344]); await c.kv.put("v", b.subarray(1));
    await c.kv.put("d", new DataView(b.buffer, 1, 2));
    return [await c.kv.get("v"), await c.kv.get("d")]; },
  caught: async (c) => { try { await c.kv.put("k", "v"); } catch (e) { return [e instanceof Error, e.group,
    e.code, e.message, e.metadata ?? null]; } },
  sync: async (c) => { const order = []; c.kv.put("a", "1").then(() => order.push("put"));
    const v = await c.kv.get("a"); return [v, order]; },
} }"""


def test_text_and_bytes_go_in_and_text_comes_out_by_default(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("put", "ä", "wörld").result is None
    assert guest.host.kv == {"ä".encode(): "wörld".encode()}
    assert guest.action("get", "ä").result == "wörld"
    assert guest.action("get", "ä", {"type": "binary"}).result == ["$Uint8Array", "d8O2cmxk"]
    assert guest.action("buffer", "ä").result is True
    assert guest.action("get", ["$Uint8Array", "w6Q="]).result == "wörld"


def test_a_missing_key_is_undefined(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    assert guest.action("get", "nope").result is None
    assert guest.action("get", ["nope"]).result == [["$Undefined", 0]]


def test_an_empty_value_is_not_a_missing_one(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("put", "e", "")
    assert guest.action("get", ["e", "f"]).result == ["", ["$Undefined", 0]]


def test_batches_are_one_call(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("put", [["a", "1"], ["b", "2"], ["c", "3"]])
    assert guest.action("get", ["c", "a"]).result == ["3", "1"]
    guest.action("del", ["a", "b"])
    assert guest.host.kv == {b"c": b"3"}
    assert [name for name in guest.host.calls if name.startswith("kv")] == ["kv_put", "kv_get", "kv_delete"]


def test_lists_have_whole_keys_in_byte_order(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("put", [["m:2", "b"], ["m:1", "a"], ["n", "c"]])
    assert guest.action("list", "m:").result == [["m:1", "a"], ["m:2", "b"]]
    assert guest.action("list", "m:", {"reverse": True, "limit": 1}).result == [["m:2", "b"]]
    assert guest.action("list", None, {"start": "m:2", "end": "n"}).result == [["m:2", "b"]]
    assert guest.action("list").result == [["m:1", "a"], ["m:2", "b"], ["n", "c"]]
    assert guest.action("list", "n", {"type": "binary", "keyType": "binary"}).result == [
        [["$Uint8Array", "bg=="], ["$Uint8Array", "Yw=="]]
    ]


def test_ranges_can_be_deleted(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.action("put", [["a", "1"], ["b", "2"], ["c", "3"]])
    guest.action("range", "a", "c")
    assert guest.host.kv == {b"c": b"3"}


@pytest.mark.parametrize("size", [1023, 1024, 5000, 131072])
def test_large_values_travel_as_buffers(new_guest: NewGuest, size: int) -> None:
    assert new_guest(SOURCE).action("big", size).result == [size, True]


def test_views_are_their_own_part_of_a_buffer(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("views").result == ["DC", "AD"]


def test_only_strings_and_bytes_can_be_stored(new_guest: NewGuest) -> None:
    error = new_guest(SOURCE).action("put", "k", {"a": 1}).error
    assert error["message"] == "TypeError: a value must be a string, an ArrayBuffer or a view of one"


def test_an_error_of_the_host_is_an_error_with_group_and_code(new_guest: NewGuest) -> None:
    guest = new_guest(SOURCE)
    guest.host.refuse["kv_put"] = {
        "group": "limit",
        "code": "exceeded",
        "message": "kv value",
        "metadata": {"used": ["$BigInt", "9"]},
    }
    assert guest.action("caught").result == [True, "limit", "exceeded", "kv value", {"used": ["$BigInt", "9"]}]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (-1, "malformed_call"),
        (-2, "not_granted"),
        (-3, "budget"),
        (-4, "too_large"),
        (-5, "no_reply"),
        (-9, "host_call_failed"),
    ],
)
def test_a_negative_answer_is_an_error_that_says_what_it_means(new_guest: NewGuest, number: int, code: str) -> None:
    guest = new_guest(SOURCE)
    guest.host.refuse["kv_put"] = number
    assert guest.action("caught").result[:3] == [True, "guest", code]


def test_calls_take_effect_in_the_order_they_are_made(new_guest: NewGuest) -> None:
    assert new_guest(SOURCE).action("sync").result == ["1", ["put"]]
