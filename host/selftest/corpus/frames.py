"""Clients of WebSockets: frames that are none, too large or too many, readers that do not read, and close codes that
guests may not use."""

from __future__ import annotations

import base64
import json
import os

import anyio
from anyio.abc import ByteStream

from host.selftest.case import Case
from host.selftest.drives import script, seen_error, seen_limit
from host.selftest.escaped import Escaped, check
from host.selftest.guests import js_guest
from host.selftest.lab import Lab, error_of

__all__ = ["CASES"]

ECHO = js_guest(more="onWebSocket(c, s) { s.onmessage = (e) => s.send(e.data); },")
CLOSES = ("connections_closed",)


def frame(opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A frame as a client sends it; the mask is zero, which is one."""
    head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65_536:
        head += bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


async def _shake(lab: Lab, stream: ByteStream, actor: str) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    await stream.send(
        lab.request_head(
            "GET",
            f"/gateway/{actor}/websocket/",
            "connection: upgrade",
            "upgrade: websocket",
            f"sec-websocket-key: {key}",
            "sec-websocket-version: 13",
        )
    )
    got = b""
    while b"\r\n\r\n" not in got:
        got += await stream.receive()
    check(b" 101 " in got.partition(b"\r\n")[0], f"no handshake: {got[:100]!r}")


async def _close_code(lab: Lab, stream: ByteStream) -> int:
    """The code of the close frame that the host sends; 1006 if it cuts the connection."""
    got = b""
    try:
        with lab.clock.fail_after(15):
            while True:
                got += await stream.receive()
                # frames of the host are short here: find the close frame among them
                at = 0
                while at + 2 <= len(got):
                    length, skip = got[at + 1] & 0x7F, 2
                    if length == 126 and at + 4 <= len(got):
                        length, skip = int.from_bytes(got[at + 2 : at + 4], "big"), 4
                    if at + skip + length > len(got):
                        break
                    if got[at] & 0x0F == 8:
                        return int.from_bytes(got[at + skip : at + skip + 2], "big")
                    at += skip + length
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return 1006
    except TimeoutError:
        raise Escaped("the connection stays open") from None


def _closed(name: str, attacks: str, sent: bytes, *codes: int, seconds: float = 20.0) -> Case:
    """These bytes behind a handshake close that connection, and that one alone."""

    @script(
        name,
        attacks,
        "frame",
        f"closed with {' or '.join(map(str, codes))}, that connection alone",
        CLOSES,
        seconds=seconds,
    )
    async def run(lab: Lab) -> str:
        await lab.deploy(ECHO)
        actor = await lab.actor()
        async with await lab.socket(actor) as other:
            async with await anyio.connect_tcp(*lab.address) as stream:
                await _shake(lab, stream, actor)
                try:
                    await stream.send(sent)
                except anyio.BrokenResourceError:
                    pass  # closed before all of it was sent
                code = await _close_code(lab, stream)
            check(code in codes, f"closed with {code}")
            await other.send("still here")
            check(await other.recv() == "still here", "another connection was not served")
        return f"closed with {code}"

    return run


@script("frames/fragments-without-end", "message", "frame", "closed with 1009", CLOSES)
async def _fragments(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    async with await anyio.connect_tcp(*lab.address) as stream:
        await _shake(lab, stream, actor)
        code = 0
        try:
            await stream.send(frame(1, b"x", final=False))
            for _ in range(400):
                await stream.send(frame(0, b"x" * 16_384, final=False))
        except anyio.BrokenResourceError:
            pass  # it was closed while we were sending
        code = await _close_code(lab, stream)
    check(code in (1009, 1006), f"closed with {code}")
    check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return f"closed with {code}"


@script("frames/message-over-the-limit", "message", "frame", "1009 message.incoming_too_long", CLOSES)
async def _too_long(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    async with await lab.socket(actor) as socket:
        await socket.send("x" * 1_048_577)
        await socket.wait_closed()
        told = f"{socket.close_code} {(socket.close_reason or '').partition('#')[0]}"
    check(told == "1009 message.incoming_too_long", f"closed with {told}")
    return told


@script("frames/ping-flood", "every client is served", "frame", "the actor goes on")
async def _pings(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    async with await anyio.connect_tcp(*lab.address) as stream:
        await _shake(lab, stream, actor)
        try:
            with lab.clock.fail_after(2.0):
                for _ in range(200):
                    await stream.send(frame(9, b"p" * 100) * 50)  # and no pong is read
        except (TimeoutError, anyio.BrokenResourceError):
            pass  # the host stopped reading, or closed: both bound it
        check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return "served on"


def _flood(name: str, limit: str, count: int, size: int) -> Case:
    """Messages faster than the actor handles them."""

    @script(name, limit, "frame", "not read any more until the actor has caught up; nothing is lost")
    async def run(lab: Lab) -> str:
        work = "for (let i = 0; i < 1e4; i++); s.send(`${(c.state.n += 1)}`);"
        hook = f"onWebSocket(c, s) {{ s.onmessage = () => {{ {work} }}; }},"
        await lab.deploy(js_guest(more=hook))
        actor = await lab.actor()
        async with await lab.socket(actor, queue=None) as socket, anyio.create_task_group() as tasks:

            async def send() -> None:
                for _ in range(count):
                    await socket.send("x" * size)

            tasks.start_soon(send)
            for number in range(1, count + 1):
                got = await socket.recv()
                check(got == str(number), f"answer {number} was {got!r}")
        return f"{count:,} messages, in order"

    return run


@script("frames/slow-reader", "outgoing_queue", "frame", "1013 ws.slow_reader", ("frames_dropped",))
async def _slow(lab: Lab) -> str:
    hook = "onWebSocket(c, s) { s.onmessage = (e) => { for (let i = 0; i < 30; i++) s.send('x'.repeat(100000)); }; },"
    await lab.deploy(js_guest(more=hook), limits={"turn_deadline": 5_000, "host_call_bytes": 16 * 1024 * 1024})
    actor = await lab.actor()
    async with await anyio.connect_tcp(*lab.address) as stream, await lab.socket(actor) as other:
        await _shake(lab, stream, actor)
        for _ in range(8):
            await stream.send(frame(1, b"!"))  # and nothing is read
        before = lab.clock.monotonic()
        while (await lab.metrics()).get(("frames_dropped", "ws.slow_reader"), 0) == 0:
            check(lab.clock.monotonic() < before + 10, "frames are kept without end for a client that does not read")
            await lab.clock.sleep_until(lab.clock.monotonic() + 0.05)
        await other.close()
    check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return "dropped"


@script(
    "frames/connections-of-an-actor",
    "connections",
    "frame",
    "limit/exceeded before the handshake",
    ("errors",),
    limits=("connections",),
)
async def _connections(lab: Lab) -> str:
    await lab.deploy(ECHO, limits={"connections": 3})
    actor = await lab.actor()
    held = [await lab.socket(actor) for _ in range(3)]
    try:
        answer = await lab.http.get(
            f"/gateway/{actor}/websocket/",
            headers={
                "connection": "upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": base64.b64encode(bytes(16)).decode(),
            },
        )
        told = seen_error(answer, "limit/exceeded", limit="connections")
    finally:
        for socket in held:
            await socket.close()
    return told


@script(
    "frames/parameters-too-large", "conn_params", "upgrade", "request/too_large", ("errors",), limits=("conn_params",)
)
async def _params(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    answer = await lab.http.get(f"/gateway/{actor}/request/", headers={"x-rivet-conn-params": '"' + "x" * 5_000 + '"'})
    return seen_error(answer, "request/too_large", limit="conn_params")


@script(
    "frames/state-and-tags-of-a-connection",
    "conn_state",
    "host call",
    "limit/exceeded in the handler",
    limits=("conn_state", "conn_tags", "message"),
)
async def _attached(lab: Lab) -> str:
    hook = """async onWebSocket(c, s) {
      const told = [
        await refusal(() => { s.state = 'x'.repeat(17000); }),
        await refusal(() => { s.tags = Array.from({ length: 11 }, (_, i) => 't' + i); }),
        await refusal(() => s.send('x'.repeat(1048577))),
      ];
      s.onopen = () => s.send(JSON.stringify(told));
    },"""
    await lab.deploy(js_guest(more=hook))
    actor = await lab.actor()
    async with await lab.socket(actor) as socket:
        told = json.loads(await socket.recv())
    names = [entry["name"] for entry in told]
    check(names == ["limit/exceeded", "limit/exceeded", "message/outgoing_too_long"], f"the handler saw {names}")
    for entry, limit in zip(told, ("conn_state", "conn_tags", "message"), strict=True):
        seen_limit(entry["metadata"], limit)
    return ", ".join(names)


@script("frames/close-codes-of-guests", "close codes are checked", "host call", "refused in the handler")
async def _codes(lab: Lab) -> str:
    hook = """async onWebSocket(c, s) {
      const told = [];
      for (const [code, reason] of [[1006, ''], [1005, ''], [1015, ''], [999, ''], [70000, ''], [-1, ''], [1.5, ''],
                                    [4000, 'x'.repeat(124)], [4000, '\\u20ac'.repeat(42)]]) {
        try { s.close(code, reason); told.push('closed'); } catch (e) { told.push('refused'); }
      }
      s.onopen = () => s.send(told.join());
    },"""
    await lab.deploy(js_guest(more=hook))
    actor = await lab.actor()
    async with await lab.socket(actor) as socket:
        told = str(await socket.recv())
    check(set(told.split(",")) == {"refused"}, f"the handler saw {told}")
    return told


@script("frames/upgrade-without-a-key", "the handshake is checked", "upgrade", "refused with 400")
async def _no_key(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    head = lab.request_head("GET", f"/gateway/{actor}/websocket/", "connection: upgrade", "upgrade: websocket")
    got = (await lab.raw(head, 3.0)).partition(b"\r\n")[0].decode("latin-1")
    check(" 101 " not in got and " 4" in got, f"answered {got!r}")
    return got


@script("frames/many-sub-protocols", "the handshake is bounded", "upgrade", "refused, or accepted as any other")
async def _protocols(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    offered = ", ".join(f"p{n}" for n in range(5_000))
    head = lab.request_head(
        "GET",
        f"/gateway/{actor}/websocket/",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"sec-websocket-protocol: {offered}",
    )
    got = (await lab.raw(head, 2.0)).partition(b"\r\n")[0].decode("latin-1")
    check(got == "" or got.startswith("HTTP/1.1 "), f"answered {got!r}")
    check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return got or "cut"


@script(
    "frames/forged-session",
    "sessions have secrets",
    "upgrade",
    "not found, whoever asks",
    ("errors", "sessions_refused"),
)
async def _forged(lab: Lab) -> str:
    await lab.deploy(ECHO)
    actor = await lab.actor()
    secret = "A" * 32
    async with await lab.socket(actor, f"?dm-session={secret}") as owner:
        await owner.send("mine")
        check(await owner.recv() == "mine", "the session was wrong before the attack")
        for forged in ("B" * 32, secret.lower(), secret[:-1] + "B"):
            answer = await lab.http.get(f"/gateway/{actor}/session", headers={"x-dormice-session": forged})
            error = error_of(answer)["name"]
            check(error in ("session/not_found", "request/invalid", "guard/query_invalid_param"), f"told {error}")
            async with await lab.socket(actor, f"?dm-session={forged}&dm-next=2&dm-last-seen=1") as thief:
                await thief.wait_closed()
                check(thief.close_code == 4004, f"closed with {thief.close_code}")
        await owner.send("still mine")
        check(await owner.recv() == "still mine", "the owner lost the session")
    return "4004 session.not_found"


CASES: tuple[Case, ...] = (
    _closed("frames/text-that-is-not-utf-8", "text is UTF-8", frame(1, b"\xff\xfe\xc0\x80"), 1007, 1006),
    _closed("frames/text-that-ends-in-a-character", "text is UTF-8", frame(1, b"\xe2\x82"), 1007, 1006),
    _closed("frames/unmasked", "clients mask", frame(1, b"x", masked=False), 1002, 1006),
    _closed("frames/reserved-bits", "no extensions", frame(1, b"x", reserved=7), 1002, 1006),
    _closed("frames/reserved-opcode", "opcodes are known", frame(5, b"x"), 1002, 1006),
    _closed("frames/long-control-frame", "control frames are short", frame(9, b"x" * 200), 1002, 1006),
    _closed("frames/continuation-of-nothing", "frames are in order", frame(0, b"x"), 1002, 1006),
    _closed("frames/close-with-a-bad-code", "close codes are checked", frame(8, b"\x00\x01"), 1002, 1006),
    _closed(
        "frames/length-of-an-exabyte",
        "message",
        b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4) + b"x" * 1_000,
        1009,
        1002,
        1006,
    ),
    _closed("frames/frame-of-3-mib", "message", frame(2, bytes(3_000_000)), 1009, 1006),
    _closed(
        "frames/not-websocket-at-all", "frames are checked", b"GET / HTTP/1.1\r\n\r\n" * 50, 1002, 1006, 1007, 1009
    ),
    _fragments,
    _too_long,
    _pings,
    _flood("frames/flood-of-small-messages", "incoming_messages", 2_500, 1),
    _flood("frames/flood-of-large-messages", "incoming_buffer", 60, 100_000),
    _slow,
    _connections,
    _params,
    _attached,
    _codes,
    _no_key,
    _protocols,
    _forged,
)
