"""The rest of the web that the SDK brings: text, events, timers, clones, crypto."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest


def run(new_guest: NewGuest, body: str, *args: Any) -> Any:
    guest = new_guest("export default { actions: { async go(c, ...args) { " + body + " } } }")
    settled = guest.action("go", *args)
    assert settled.error is None, settled.error
    return settled.result


def test_text_encoder_writes_well_formed_utf8(new_guest: NewGuest) -> None:
    body = r"""const e = new TextEncoder(), t = new Uint8Array(4);
    return [[...e.encode("aé€😀")], [...e.encode("\ud800")], e.encode().length, e.encodeInto("é€x", t), [...t],
      e.encoding];"""
    assert run(new_guest, body) == [
        [97, 195, 169, 226, 130, 172, 240, 159, 152, 128], [239, 191, 189], 0, {"read": 1, "written": 2},
        [195, 169, 0, 0], "utf-8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ([0x61, 0xFF, 0x62], "a\ufffdb"),
        ([0xE2, 0x82], "\ufffd"),
        ([0xED, 0xA0, 0x80], "\ufffd\ufffd\ufffd"),
        ([0xF0, 0x9F, 0x98, 0x80], "😀"),
        ([0xC0, 0x80], "\ufffd\ufffd"),
        ([0xEF, 0xBB, 0xBF, 0x61], "a"),
        ([0x00, 0x61], "\0a"),
    ],
)
def test_text_decoder_replaces_what_is_malformed(new_guest: NewGuest, data: list[int], text: str) -> None:
    assert run(new_guest, "return new TextDecoder().decode(new Uint8Array(args[0]))", data) == text
    assert bytes(data).decode(errors="replace").removeprefix("\ufeff") == text


def test_text_decoder_options_and_streams(new_guest: NewGuest) -> None:
    body = """const u = (...b) => new Uint8Array(b), d = new TextDecoder();
    let fatal; try { new TextDecoder("utf-8", { fatal: true }).decode(u(255)) } catch (e) { fatal = e.name }
    let label; try { new TextDecoder("latin1") } catch (e) { label = e.name }
    return [fatal, label, new TextDecoder("UTF8", { ignoreBOM: true }).decode(u(239, 187, 191)).length,
      d.decode(u(226, 130), { stream: true }), d.decode(u(172, 240, 159), { stream: true }), d.decode(),
        d.decode(u(97).buffer)];"""
    assert run(new_guest, body) == ["TypeError", "RangeError", 1, "", "€", "\ufffd", "a"]


def test_base64_helpers(new_guest: NewGuest) -> None:
    assert run(new_guest, "return [btoa('aé'), atob('YWI='), btoa(atob('/+8='))]") == ["Yek=", "ab", "/+8="]


def test_event_targets(new_guest: NewGuest) -> None:
    body = """const t = new EventTarget(), seen = [];
    t.addEventListener("x", (e) => seen.push([e.type, e.target === t, e.detail]));
    t.addEventListener("x", (e) => e.preventDefault());
    const stop = new AbortController();
    t.addEventListener("x", () => seen.push("signal"), { signal: stop.signal });
    t.addEventListener("x", () => { throw new Error("quiet") });
    const a = t.dispatchEvent(new CustomEvent("x", { detail: 5, cancelable: true }));
    stop.abort();
    const b = t.dispatchEvent(new Event("x"));
    return [seen, a, b];"""
    assert run(new_guest, body) == [[["x", True, 5], "signal", ["x", True, ["$Undefined", 0]]], False, True]


def test_abort_controllers(new_guest: NewGuest) -> None:
    body = """const a = new AbortController(), seen = [];
    a.signal.onabort = () => seen.push("on");
    a.signal.addEventListener("abort", () => seen.push("heard"));
    a.abort();
    a.abort("again");
    const any = AbortSignal.any([a.signal]);
    let thrown;
    try { any.throwIfAborted() } catch (e) { thrown = e.name }
    return [seen, a.signal.aborted, a.signal.reason.name, thrown, AbortSignal.abort("r").reason];"""
    assert run(new_guest, body) == [["on", "heard"], True, "AbortError", "AbortError", "r"]


def test_structured_clone_keeps_kinds_and_cycles(new_guest: NewGuest) -> None:
    body = """const a = {
      d: new Date(3), m: new Map([[1, new Set([2])]]), b: new Uint8Array([1, 2]).subarray(1), r: /x/gi,
      e: new RangeError("m"), n: [1, , 3], g: 1n,
    };
    a.self = a;
    const c2 = structuredClone(a), bad = [];
    for (const v of [() => 1, Symbol(), Promise.resolve()])
      try { structuredClone(v) } catch (e) { bad.push(e.name) }
    return [c2 !== a, c2.self === c2, +c2.d, c2.m.get(1).has(2), c2.b[0], c2.b.length, String(c2.r),
      c2.e instanceof RangeError, c2.e.message, 1 in c2.n, c2.n.length, c2.g === 1n, bad];"""
    assert run(new_guest, body) == [
        True, True, 3, True, 2, 1, "/x/gi", True, "m", False, 3, True, ["DataCloneError"] * 3,
    ]  # fmt: skip


def test_crypto(new_guest: NewGuest) -> None:
    body = """const v = crypto.getRandomValues(new Uint32Array(2));
    let e;
    try { crypto.getRandomValues(new Uint8Array(65537)) } catch (x) { e = x.name }
    return [v.some((n) => n > 0), crypto.randomUUID(), e];"""
    some, uuid, error = run(new_guest, body)
    assert some is True
    assert len(uuid) == 36
    assert (uuid[14], uuid[19] in "89ab") == ("4", True)
    assert error == "QuotaExceededError"


TIMERS = """let log = []; let id; export default { actions: {
  later: (c, ms, ...args) => setTimeout((...got) => log.push(got), ms, ...args),
  every() { id = setInterval(() => log.push("tick"), 5) },
  stop() { clearInterval(id) },
  clear: (c, t) => clearTimeout(t),
  broken() { setTimeout(() => { throw new Error("in timer") }, 1) },
  async wait() { await new Promise((r) => setTimeout(r, 3)); return "waited" },
  bad: () => setTimeout("code", 1),
  look: () => log,
  micro: async () => { const o = []; queueMicrotask(() => o.push(1)); await null; return o },
} }"""


def test_timers_are_deferred_calls(new_guest: NewGuest) -> None:
    guest = new_guest(TIMERS)
    guest.action("later", 7.9, "a", "b")
    guest.action("later", -5)
    guest.action("later", 1e12)
    assert guest.host.timers == [(1, 7), (2, 0), (3, 2147483647)]
    assert guest.complete(1) == []
    assert guest.complete(2) == []
    assert guest.action("look").result == [["a", "b"], []]


def test_a_cleared_timer_does_not_run(new_guest: NewGuest) -> None:
    guest = new_guest(TIMERS)
    timer = guest.action("later", 1).result
    guest.action("clear", timer)
    guest.action("clear", 999)
    assert guest.host.ended_timers == [1]
    guest.complete(1)
    assert guest.action("look").result == []


def test_an_interval_runs_until_it_is_cleared(new_guest: NewGuest) -> None:
    guest = new_guest(TIMERS)
    guest.action("every")
    guest.complete(1)
    guest.complete(2)
    guest.action("stop")
    guest.complete(3)
    assert guest.action("look").result == ["tick", "tick"]
    assert len(guest.host.timers) == 3


def test_a_throw_in_a_timer_is_logged(new_guest: NewGuest) -> None:
    guest = new_guest(TIMERS)
    guest.action("broken")
    assert guest.complete(1) == []
    assert guest.host.logs[0][1].startswith("a timer threw: Error: in timer")


def test_completions_and_a_new_event_share_a_turn(new_guest: NewGuest) -> None:
    guest = new_guest(TIMERS)
    waiting: dict[str, Any] = {"type": "action", "name": "wait", "args": []}
    assert guest.deliver(waiting) == []
    settled = guest.deliver(
        {"type": "completion", "call": 1, "result": None}, {"type": "action", "name": "micro", "args": []}
    )
    assert {one.event: one.result for one in settled}[waiting["id"]] == "waited"
    assert [one.result for one in settled if one.event != waiting["id"]] == [[1]]
    assert guest.pending == 0


def test_an_unknown_completion_is_ignored(new_guest: NewGuest) -> None:
    assert new_guest(TIMERS).complete(77) == []


def test_a_timer_needs_a_function(new_guest: NewGuest) -> None:
    assert "needs a function" in new_guest(TIMERS).action("bad").error["message"]
