"""Bodies of actions in CBOR and BARE that are meant for the decoder: each is refused, in the encoding of the request,
before the actor hears of it. The same for headers that name an actor."""

from __future__ import annotations

from host.model.errors import status_of
from host.selftest.case import Case
from host.selftest.drives import script, seen_error
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import Lab
from host.wire.frames.bodies import decode_http_error
from host.wire.frames.encoding import Encoding

__all__ = ["CASES"]

SAME = js_guest("return args[0];", more="onRequest(c, r) { return new Response(new URL(r.url).pathname); },")
INVALID = "request/invalid"
VERSION = b"\x04\x00"


def _body(
    name: str, encoding: Encoding, body: bytes, *errors: str, attacks: str = "bodies are checked", limit: str = ""
) -> Case:
    wanted = errors or (INVALID,)

    @script(name, attacks, "HTTP", f"refused: {' or '.join(wanted)}", ("errors",), limits=(limit,) if limit else ())
    async def run(lab: Lab) -> str:
        await lab.deploy(SAME)
        actor = await lab.actor()
        answer = await lab.http.post(
            f"/gateway/{actor}/action/go", content=body, headers={"x-rivet-encoding": encoding}
        )
        error, _ = decode_http_error(encoding, answer.content)
        check(error.name in wanted, f"answered {answer.status_code} {error.name}: {error.message}")
        check(answer.status_code == status_of(error.group, error.code), f"{error.name} came as {answer.status_code}")
        check(
            not limit or f'"limit":"{limit}"'.encode() in (error.metadata or b""), "the error does not name its limit"
        )
        check(await lab.output(actor, "ok") == 1, "the actor did not go on")
        return error.name

    return run


def _uint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _args(cbor: bytes) -> bytes:
    """The BARE body of an action with these arguments."""
    return VERSION + _uint(len(cbor)) + cbor


@script("encodings/named-actor", "a header names one actor", "HTTP", "404, and nothing else is served", ("errors",))
async def _named(lab: Lab) -> str:
    await lab.deploy(SAME)
    actor = await lab.actor()
    named = {"x-rivet-target": "actor", "x-rivet-actor": actor}
    check((await lab.http.get("/request/mine", headers=named)).text == "/mine", "its own actor did not answer")
    for other in ("0" * 32, "../" + actor, actor + "\u00e9", "*", "a" * 8_000):
        sent = {"x-rivet-target": "actor", "x-rivet-actor": other.encode("latin-1").decode("latin-1")}
        raw = [(key.encode(), value.encode("latin-1")) for key, value in sent.items()]
        seen_error(await lab.http.get("/request/mine", headers=raw), "actor/not_found")
    for path in ("/actors", "/definitions", "/metrics"):
        answer = await lab.http.get(path, headers=named)
        check("x-rivet-actor" not in answer.headers, f"{path} went to an actor")
    return "404"


CASES: tuple[Case, ...] = (
    _body("encodings/unknown-version", "bare", b"\x05\x00\x01\x80"),
    _body("encodings/no-version", "bare", b"\x04"),
    _body("encodings/length-lies", "bare", VERSION + b"\xff\xff\xff\xff\x0f"),
    _body("encodings/length-of-128-bits", "bare", VERSION + b"\xff" * 19),
    _body("encodings/number-without-end", "bare", VERSION + b"\x80" * 900_000),
    _body("encodings/number-too-long", "bare", VERSION + b"\x81\x00\x80"),
    _body("encodings/bytes-left-over", "bare", _args(b"\x80") + b"\x00"),
    _body("encodings/arguments-no-array", "bare", _args(b"\xa0")),
    _body("encodings/arguments-a-set", "bare", _args(b"\x82d$Set\x80")),
    _body("encodings/nested-in-bare", "bare", _args(b"\x81" * 50_000 + b"\x00"), attacks="depth"),
    _body("encodings/array-claims-the-world", "bare", _args(b"\x9b" + b"\xff" * 8), attacks="CBOR is strict"),
    _body(
        "encodings/items-in-a-byte-each",
        "bare",
        _args(b"\x9a\x00\x06\x1a\x80" + b"\x80" * 400_000),
        attacks="CBOR is strict",
    ),
    _body("encodings/wide-numbers", "bare", _args(b"\x9a\x00\x01\x00\x00" + (b"\x1b" + bytes(8)) * 65_535 + b"\x1b")),
    _body("encodings/references-in-bare", "bare", _args(b"\x81\xd8\x1c\x81\xd8\x1d\x00"), attacks="CBOR is strict"),
    _body(
        "encodings/arguments-too-large",
        "bare",
        _args(b"\x81\x5a\x00\x0e\x00\x00" + bytes(0x0E0000)),
        "request/too_large",
        attacks="sizes count as JSON",
        limit="action",
    ),
    _body("encodings/cbor-that-is-json", "cbor", b'{"args":[]}'),
    _body("encodings/cbor-nested", "cbor", b"\xa1dargs" + b"\x81" * 50_000 + b"\x00", attacks="depth"),
    _body("encodings/cbor-endless", "cbor", b"\xbf" * 900_000, attacks="CBOR is strict"),
    _body("encodings/cbor-twice-the-same-key", "cbor", b"\xa2dargs\x80dargs\x81\x01", attacks="CBOR is strict"),
    _body("encodings/cbor-key-no-text", "cbor", b"\xa1\x01\x80", attacks="CBOR is strict"),
    _body(
        "encodings/cbor-colliding-keys",
        "cbor",
        b"\xb9\x1f\x40"
        + b"".join(
            b"\xc2\x4a" + ((2**61 - 1) * (2**18 + number)).to_bytes(10, "big") + b"\x00" for number in range(8_000)
        ),
        attacks="CBOR is strict",
    ),
    _body("encodings/cbor-big-number", "cbor", b"\xa1dargs\x81\xc2\x5a\x00\x0d\xbb\xa0" + b"\xff" * 900_000),
    _named,
)
