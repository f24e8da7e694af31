"""Loading bytes from a URL: the bounds, the hash, and what an error says."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from hashlib import sha256

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from host.model.errors import DormiceError
from host.modules.fetch import Fetcher, FetchLimits
from host.outbound.address_guard import AddressGuard, refusal
from host.outbound.url_rules import UrlRules
from tests.outbound.web import Web, answer, saying, serving, silent

from .clocks import HandClock, RealClock

pytestmark = [pytest.mark.anyio]

BODY = b"export default {}"
HASH = sha256(BODY).hexdigest()
CAP = 1_000
DEV = UrlRules(allow_private=True)


def fetcher(
    clock: RealClock | None = None, *, allow_private: bool = True, limits: FetchLimits | None = None
) -> Fetcher:
    return Fetcher(clock or RealClock(), AddressGuard(allow_private=allow_private), DEV, limits=limits)


async def failure(url: str, loader: Fetcher | None = None, digest: str = HASH) -> DormiceError:
    with anyio.fail_after(5), pytest.raises(DormiceError) as caught:
        await (loader or fetcher()).fetch(url, digest, CAP)
    return caught.value


async def test_the_bytes_come_with_type_and_place() -> None:
    async with serving(saying(answer("200 OK", BODY, "content-type: text/javascript"))) as web:
        got = await fetcher().fetch(web.url("/a.js?key=hidden"), HASH, CAP)
    assert (got.data, got.content_type) == (BODY, "text/javascript")
    assert got.place == web.url("/a.js")
    head = web.requests[0].lower()
    assert head.startswith("get /a.js?key=hidden http/1.1")
    assert f"host: 127.0.0.1:{web.port}" in head
    assert "accept-encoding: identity" in head
    assert "authorization" not in head


async def test_a_chunked_body_arrives_whole() -> None:
    chunked = answer("200 OK", b"", "transfer-encoding: chunked", length=False)
    parts = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:]))
    async with serving(saying(chunked + parts + b"0\r\n\r\n")) as web:
        assert (await fetcher().fetch(web.url(), HASH, CAP)).data == BODY


async def test_a_body_of_another_hash_is_refused() -> None:
    async with serving(saying(answer("200 OK", b"something secret"))) as web:
        error = await failure(web.url())
    assert error.name == "module/hash_mismatch"
    assert HASH in error.message
    assert "something secret" not in str(error)


async def test_a_truncated_body_is_a_failure_not_a_short_module() -> None:
    async with serving(saying(answer("200 OK", BODY, "content-length: 99", length=False))) as web:
        error = await failure(web.url())
    assert error.name == "module/fetch_failed"


@pytest.mark.parametrize(("status", "again"), [("404 Not Found", False), ("403 No", False), ("500 Oops", True)])
async def test_any_other_status_is_a_failure_that_names_it_and_not_the_body(status: str, again: bool) -> None:
    async with serving(saying(answer(status, b"internal page"))) as web:
        error = await failure(web.url("/x?sig=hidden"))
    assert error.name == "module/fetch_failed"
    assert status[:3] in error.message
    assert error.retryable is again
    assert "internal page" not in str(error)
    assert "hidden" not in str(error)


async def test_a_declared_length_over_the_cap_is_refused_before_the_body() -> None:
    async def handle(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(answer("200 OK", b"", "content-length: 1001", length=False))
        await anyio.sleep_forever()

    async with serving(handle) as web:
        error = await failure(web.url())
    assert error.name == "module/too_large"
    assert error.metadata == b'{"limit":"module","used":1001,"allowed":1000}'


async def test_a_body_without_end_is_cut_at_the_cap() -> None:
    async def handle(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(answer("200 OK", b"", length=False))
        while True:
            await stream.send(b"x" * 500)

    async with serving(handle) as web:
        error = await failure(web.url())
    assert error.name == "module/too_large"


async def test_a_body_of_exactly_the_cap_is_taken() -> None:
    body = b"x" * CAP
    async with serving(saying(answer("200 OK", body))) as web:
        assert len((await fetcher().fetch(web.url(), sha256(body).hexdigest(), CAP)).data) == CAP


async def test_a_compressed_answer_is_refused() -> None:
    async with serving(saying(answer("200 OK", BODY, "content-encoding: gzip"))) as web:
        assert (await failure(web.url())).name == "module/fetch_failed"


async def test_a_server_that_does_not_answer_is_given_three_seconds() -> None:
    clock = HandClock()
    async with serving(silent) as web, anyio.create_task_group() as tasks:

        async def pass_time() -> None:
            await web.arrived.wait()
            clock.advance(2.9)
            await anyio.lowlevel.checkpoint()
            clock.advance(0.2)

        tasks.start_soon(pass_time)
        error = await failure(web.url(), fetcher(clock))
    assert error.name == "module/fetch_timeout"
    assert "3 s" in error.message
    assert clock.now == pytest.approx(1_003.1)


async def test_a_body_that_drips_is_given_ten_seconds() -> None:
    clock = HandClock()

    async def handle(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(answer("200 OK", b"", length=False) + b"x")
        for _ in range(200):
            clock.advance(0.1)
            await stream.send(b"x")
        await anyio.sleep_forever()

    async with serving(handle) as web:
        error = await failure(web.url(), fetcher(clock))
    assert error.name == "module/fetch_timeout"
    assert "10 s" in error.message


async def test_the_time_of_a_fetch_covers_its_redirects() -> None:
    clock = HandClock()

    async def handle(_web: Web, path: str, stream: ByteStream) -> None:
        clock.advance(2.0)
        await stream.send(answer("302 Found", b"", f"location: {path}x"))

    async with serving(handle) as web:
        error = await failure(web.url(), fetcher(clock, limits=FetchLimits(total=5.0, redirects=9)))
    assert error.name == "module/fetch_timeout"


async def test_nobody_listening_is_a_failure() -> None:
    async with serving(silent) as web:
        url = web.url()
    error = await failure(url)
    assert error.name == "module/fetch_failed"
    assert error.retryable


async def test_an_answer_that_is_not_http_is_a_failure() -> None:
    async with serving(saying(b"SSH-2.0-secret banner\r\n")) as web:
        error = await failure(web.url())
    assert error.name == "module/fetch_failed"
    assert "secret banner" not in error.message


async def test_three_redirects_are_followed() -> None:
    async def handle(_web: Web, path: str, stream: ByteStream) -> None:
        n = int(path[1:])
        status = ("301 Moved", "302 Found", "307 Temporary")[n % 3]
        data = answer("200 OK", BODY) if n == 3 else answer(status, b"", f"location: /{n + 1}")
        await stream.send(data)

    async with serving(handle) as web:
        got = await fetcher().fetch(web.url("/0"), HASH, CAP)
    assert got.place == web.url("/3")
    assert len(web.requests) == 4


async def test_a_redirect_loop_ends_after_three() -> None:
    async with serving(saying(answer("302 Found", b"", "location: /m"))) as web:
        error = await failure(web.url())
    assert error.name == "module/fetch_failed"
    assert "more than 3 redirects" in error.message
    assert len(web.requests) == 4


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://example.org/x", "http://user:pw@example.org/", "http://[::1", "data:text/plain,x"],
)
async def test_a_redirect_is_checked_like_the_url_itself(location: str) -> None:
    async with serving(saying(answer("302 Found", b"", f"location: {location}"))) as web:
        error = await failure(web.url())
    assert error.name == "module/fetch_refused"
    assert "pw" not in error.message


async def test_a_redirect_to_a_private_address_is_refused() -> None:
    async def resolve(host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.1",) if host == "public.test" else ("10.0.0.1",)

    class Pretend(AddressGuard):
        """Takes this machine for a public host, and nothing else."""

        async def addresses(self, host: str, port: int) -> Sequence[str]:
            return await resolve(host, port) if host == "public.test" else await super().addresses(host, port)

    async with serving(saying(answer("302 Found", b"", "location: http://inside.test/admin"))) as web:
        loader = Fetcher(RealClock(), Pretend(resolve=resolve), DEV)
        error = await failure(web.url(host="public.test"), loader)
    assert error.name == "module/fetch_refused"
    assert len(web.requests) == 1


async def test_a_url_to_this_machine_is_refused_without_the_operators_leave() -> None:
    async with serving(saying(answer("200 OK", BODY))) as web:
        error = await failure(web.url(), fetcher(allow_private=False))
    assert error.name == "module/fetch_refused"
    assert web.requests == []


async def test_the_connection_goes_to_the_checked_address_and_the_name_is_asked_once() -> None:
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ("127.0.0.1",)

    async with serving(saying(answer("200 OK", BODY))) as web:
        loader = Fetcher(RealClock(), AddressGuard(allow_private=True, resolve=resolve), DEV)
        await loader.fetch(web.url(host="module.test"), HASH, CAP)
    assert asked == ["module.test"]
    assert f"host: module.test:{web.port}" in web.requests[0].lower()


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.2", "127.0.0.1")

    async with serving(saying(answer("200 OK", BODY))) as web:
        loader = Fetcher(RealClock(), AddressGuard(allow_private=True, resolve=resolve), DEV)
        assert (await loader.fetch(web.url(host="two.test"), HASH, CAP)).data == BODY


async def test_https_names_the_host_to_the_server_and_wants_a_certificate() -> None:
    named: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _socket, name, _context: named.append(name)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ("127.0.0.1",)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:

        async def connection(stream: ByteStream) -> None:
            async with stream:
                with pytest.raises(ssl.SSLError):  # this server has no certificate to show
                    await TLSStream.wrap(stream, server_side=True, ssl_context=context)

        tasks.start_soon(listener.serve, connection)
        port = listener.extra(SocketAttribute.local_port)
        loader = Fetcher(RealClock(), AddressGuard(allow_private=True, resolve=resolve), DEV)
        error = await failure(f"https://module.test:{port}/m.js", loader)
        tasks.cancel_scope.cancel()
    assert error.name == "module/fetch_failed"
    assert named == ["module.test"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(saying(answer("200 OK", BODY))) as web:
        assert (await fetcher().fetch(web.url(), HASH, CAP)).data == BODY


async def test_this_machine_is_not_public() -> None:
    assert refusal("127.0.0.1") == "loopback"
