"""Bodies beyond text and bytes: streams, blobs and forms."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest


def run(new_guest: NewGuest, body: str, *args: Any) -> Any:
    guest = new_guest("export default { actions: { async go(c, ...args) { " + body + " } } }")
    settled = guest.action("go", *args)
    assert settled.error is None, settled.error
    return settled.result


def answer(new_guest: NewGuest, body: str, sent: bytes = b"", headers: Any = ()) -> Any:
    guest = new_guest("export default { async onRequest(request, c) { " + body + " } }")
    settled = guest.one(
        type="request", method="POST", path="/", headers=list(headers), body=base64.b64encode(sent).decode()
    )
    assert settled.error is None, settled.error
    content = settled.result["body"]
    text = settled.buffers[content["$bin"]] if isinstance(content, dict) else base64.b64decode(content)
    return settled.result["headers"], text


def test_a_stream_is_read_in_order(new_guest: NewGuest) -> None:
    body = """let n = 0;
    const s = new ReadableStream({ pull(c) { if (n < 3) c.enqueue(n++); else c.close(); } });
    const r = s.getReader(), got = [];
    for (let x = await r.read(); !x.done; x = await r.read()) got.push(x.value);
    await r.closed; r.releaseLock();
    return [got, s.locked, (await s.getReader().read()).done];"""
    assert run(new_guest, body) == [[0, 1, 2], False, True]


def test_streams_of_lists_and_generators_and_their_ends(new_guest: NewGuest) -> None:
    body = """const got = [];
    async function* g() { try { yield 1; yield 2; yield 3; } finally { got.push("end"); } }
    for await (const x of ReadableStream.from(g())) { got.push(x); if (x === 2) break; }
    for await (const x of ReadableStream.from(["a", "b"])) got.push(x);
    const [one, two] = ReadableStream.from([1, 2]).tee();
    for await (const x of one) got.push(x);
    for await (const x of two) got.push(-x);
    const bad = new ReadableStream({ start(c) { c.enqueue(1); c.error(new Error("bad")); } });
    try { await bad.getReader().read(); } catch (e) { got.push(e.message); }
    let why; const s = new ReadableStream({ cancel(r) { why = r; } }); await s.cancel("stop"); got.push(why);
    try { s.getReader(); s.getReader(); } catch (e) { got.push(e.name); }
    const Reader = new ReadableStream().getReader().constructor;
    try { new Reader(); } catch (e) { got.push(e.name); }
    return got;"""
    assert run(new_guest, body) == [1, 2, "end", "a", "b", 1, 2, -1, -2, "bad", "stop", "TypeError", "TypeError"]


def test_a_read_waits_for_its_chunk(new_guest: NewGuest) -> None:
    body = """let controller; const s = new ReadableStream({ start(c) { controller = c; } });
    const r = s.getReader(), first = r.read(), second = r.read(), got = [];
    controller.enqueue("x"); controller.close();
    got.push((await first).value, (await second).done, controller.desiredSize);
    try { controller.enqueue("y"); } catch (e) { got.push(e.name); }
    return got;"""
    assert run(new_guest, body) == ["x", True, 0, "TypeError"]


def test_a_response_may_be_a_stream(new_guest: NewGuest) -> None:
    body = """const e = new TextEncoder();
    return new Response(new ReadableStream({ async pull(c) {
      await c2.kv.get("x"); c.enqueue(e.encode(`part ${++n} `)); if (n === 3) c.close(); } }));""".replace("c2", "ctx")
    body = "const ctx = c; let n = 0; " + body
    assert answer(new_guest, body)[1] == b"part 1 part 2 part 3 "


@pytest.mark.parametrize("what", ["'text'", "{}", "5"])
def test_a_stream_of_something_else_is_refused(new_guest: NewGuest, what: str) -> None:
    guest = new_guest(f"export default {{ onRequest: () => new Response(ReadableStream.from([{what}])) }}")
    settled = guest.one(type="request", method="GET", path="/", headers=[], body="")
    assert "must give bytes" in settled.error["message"]


def test_the_body_of_a_request_is_a_stream_too(new_guest: NewGuest) -> None:
    body = """const copy = request.clone(), seen = [request.bodyUsed, request.body === request.body];
    let size = 0;
    for await (const chunk of request.body) size += chunk.length;
    seen.push(size, request.bodyUsed, await copy.text());
    try { await request.text(); } catch (e) { seen.push(e.name); }
    return Response.json(seen);"""
    assert answer(new_guest, body, b"hello")[1] == b'[false,true,5,true,"hello","TypeError"]'


def test_blobs_and_files(new_guest: NewGuest) -> None:
    body = """const b = new Blob(["aé", new Uint8Array([33]), new Blob(["x"])], { type: "Text/Plain" });
    const f = new File([b], "n.txt", { type: "a/b", lastModified: 5 });
    const part = b.slice(1, 3, "c/d");
    return [b.size, b.type, await b.text(), [...await part.bytes()], part.type, f.name, f.lastModified,
      f instanceof Blob, await new Response(b).text(), new Response(b).headers.get("content-type"),
      (await new Response("x").blob()).type,
      await new Response(b.stream()).text(), (await b.arrayBuffer()).byteLength];"""
    assert run(new_guest, body) == [
        5, "text/plain", "aé!x", [195, 169], "c/d", "n.txt", 5, True, "aé!x", "text/plain",
        "text/plain;charset=utf-8", "aé!x", 5,
    ]  # fmt: skip


def test_form_data_goes_there_and_back(new_guest: NewGuest) -> None:
    body = r"""const f = new FormData();
    f.append("a", "1"); f.append("a", 2); f.append("q\"\r\n", "line\nend");
    f.set("b", new Blob(["\0\r\n--x"], { type: "t/x" }), "f\".bin");
    f.append("gone", ""); f.delete("gone"); f.set("a2", "x"); f.set("a2", "y");
    const r = new Response(f), type = r.headers.get("content-type");
    const back = await r.formData(), file = back.get("b");
    return [type.startsWith("multipart/form-data; boundary="), back.getAll("a"), [...back.keys()], back.get("q\"\r\n"),
      file.name, file.type, [...await file.bytes()], back.has("gone"), back.get("a2"), back.get("no")];"""
    assert run(new_guest, body) == [
        True, ["1", "2"], ["a", "a", 'q"\r\n', "b", "a2"], "line\r\nend", 'f".bin', "t/x",
        [0, 13, 10, 45, 45, 120], False, "y", None,
    ]  # fmt: skip


MULTIPART = (
    b'preamble\r\n--X\r\nContent-Disposition: form-data; name="t"\r\n\r\n\xc3\xa9\r\n'
    b'--X\r\ncontent-disposition: form-data; name="f"; filename="a.txt"\r\n'
    b"Content-Type: text/x\r\n\r\nbody\r\n--X--\r\n"
)


def test_forms_of_others_are_read(new_guest: NewGuest) -> None:
    body = """const f = await request.formData(), file = f.get("f");
    return Response.json([f.get("t"), file.name, file.type, await file.text()]);"""
    headers = [["content-type", 'multipart/form-data; boundary="X"']]
    assert answer(new_guest, body, MULTIPART, headers)[1].decode() == '["é","a.txt","text/x","body"]'
    body = "const f = await request.formData(); return Response.json([...f]);"
    headers = [["content-type", "application/x-www-form-urlencoded"]]
    assert answer(new_guest, body, b"a=1&a=%C3%A9+x", headers)[1].decode() == '[["a","1"],["a","é x"]]'


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("multipart/form-data; boundary=X", b"--X\r\nno end"),
        ("multipart/form-data; boundary=X", b""),
        ("multipart/form-data; boundary=X", b"--X\r\nContent-Disposition: form-data\r\n\r\nx\r\n--X--"),
        ("multipart/form-data", b"--X--"),
        ("text/plain", b"a=1"),
    ],
)
def test_what_is_no_form_is_refused(new_guest: NewGuest, kind: str, sent: bytes) -> None:
    body = "try { await request.formData(); } catch (e) { return new Response(e.name); } return new Response('read');"
    assert answer(new_guest, body, sent, [["content-type", kind]])[1] == b"TypeError"


def test_duplicates_of_headers_are_kept_on_the_way_out(new_guest: NewGuest) -> None:
    body = """const headers = new Headers([["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-y", "1"], ["x-y", "2"]]);
    return new Response("", { headers });"""
    headers, _ = answer(new_guest, body)
    assert [row for row in headers if row[0] != "content-type"] == [
        ["set-cookie", "a=1"], ["set-cookie", "b=2"], ["x-y", "1"], ["x-y", "2"],
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["SHA-1", "SHA-256", "SHA-384", "SHA-512"])
@pytest.mark.parametrize("size", [0, 3, 55, 56, 63, 64, 65, 111, 112, 119, 127, 128, 129, 1000, 70_000])
def test_digests_are_those_of_the_standard(new_guest: NewGuest, name: str, size: int) -> None:
    body = """const data = new Uint8Array(args[1]).map((_, i) => i * 7);
    const view = args[1] % 2 ? data.buffer : data;
    return [...new Uint8Array(await crypto.subtle.digest(args[0], view))];"""
    data = bytes(i * 7 % 256 for i in range(size))
    assert bytes(run(new_guest, body, name, size)) == hashlib.new(name.replace("-", "").lower(), data).digest()


def test_an_unknown_digest_is_refused(new_guest: NewGuest) -> None:
    body = """const bad = [];
    for (const what of ["MD5", { name: "SHA-3" }])
      try { await crypto.subtle.digest(what, new Uint8Array(1)); } catch (e) { bad.push(e.name); }
    try { await crypto.subtle.digest("sha-256", "text"); } catch (e) { bad.push(e.name); }
    return bad;"""
    assert run(new_guest, body) == ["NotSupportedError", "NotSupportedError", "TypeError"]
