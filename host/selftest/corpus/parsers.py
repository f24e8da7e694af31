"""Clients of HTTP: bodies, headers, paths and encodings that are meant for the parser rather than for the host."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote

import anyio

from host.selftest.case import Case
from host.selftest.drives import script, seen_error
from host.selftest.escaped import check
from host.selftest.guests import js_guest
from host.selftest.lab import Lab

__all__ = ["CASES"]

SAME = js_guest("return args[0];", more="onRequest(c, r) { return new Response(new URL(r.url).pathname); },")
INVALID = "request/invalid"


def _action_body(name: str, attacks: str, body: bytes, *errors: str, limit: str | None = None, **headers: str) -> Case:
    """An action with this body is refused before the actor hears of it."""

    @script(name, attacks, "HTTP", f"refused: {' or '.join(errors)}", ("errors",), limits=(limit,) if limit else ())
    async def run(lab: Lab) -> str:
        await lab.deploy(SAME)
        actor = await lab.actor()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await lab.http.post(f"/gateway/{actor}/action/go", content=body, headers=sent)
        told = seen_error(answer, *errors, limit=limit)
        check(await lab.output(actor, "ok") == 1, "the actor did not go on")
        return told

    return run


def _control_body(name: str, attacks: str, body: bytes, *errors: str) -> Case:
    """The control plane refuses this body of a definition."""

    @script(name, attacks, "HTTP", f"refused: {' or '.join(errors)}", ("errors",))
    async def run(lab: Lab) -> str:
        where = {"namespace": lab.tenant}
        answer = await lab.http.put("/definitions/guest", params=where, content=body)
        told = seen_error(answer, *errors)
        check((await lab.http.get("/definitions", params=where)).json() == {"definitions": []}, "a definition was made")
        return told

    return run


def _creation(
    name: str, attacks: str, made: Callable[[], dict[str, object]], *errors: str, limit: str | None = None
) -> Case:
    """`PUT /actors` with this body is refused."""

    @script(name, attacks, "HTTP", f"refused: {' or '.join(errors)}", ("errors",), limits=(limit,) if limit else ())
    async def run(lab: Lab) -> str:
        await lab.deploy(SAME)
        answer = await lab.http.put(
            "/actors", params={"namespace": lab.tenant}, json={"name": "guest", "key": "k", **made()}
        )
        return seen_error(answer, *errors, limit=limit)

    return run


def _cbor(data: bytes) -> Callable[[], dict[str, object]]:
    return lambda: {"input": base64.b64encode(data).decode()}


def _raw(
    name: str, attacks: str, *sent: bytes, seconds: float = 4.0, statuses: tuple[int, ...] = (400, 413, 431, 405, 501)
) -> Case:
    """Bytes that are hardly HTTP: refused with one of these statuses, or cut."""

    @script(name, attacks, "bytes", "refused or cut; the host serves on")
    async def run(lab: Lab) -> str:
        got = await lab.raw(sent, seconds)
        first = got.partition(b"\r\n")[0].decode("latin-1")
        check(not first or any(f" {status} " in f"{first} " for status in statuses), f"answered {first!r}")
        return first or "cut"

    return run


def _path(name: str, path: str, *statuses: int) -> Case:
    """A path as it stands, nothing of it normalised by a client library."""

    @script(name, "paths are not files", "bytes", f"answered {' or '.join(map(str, statuses))}")
    async def run(lab: Lab) -> str:
        got = await lab.raw(lab.request_head("GET", path, "connection: close"), 5.0)
        head, _, body = got.partition(b"\r\n\r\n")
        first = head.partition(b"\r\n")[0].decode("latin-1")
        check(any(f" {status} " in f"{first} " for status in statuses), f"answered {first!r}")
        check(b"root:" not in body and b"SQLite" not in body, "a file of the machine was served")
        return first

    return run


@script("parsers/header-flood", "headers are bounded", "bytes", "refused or cut; the host serves on")
async def _headers(lab: Lab) -> str:
    head = lab.request_head("GET", "/health")[:-2]
    flood = [head, *(f"x-{n}: {'y' * 1_000}\r\n".encode() * 10 for n in range(200))]
    got = (await lab.raw(flood, 4.0)).partition(b"\r\n")[0].decode("latin-1")
    check(not got or " 4" in got, f"answered {got!r}")
    return got or "cut"


@script("parsers/slowloris", "connections of strangers", "bytes", "200 half requests hold nobody up")
async def _slowloris(lab: Lab) -> str:
    await lab.deploy(SAME)
    actor = await lab.actor()
    streams = [await anyio.connect_tcp(*lab.address) for _ in range(200)]
    try:
        for number, stream in enumerate(streams):
            await stream.send(
                b"POST /gateway/x/action/go HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n" + b"x-" * (number % 7)
            )
        for number in range(1, 11):
            check(await lab.output(actor, "ok") == number, "the actor did not go on")
    finally:
        for stream in streams:
            await stream.aclose()
    return "served on"


@script("parsers/body-that-never-comes", "bodies have a deadline", "bytes", "a promise of a body holds nobody up")
async def _promised(lab: Lab) -> str:
    await lab.deploy(SAME)
    actor = await lab.actor()
    got = await lab.raw(lab.request_head("POST", f"/gateway/{actor}/action/go", "content-length: 1000") + b"{", 1.0)
    check(got == b"", f"answered {got[:80]!r}")
    check(await lab.output(actor, "ok") == 1, "the actor did not go on")
    return "served on"


def _answered(name: str, attacks: str, body: str, wanted: tuple[str, ...]) -> Case:
    """What `onRequest` answers must not reach the connection as it is: a fault, or left out."""

    @script(name, attacks, "response", f"{' or '.join(wanted)}, and nothing is injected")
    async def run(lab: Lab) -> str:
        await lab.deploy(js_guest(more=f"onRequest() {{ {body} }},"))
        actor = await lab.actor()
        got = await lab.raw(lab.request_head("GET", f"/gateway/{actor}/request/", "connection: close"), 5.0)
        head = got.partition(b"\r\n\r\n")[0].lower()
        check(b"injected:" not in head and b"\r\nupgrade: evil" not in head, f"injected: {head[:300]!r}")
        check(
            head.count(b"content-length:") <= 1 and b"transfer-encoding: evil" not in head, f"framing: {head[:300]!r}"
        )
        check(b"x-rivet-actor: forged" not in head, f"forged: {head[:300]!r}")
        first = got.partition(b"\r\n")[0].decode("latin-1")
        check(any(each in first for each in wanted), f"answered {first!r}")
        return first

    return run


@script("parsers/keys", "keys are exact", "HTTP", "each spelling is an actor of its own, or refused")
async def _keys(lab: Lab) -> str:
    await lab.deploy(SAME)
    spellings = [
        "a/b",
        "a\\/b",
        "caf\u00e9",
        "cafe\u0301",
        "A/b",
        "a//b",
        "a/b/",
        "../../etc/passwd",
        "a\x00b",
        "\u202eb/a",
        "%61/b",
        "a b",
        " a/b",
    ]
    seen: dict[str, str] = {}
    refused = 0
    for key in spellings:
        answer = await lab.try_actor(key)
        if answer.status_code == 200:
            actor_id = answer.json()["actor"]["actor_id"]
            check(actor_id not in seen, f"{key!r} and {seen.get(actor_id)!r} are one actor")
            seen[actor_id] = key
        else:
            seen_error(answer, "actor/invalid_request", INVALID, "actor/key_too_large")
            refused += 1
    return f"{len(seen)} actors, {refused} refused"


@script("parsers/names-of-actions", "names reach no prototype", "HTTP", "actor/action_not_found", ("errors",))
async def _names(lab: Lab) -> str:
    await lab.deploy(SAME)
    actor = await lab.actor()
    for name in (
        "constructor",
        "__proto__",
        "toString",
        "hasOwnProperty",
        "then",
        "onRequest",
        "",
        "a" * 5_000,
        "\0",
        "../ok",
    ):
        if not name:
            continue
        seen_error(await lab.call(actor, name), "actor/action_not_found", INVALID, "request/not_found")
    return "actor/action_not_found"


@script("parsers/actor-ids", "ids are random and exact", "HTTP", "actor/not_found", ("errors",))
async def _ids(lab: Lab) -> str:
    for actor in (
        "..%2f..%2fetc%2fpasswd",
        "0" * 32,
        "0" * 31,
        "%00" * 32,
        "'%20OR%201=1--",
        "F" * 32,
        "-1",
        "a" * 3_000,
    ):
        answer = await lab.http.post(f"/gateway/{actor}/action/ok", json={"args": []})
        seen_error(answer, "actor/not_found", INVALID, "request/not_found")
        answer = await lab.http.get(f"/actors/{actor}/snapshot", params={"namespace": lab.tenant})
        seen_error(answer, "actor/not_found", INVALID, "request/not_found")
    return "actor/not_found"


@script("parsers/digests-that-lie", "modules are named by their hash", "HTTP", "refused", ("errors",))
async def _digests(lab: Lab) -> str:
    where = {"namespace": lab.tenant}
    for digest in (
        "sha256:" + "0" * 64,
        "sha256:../../key",
        "md5:" + "0" * 32,
        "",
        "sha256:" + "g" * 64,
        "0" * 64 + "/..",
    ):
        answer = await lab.http.put("/definitions/guest", params=where, json={"module": digest})
        seen_error(answer, "module/not_found", INVALID, "module/hash_mismatch")
        if digest:
            answer = await lab.http.get(f"/modules/{quote(digest, safe='')}", params=where)
            seen_error(answer, "module/not_found", INVALID, "module/hash_mismatch", "request/not_found")
    return "module/not_found or request/invalid"


@script("parsers/options-out-of-range", "definition options", "HTTP", "definition/invalid_options", ("errors",))
async def _options(lab: Lab) -> str:
    await lab.deploy(SAME)
    digest = (await lab.http.get("/modules", params={"namespace": lab.tenant})).json()["modules"][0]["digest"]
    for more in (
        {"limits": {"turn_deadline": 10_001}},
        {"limits": {"memory": 1 << 40}},
        {"limits": {"reply": 1}},
        {"limits": {"turn_deadline": 0}},
        {"limits": {"turn_deadline": -1}},
        {"limits": {"turn_deadline": True}},
        {"limits": {"turn_deadline": 1.5}},
        {"limits": {"turn_deadline": 1 << 80}},
        {"limits": {"nothing": 1}},
        {"options": {"sleep_timeout": 1 << 60}},
        {"options": {"action_timeout": -5}},
        {"options": {"hibernate": "yes"}},
    ):
        seen_error(await lab.define("other", digest, **more), "definition/invalid_options", INVALID)
    return "definition/invalid_options"


DEEP = b"[" * 100_000 + b"]" * 100_000

CASES: tuple[Case, ...] = (
    _action_body("parsers/json-cut-off", "JSON is strict", b"{", INVALID),
    _action_body("parsers/json-of-the-wrong-shape", "JSON is strict", b"[]", INVALID),
    _action_body("parsers/json-trailing-data", "JSON is strict", b'{"args":[1]} x', INVALID),
    _action_body("parsers/json-not-utf-8", "JSON is strict", b'{"args":["\xff"]}', INVALID),
    _action_body("parsers/json-nested", "depth", b'{"args":' + DEEP + b"}", INVALID),
    _action_body("parsers/json-half-surrogate", "JSON is strict", b'{"args":["\\ud800"]}', INVALID),
    _action_body("parsers/json-nan", "JSON is strict", b'{"args":[NaN]}', INVALID),
    _action_body("parsers/json-bom", "JSON is strict", b'\xef\xbb\xbf{"args":[]}', INVALID),
    _action_body("parsers/json-bad-bigint", "tags are checked", b'{"args":[["$BigInt","x"]]}', INVALID),
    _action_body("parsers/json-bad-base64", "tags are checked", b'{"args":[["$Uint8Array","!!"]]}', INVALID),
    _action_body("parsers/json-unknown-tag", "tags are checked", b'{"args":[["$Nonsense",1]]}', INVALID),
    _action_body(
        "parsers/arguments-too-large",
        "action",
        b'{"args":["' + b"x" * 1_100_000 + b'"]}',
        "request/too_large",
        limit="action",
    ),
    _action_body("parsers/unknown-encoding", "encodings are known", b"\xff", INVALID, x_rivet_encoding="evil"),
    _control_body("parsers/json-duplicate-keys", "JSON is strict", b'{"module":"a","module":"b"}', INVALID),
    _control_body(
        "parsers/json-unknown-fields", "JSON is strict", b'{"module":"sha256:%s","admin":true}' % (b"0" * 64), INVALID
    ),
    _control_body("parsers/control-nested", "depth", b'{"module":' + b"[" * 30_000 + b"]" * 30_000 + b"}", INVALID),
    _control_body(
        "parsers/control-too-large", "request bodies", b'{"module":"' + b"x" * 100_000 + b'"}', "request/too_large"
    ),
    _creation(
        "parsers/input-too-large",
        "input",
        _cbor(b"\x5a\x00\x40\x00\x01" + bytes(4_194_305)),
        "actor/input_too_large",
        "request/too_large",
        limit="input",
    ),
    _creation("parsers/cbor-nested", "depth", _cbor(b"\x81" * 50_000 + b"\x00"), "actor/invalid_request", INVALID),
    _creation(
        "parsers/cbor-claims-an-exabyte",
        "CBOR is strict",
        _cbor(b"\x5b\x0f" + b"\xff" * 7),
        "actor/invalid_request",
        INVALID,
    ),
    _creation(
        "parsers/cbor-claims-an-array",
        "CBOR is strict",
        _cbor(b"\x9b\x0f" + b"\xff" * 7),
        "actor/invalid_request",
        INVALID,
    ),
    _creation(
        "parsers/cbor-shared-references",
        "CBOR is strict",
        _cbor(b"\xd8\x1c\x81\xd8\x1d\x00"),
        "actor/invalid_request",
        INVALID,
    ),
    _creation("parsers/cbor-trailing", "CBOR is strict", _cbor(b"\x00\x00"), "actor/invalid_request", INVALID),
    _creation(
        "parsers/input-not-base64", "base64 is strict", lambda: {"input": "***"}, "actor/invalid_request", INVALID
    ),
    _creation(
        "parsers/key-part-too-large", "key_part", lambda: {"key": "k" * 129}, "actor/key_too_large", limit="key_part"
    ),
    _creation(
        "parsers/key-too-large", "key", lambda: {"key": "/".join(["k" * 100] * 11)}, "actor/key_too_large", limit="key"
    ),
    _creation(
        "parsers/name-too-large",
        "name",
        lambda: {"name": "n" * 5_000},
        "definition/not_found",
        "definition/invalid_name",
        INVALID,
        "actor/invalid_request",
    ),
    _raw("parsers/not-http", "requests are checked", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    _raw(
        "parsers/request-line-of-a-megabyte", "requests are bounded", b"GET /", b"a" * 1_000_000, b" HTTP/1.1\r\n\r\n"
    ),
    _raw(
        "parsers/two-lengths",
        "framing is unambiguous",
        b"POST /health HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    ),
    _raw(
        "parsers/length-and-chunks",
        "framing is unambiguous",
        b"POST /modules HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        statuses=(400, 401, 403, 405),
    ),
    _raw(
        "parsers/length-negative",
        "framing is unambiguous",
        b"POST /modules HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    ),
    _raw("parsers/header-without-a-name", "headers are checked", b"GET /health HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n"),
    _raw("parsers/header-with-nul", "headers are checked", b"GET /health HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n"),
    _raw(
        "parsers/chunk-of-an-exabyte",
        "bodies are bounded",
        b"POST /modules HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"transfer-encoding: chunked\r\n\r\nfffffffffffffff\r\n" + b"x" * 1_000,
        statuses=(400, 401, 413),
    ),
    _path("parsers/path-traversal", "/../../../../etc/passwd", 400, 404),
    _path("parsers/path-traversal-escaped", "/gateway/%2e%2e%2f%2e%2e%2fetc/passwd", 400, 404),
    _path("parsers/path-traversal-of-modules", "/modules/..%2f..%2fdormice.db", 400, 404),
    _path("parsers/path-that-is-no-utf-8", "/gateway/%ff%fe/request/", 400, 404),
    _headers,
    _slowloris,
    _promised,
    _answered(
        "parsers/response-splitting",
        "headers of guests are checked",
        "return new Response('x', { headers: { 'x-a': 'b\\r\\ninjected: yes' } });",
        (" 500 ",),
    ),
    _answered(
        "parsers/response-framing",
        "headers of guests are checked",
        (
            "return new Response('x', { headers: [['content-length', '0'], ['transfer-encoding', 'evil'], "
            "['connection', 'upgrade'], ['upgrade', 'evil'], ['x-rivet-actor', 'forged']] });"
        ),
        (" 200 ", " 500 "),
    ),
    _answered(
        "parsers/response-status",
        "statuses of guests are checked",
        "return { status: 101, headers: [], body: '' };",
        (" 500 ", " 200 "),
    ),
    _answered(
        "parsers/response-thousands-of-headers",
        "headers of guests are bounded",
        (
            "const h = new Headers(); for (let i = 0; i < 20000; i++) h.append('x-' + i, 'y'); return new "
            "Response('', { headers: h });"
        ),
        (" 500 ", " 400 "),
    ),
    _answered(
        "parsers/response-that-is-none", "answers of guests are checked", "return new Proxy({}, {});", (" 500 ",)
    ),
    _keys,
    _names,
    _ids,
    _digests,
    _options,
)
