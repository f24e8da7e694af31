"""Loading from URLs of hostile tenants and servers: what is connected to, what is followed, what is believed."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import anyio
import pytest

from host.model.errors import DormiceError
from host.modules.fetch import Fetcher
from host.outbound.address_guard import AddressGuard
from host.outbound.url_rules import UrlRules, parse_hosts
from tests.modules.clocks import RealClock
from tests.outbound.hostile_web import BODY, PUBLIC, Names, Says, Server, running
from tests.outbound.tls import NAME, client_context
from tests.outbound.web import answer

pytestmark = pytest.mark.anyio

HASH = sha256(BODY).hexdigest()


def fetcher(server: Server, names: Names | None = None, rules: UrlRules | None = None) -> Fetcher:
    names = names or Names(module_test=[[PUBLIC]])
    return Fetcher(
        RealClock(), AddressGuard(resolve=names), rules or UrlRules(), ssl_context=client_context(), network=server.wire
    )


async def failure(loader: Fetcher, url: str = f"https://{NAME}/m.js") -> DormiceError:
    with anyio.fail_after(10), pytest.raises(DormiceError) as caught:
        await loader.fetch(url, HASH, 1_000)
    return caught.value


def redirecting(*locations: str, status: str = "302 Found", more: Sequence[str] = ()) -> Says:
    """Answers the paths /0, /1, … (and any other first) with these, then with the body."""

    def says(path: str, head: str) -> bytes:
        step = int(path[1:]) if path[1:].isdigit() else 0
        return (
            answer(status, b"", f"location: {locations[step]}", *more)
            if step < len(locations)
            else answer("200 OK", BODY)
        )

    return says


async def test_a_module_comes_over_tls_from_the_checked_address() -> None:
    names = Names(module_test=[[PUBLIC]])
    async with running() as server:
        assert (await fetcher(server, names).fetch(f"https://{NAME}/m.js", HASH, 1_000)).data == BODY
    assert server.wire.connected == [(PUBLIC, 443)]
    assert names.asked == [NAME]
    assert f"host: {NAME}\r\n" in server.heads[0].lower()


async def test_a_certificate_of_another_name_is_refused() -> None:
    async with running() as server:
        error = await failure(fetcher(server, Names(other_test=[[PUBLIC]])), "https://other.test/m.js")
    assert error.name == "module/fetch_failed"
    assert server.heads == []


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    async with running() as server:
        loader = Fetcher(RealClock(), AddressGuard(resolve=Names(module_test=[[PUBLIC]])), network=server.wire)
        error = await failure(loader)
    assert error.name == "module/fetch_failed"
    assert server.heads == []


async def test_a_name_server_that_changes_its_answer_moves_no_connection() -> None:
    names = Names(module_test=[[PUBLIC], ["127.0.0.1"]])
    async with running() as server:
        assert (await fetcher(server, names).fetch(f"https://{NAME}/m.js", HASH, 1_000)).data == BODY
    assert server.wire.connected == [(PUBLIC, 443)]


async def test_a_redirect_to_the_same_name_is_looked_up_and_checked_again() -> None:
    names = Names(module_test=[[PUBLIC], ["169.254.169.254"]])
    async with running() as server:
        server.says = redirecting("/1")
        error = await failure(fetcher(server, names))
    assert error.name == "module/fetch_refused"
    assert "169.254" not in error.message
    assert server.wire.connected == [(PUBLIC, 443)]


@pytest.mark.parametrize("found", [[PUBLIC, "10.0.0.1"], ["fd00:ec2::254", PUBLIC], [PUBLIC, "not an address"]])
async def test_an_answer_that_mixes_inside_and_outside_is_connected_to_nowhere(found: list[str]) -> None:
    async with running() as server:
        error = await failure(fetcher(server, Names(module_test=[found])))
    assert error.name == "module/fetch_refused"
    assert server.wire.connected == []


@pytest.mark.parametrize(
    "location",
    ["http://module.test/m.js", "//127.1/", "https://127.1/", "https://0x7f000001/", "https://[::ffff:127.0.0.1]/",
     "https://module.test:8443/", "https://u:pw@module.test/", "https:\\\\module.test\\", "//module.test\\@evil.test/",
     "https://m\xf6dule.test/", "https://module.test./", "https:/1", "https:1", "javascript:1", "https://localhost/",
     "/a b", "https://module.test%2f@x/", "https://module.test/" + "x" * 9_000],
)  # fmt: skip
async def test_a_redirect_obeys_the_rules_of_urls(location: str) -> None:
    async with running() as server:
        server.says = lambda path, head: answer("302 Found", b"").replace(
            b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 302 Found\r\nlocation: " + location.encode("latin-1") + b"\r\n"
        )
        error = await failure(fetcher(server))
    assert error.name == "module/fetch_refused"
    assert "pw" not in error.message
    assert len(server.wire.connected) == 1


async def test_no_redirect_leads_from_https_down_to_http_even_in_development() -> None:
    async with running() as server:
        server.says = redirecting("http://module.test/1")
        error = await failure(fetcher(server, rules=UrlRules(allow_private=True)))
    assert error.name == "module/fetch_refused"
    assert "down to http" in error.message
    assert len(server.wire.connected) == 1


async def test_a_redirect_stays_among_the_hosts_of_the_operator() -> None:
    names = Names(module_test=[[PUBLIC]], other_test=[[PUBLIC]])
    async with running() as server:
        server.says = redirecting("https://other.test/1")
        error = await failure(fetcher(server, names, UrlRules(hosts=parse_hosts("module.test"))))
    assert error.name == "module/fetch_refused"
    assert names.asked == [NAME]


async def test_a_cookie_that_is_set_is_never_sent() -> None:
    async with running() as server:
        server.says = redirecting("/1", more=["set-cookie: a=1; path=/"])
        await fetcher(server).fetch(f"https://{NAME}/0", HASH, 1_000)
    assert len(server.heads) == 2
    assert "cookie" not in "".join(server.heads).lower()


async def test_a_referrer_or_credentials_are_never_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {NAME} login someone password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with running() as server:
        server.says = redirecting("/1")
        await fetcher(server).fetch(f"https://{NAME}/0?token=hidden#part", HASH, 1_000)
    assert "authorization" not in "".join(server.heads).lower()
    assert "referer" not in "".join(server.heads).lower()
    assert "hidden" not in server.heads[1]
    assert "#part" not in server.heads[0]


@pytest.mark.parametrize(
    "data",
    [
        answer("200 OK", BODY, "content-encoding: identity, gzip"),
        answer("200 OK", BODY, "content-encoding: identity", "content-encoding: br"),
        answer("200 OK", BODY, "transfer-encoding: gzip", length=False),
        answer("200 OK", BODY, "transfer-encoding: gzip, chunked", length=False),
        answer("200 OK", BODY, "content-length: 16", "content-length: 17", length=False),
        answer("200 OK", BODY, "content-length: -1", length=False),
        answer("200 OK", BODY, "content-length: 0x11", length=False),
        answer("200 OK", BODY, "content-length: " + "9" * 5_000, length=False),
        answer("200 OK", b"zz\r\n" + BODY, "transfer-encoding: chunked", length=False),
        answer("200 OK", b"ffffffffffffffffffffffff\r\n" + BODY, "transfer-encoding: chunked", length=False),
        answer("200 OK", b"11\r\n" + BODY, "transfer-encoding: chunked", length=False),
        answer("200 OK", BODY, "content-length: 18", length=False),
        answer("206 Partial Content", BODY),
        answer("200 OK", BODY, "x: " + "y" * 200_000),
        answer("200 OK", BODY, *(f"x{i}: y" for i in range(20_000))),
        answer("101 Switching Protocols", BODY),
        b"HTTP/1.1 200 OK\r\n",
        b"\x00" * 300_000,
        b"HTTP/1.1 302 Found\r\nlocation: a\r\nlocation: b\r\n\r\n",
    ],
)  # fmt: skip
async def test_an_answer_that_lies_about_itself_is_a_failure(data: bytes) -> None:
    async with running() as server:
        server.says = lambda path, head: data
        error = await failure(fetcher(server))
    assert error.name in ("module/fetch_failed", "module/too_large", "module/fetch_refused")
    assert "export default" not in str(error)


async def test_a_body_longer_than_it_was_declared_is_not_the_pinned_one() -> None:
    async with running() as server:
        server.says = lambda path, head: answer(
            "200 OK", BODY + b"// more", f"content-length: {len(BODY) - 1}", length=False
        )
        error = await failure(fetcher(server))
    assert error.name == "module/hash_mismatch"


async def test_interim_answers_without_end_do_not_outlast_the_first_byte() -> None:
    async with running() as server:
        server.says = lambda path, head: b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 5_000
        error = await failure(fetcher(server))
    assert error.name in ("module/fetch_failed", "module/fetch_timeout")


async def test_an_error_never_says_what_a_server_inside_said_or_where_it_is() -> None:
    async with running() as server:
        server.says = lambda path, head: answer("500 secret-reason", b"secret body", "x: secret header")
        error = await failure(fetcher(server))
    assert "secret" not in f"{error} {error.metadata!r}"
    for inside in ("10.1.2.3", "fd00::1"):
        async with running() as server:
            error = await failure(fetcher(server, Names(module_test=[[inside]])))
        assert inside not in f"{error} {error.metadata!r}"
