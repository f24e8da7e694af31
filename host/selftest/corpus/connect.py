"""Clients of /connect sockets: frames that are none, in each encoding, and more events than one of them may want."""

from __future__ import annotations

from msgspec import json
from websockets.asyncio.client import ClientConnection

from host.model.limits import Limits
from host.model.tunnel import Subscription
from host.selftest.case import Case
from host.selftest.drives import script, seen_error, seen_limit
from host.selftest.escaped import check
from host.selftest.guests import wasm_guest
from host.selftest.lab import Lab
from host.wire.frames.encoding import ENCODINGS, Encoding
from host.wire.frames.to_client import ErrorFrame, Init, decode_to_client
from host.wire.frames.to_server import encode_to_server

__all__ = ["CASES"]

CLOSES = ("connections_closed",)
STARTED = '{"settled":[{"event":1,"result":{"connect":true}}],"pending":0}'
DEEP = b"[" * 100 + b"]" * 100
# A list of lists of lists, a thousand deep, and a string that is longer than what there is.
CBOR_BOMBS = (b"\x81" * 1_000 + b"\x80", b"\x9b" + b"\xff" * 8, b"\x7b\x00\x00\x00\x7f\xff\xff\xff\xff", b"\xa1" * 200)
BARE_BOMBS = (
    b"",
    b"\x04",
    b"\x00\x00\x00",
    b"\xff\xff\x00\x01\x01a\x01\x80",
    b"\x04\x00\x02",
    b"\x04\x00\x00" + b"\xff" * 11,
    b"\x04\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7fa",
    b"\x04\x00\x01\x01a\x02",
    b"\x04\x00\x00\x01\x01a" + b"\xe8\x07" + b"\x81" * 1_000,
)
JSON_BOMBS = (
    "",
    "null",
    "{",
    '{"body":{"tag":"Init","val":{"actorId":"a","connectionId":"b"}}}',
    '{"body":{"tag":"ActionRequest","val":{"id":["$BigInt","-1"],"name":"ok","args":[]}}}',
    '{"body":{"tag":"ActionRequest","val":{"id":["$BigInt","99999999999999999999"],"name":"ok","args":[]}}}',
    '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"ok","args":{}}}}',
    '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"ok","args":[["$Uint8Array","!"]]}}}',
    '{"body":{"tag":"SubscriptionRequest","val":{"eventName":1,"subscribe":true}}}',
    '{"body":{"tag":"ActionRequest","val":{"id":1,"name":"ok","args":' + DEEP.decode() + "}}}",
)


def _guest() -> bytes:
    return wasm_guest("(unreachable)", started=STARTED)


async def _connection(lab: Lab, encoding: Encoding, actor: str) -> ClientConnection:
    socket = await lab.connection(actor, encoding)
    first = decode_to_client(encoding, await socket.recv())
    check(isinstance(first, Init), f"the first frame was {first!r}")
    return socket


def _malformed(encoding: Encoding, *sent: str | bytes) -> Case:
    """Each of these closes its connection, and that one alone."""

    @script(f"connect/{encoding}-that-is-none", "frames are checked", "frame", "1007 ws.malformed_message", CLOSES)
    async def run(lab: Lab) -> str:
        await lab.deploy(_guest())
        for at, frame in enumerate(sent):
            actor = await lab.actor(f"k{at}")
            async with await _connection(lab, encoding, actor) as socket:
                await socket.send(frame)
                await socket.wait_closed()
                told = f"{socket.close_code} {(socket.close_reason or '').partition('#')[0]}"
            check(told == "1007 ws.malformed_message", f"{frame[:40]!r} was answered with {told}")
        return f"{len(sent)} times 1007 ws.malformed_message"

    return run


async def _refusal(lab: Lab, count: int, name: str, limit: str) -> str:
    await lab.deploy(_guest())
    for encoding in ENCODINGS:
        actor = await lab.actor(encoding)
        async with await _connection(lab, encoding, actor) as socket:
            for number in range(count):
                await socket.send(encode_to_server(encoding, Subscription(f"{name}{number}", True)))
            told = decode_to_client(encoding, await socket.recv())
            check(isinstance(told, ErrorFrame) and told.action_id is None, f"told {told!r}")
            assert isinstance(told, ErrorFrame)
            check(told.error.name == "limit/exceeded", f"told {told.error}")
            seen_limit(json.decode(told.error.metadata or b"null"), limit)
            await socket.send(encode_to_server(encoding, Subscription(f"{name}0", False)))
            await (await socket.ping())
        rows = (await lab.snapshot(actor))["connections"]
        check(len(rows) <= 1, f"{len(rows)} connections are left")
    return "limit/exceeded"


@script(
    "connect/subscriptions-without-end",
    "subscriptions",
    "frame",
    "limit/exceeded to the client, whose connection goes on",
    ("limits",),
    limits=("subscriptions",),
)
async def _subscriptions(lab: Lab) -> str:
    return await _refusal(lab, Limits().subscriptions + 1, "event", "subscriptions")


@script(
    "connect/name-of-an-event",
    "event_name",
    "frame",
    "limit/exceeded to the client, whose connection goes on",
    ("limits",),
    limits=("event_name",),
)
async def _event_name(lab: Lab) -> str:
    return await _refusal(lab, 1, "e" * 1_000_000, "event_name")


@script(
    "connect/unknown-encoding", "encodings are known", "upgrade", "request/invalid before the handshake", ("errors",)
)
async def _encoding(lab: Lab) -> str:
    await lab.deploy(_guest())
    return seen_error(await lab.upgrade(await lab.actor(), "connect", "rivet, rivet_encoding.xml"), "request/invalid")


@script(
    "connect/guest-that-takes-none",
    "a guest takes what it announces",
    "upgrade",
    "actor/method_not_allowed before the handshake",
    ("errors",),
)
async def _takes_none(lab: Lab) -> str:
    await lab.deploy(wasm_guest("(unreachable)"))
    return seen_error(await lab.upgrade(await lab.actor(), "connect", "rivet"), "actor/method_not_allowed")


CASES: tuple[Case, ...] = (
    _malformed("json", *JSON_BOMBS, b"\x00\x01"),
    _malformed("cbor", *CBOR_BOMBS, b"", b"\xf6", "{}"),
    _malformed("bare", *BARE_BOMBS, "text"),
    _subscriptions,
    _event_name,
    _encoding,
    _takes_none,
)
