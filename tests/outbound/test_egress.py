"""Requests of actors to the outside: what a definition opens, what may go out and come in, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import pytest
import structlog
from anyio.abc import ByteStream

from host.model.calls import Caller, CallOutcome, FetchCall, RedirectMode
from host.model.definitions import EgressOptions
from host.model.egress import EgressFunction, EgressRefused, EgressRequest, EgressResponse, Forward
from host.model.errors import CallerError, DormiceError, limit_error
from host.model.limits import Limits
from host.outbound.egress import Egress
from host.outbound.egress_rules import check_egress
from host.outbound.url_rules import parse_hosts
from host.telemetry.metrics import MetricsRegistry
from tests.modules.clocks import HandClock, RealClock
from tests.outbound.hostile_web import PUBLIC, Names, Server, running
from tests.outbound.tls import NAME, client_context
from tests.outbound.web import Handler, Web, answer, saying, serving, silent

pytestmark = pytest.mark.anyio

LOCAL = EgressOptions(hosts=("127.0.0.1", "localhost"))
ACTOR = "0f" * 16


def caller(egress: EgressOptions | None = LOCAL, name: str = "a", **limits: int) -> Caller:
    return Caller("tenant-1", ACTOR, name, ("k",), 1, Limits(**limits), egress)


class Out:
    """An egress of a host for development, whose tenant has room for `room` bytes."""

    def __init__(
        self,
        functions: Mapping[str, EgressFunction] | None = None,
        *,
        clock: RealClock | None = None,
        room: int = 10**9,
        **more: Any,
    ) -> None:
        self.metrics = MetricsRegistry()
        self.room = room
        self.held = 0
        self.egress = Egress(clock or RealClock(), self.metrics, functions=functions, **{"allow_private": True, **more})

    def hold(self, size: int) -> DormiceError | None:
        if self.held + size > self.room:
            return limit_error("tenant_call_bytes", self.held + size, self.room, "less")
        self.held += size
        return None

    async def __call__(
        self,
        url: str,
        method: str = "GET",
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        redirect: RedirectMode = "follow",
        *,
        of: Caller | None = None,
        timeout: int | None = None,
    ) -> CallOutcome:
        with anyio.fail_after(10):
            call = FetchCall(1, url, method, headers, body, redirect, timeout)
            return await self.egress.fetch(of or caller(), call, self.hold)

    async def refused(self, *args: Any, **more: Any) -> str:
        outcome = await self(*args, **more)
        assert outcome.error is not None, outcome
        return outcome.error.name


def result(outcome: CallOutcome) -> dict[str, Any]:
    assert outcome.error is None, outcome.error
    found: dict[str, Any] = json.loads(outcome.result)
    return found


def secure(server: Server, *answers: list[str], **more: Any) -> Out:
    """An egress as a host in production has it, on a network where the name of the server has these addresses."""
    names = Names(module_test=list(answers) or [[PUBLIC]])
    return Out(allow_private=False, resolve=names, ssl_context=client_context(), network=server.wire, **more)


OPEN = EgressOptions(hosts=(NAME,))


# --- the way through --------------------------------------------------------------------------------------------------


async def test_an_answer_comes_with_status_headers_url_and_body() -> None:
    said = answer("201 Made", b"hello", "x-a: 1", "x-a: 2", "set-cookie: a=b", "keep-alive: timeout=5")
    async with serving(saying(said)) as web:
        outcome = await Out()(web.url("/x?y=1#z"))
    found = result(outcome)
    assert (found["status"], outcome.body, found["redirected"]) == (201, b"hello", False)
    assert found["url"] == web.url("/x?y=1")
    assert [value for name, value in found["headers"] if name == "x-a"] == ["1", "2"]
    assert ["set-cookie", "a=b"] in found["headers"]
    assert not {"connection", "keep-alive"} & {name for name, _ in found["headers"]}


async def test_a_request_goes_out_with_its_method_headers_and_body_and_with_the_hosts_own() -> None:
    bodies: list[bytes] = []

    async def handle(web: Web, _path: str, stream: ByteStream) -> None:
        came = web.requests[-1].partition("\r\n\r\n")[2].encode()
        bodies.append(came or await stream.receive())
        await stream.send(answer("200 OK"))

    async with serving(handle) as web:
        outcome = await Out()(web.url("/p"), "PUT", (("X-Own", "1"), ("authorization", "Bearer t")), b"the body")
    assert result(outcome)["status"] == 200
    head = web.requests[0].lower()
    assert head.startswith("put /p http/1.1\r\n")
    for line in ("x-own: 1", "authorization: bearer t", "content-length: 8", "accept-encoding: identity"):
        assert f"\r\n{line}\r\n" in head
    assert head.count("\r\nhost: ") == 1
    assert bodies == [b"the body"]


async def test_nothing_of_one_answer_goes_out_with_the_next_request() -> None:
    async with serving(saying(answer("200 OK", b"", "set-cookie: session=1"))) as web:
        out = Out()
        await out(web.url())
        await out(web.url())
    assert "cookie" not in web.requests[1].lower()


# --- what a definition opens ------------------------------------------------------------------------------------------


async def test_without_egress_nothing_goes_out() -> None:
    out = Out()
    async with serving(saying(answer("200 OK"))) as web:
        assert await out.refused(web.url(), of=caller(None)) == "fetch/refused"
    assert web.requests == []
    assert out.metrics.counter("fetches", "fetch/refused") == 1


@pytest.mark.parametrize(
    ("hosts", "reached"),
    [
        ((NAME,), True),
        (("*",), True),
        (("*.test",), True),
        (("other.test", NAME), True),
        (("*.module.test",), False),
        (("other.test",), False),
        ((f"{NAME}:8443",), False),
    ],
)
async def test_a_host_is_reached_if_a_pattern_names_it(hosts: tuple[str, ...], reached: bool) -> None:
    async with running() as server:
        outcome = await secure(server)(f"https://{NAME}/", of=caller(EgressOptions(hosts=hosts)))
    assert (outcome.error is None) is reached
    assert server.wire.connected == ([(PUBLIC, 443)] if reached else [])


async def test_another_port_is_reached_only_where_a_pattern_names_it() -> None:
    async with running() as server:
        out = secure(server)
        named = caller(EgressOptions(hosts=(f"{NAME}:8443",)))
        assert (await out(f"https://{NAME}:8443/", of=named)).error is None
        assert await out.refused(f"https://{NAME}:8443/", of=caller(EgressOptions(hosts=("*",)))) == "fetch/refused"
    assert server.wire.connected == [(PUBLIC, 8443)]


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "track", "DELETE"])
async def test_a_method_that_is_not_allowed_is_refused(method: str) -> None:
    limited = EgressOptions(hosts=("127.0.0.1",), methods=("GET", "POST"))
    async with serving(saying(answer("200 OK"))) as web:
        assert await Out().refused(web.url(), method, of=caller(limited)) == "fetch/refused"
    assert web.requests == []


async def test_an_operator_may_bound_what_definitions_open() -> None:
    async with running() as server:
        out = secure(server, hosts=parse_hosts("*.example.com"))
        assert await out.refused(f"https://{NAME}/", of=caller(OPEN)) == "fetch/refused"
        none = secure(server, hosts=())
        assert await none.refused(f"https://{NAME}/", of=caller(OPEN)) == "fetch/refused"
        some = secure(server, hosts=parse_hosts(NAME))
        assert (await some(f"https://{NAME}/", of=caller(OPEN))).error is None


@pytest.mark.parametrize(
    "options",
    [
        EgressOptions(hosts=()),
        EgressOptions(hosts=("https://a.example",)),
        EgressOptions(hosts=("a.example/path",)),
        EgressOptions(hosts=("*.*.example",)),
        EgressOptions(hosts=("a*.example",)),
        EgressOptions(hosts=("0x7f.1",)),
        EgressOptions(hosts=("a.example:0",)),
        EgressOptions(hosts=("a.example:99999",)),
        EgressOptions(hosts=("a.example,b.example",)),
        EgressOptions(hosts=("",)),
        EgressOptions(hosts=("a.example",) * 101),
        EgressOptions(hosts=("a.example",), methods=()),
        EgressOptions(hosts=("a.example",), methods=("get",)),
        EgressOptions(hosts=("a.example",), methods=("CONNECT",)),
    ],
)
def test_options_that_could_never_match_are_refused_when_they_are_given(options: EgressOptions) -> None:
    with pytest.raises(CallerError) as caught:
        check_egress(options)
    assert caught.value.name == "definition/invalid_options"


def test_options_that_can_match_are_taken() -> None:
    check_egress(EgressOptions(hosts=("a.example", "*.B.example", "c.example:8443", "93.184.215.14", "*")))
    check_egress(EgressOptions(hosts=("a.example",), methods=("GET", "PATCH")))


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["fd00::1"], [PUBLIC, "192.168.0.1"]]
)
async def test_a_name_that_leads_inside_is_connected_to_nowhere(found: list[str]) -> None:
    async with running() as server:
        outcome = await secure(server, found)(f"https://{NAME}/", of=caller(OPEN))
    assert outcome.error is not None
    assert outcome.error.name == "fetch/refused"
    assert not any(address in outcome.error.message for address in found)
    assert server.wire.connected == []


@pytest.mark.parametrize(
    "url",
    [
        "http://module.test/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://localhost/",
        "https://user:pw@module.test/",
        "https://module.test\\@127.0.0.1/",
        "https://module.test./",
        "https://%6dodule.test/",
        "file:///etc/passwd",
        "ftp://module.test/",
        "https:///",
        "https://module.test/" + "a" * 9_000,
        "https://module.test/\u00e9",
    ],
)
async def test_odd_and_inner_urls_are_refused_whatever_is_open(url: str) -> None:
    async with running() as server:
        out = secure(server)
        assert await out.refused(url, of=caller(EgressOptions(hosts=("*", NAME)))) == "fetch/refused"
    assert server.wire.connected == []


async def test_a_redirect_is_judged_like_the_first_url() -> None:
    async with running() as server:
        for location in ("http://module.test/1", "https://127.0.0.1/", "https://other.test/", "//10.0.0.1/", "a b"):
            server.says = lambda path, head, to=location: answer("302 Found", b"", f"location: {to}")  # type: ignore[misc]
            assert await secure(server).refused(f"https://{NAME}/", of=caller(OPEN)) == "fetch/refused"
        # The same name, which now leads inside.
        server.says = lambda path, head: answer("302 Found", b"", "location: /again")
        moved = secure(server, [PUBLIC], ["169.254.169.254"])
        assert await moved.refused(f"https://{NAME}/", of=caller(OPEN)) == "fetch/refused"


# --- redirects --------------------------------------------------------------------------------------------------------


def redirecting(status: str, location: str) -> Handler:
    async def handle(web: Web, path: str, stream: ByteStream) -> None:
        if path == "/from":
            await stream.send(answer(status, b"", f"location: {location.format(port=web.port)}"))
        else:
            await stream.send(answer("200 OK", path.encode()))

    return handle


@pytest.mark.parametrize(
    ("status", "sent", "arrives"),
    [
        ("301 Moved", "POST", "GET"),
        ("302 Found", "POST", "GET"),
        ("303 See Other", "PUT", "GET"),
        ("307 Temporary", "POST", "POST"),
        ("308 Permanent", "PUT", "PUT"),
        ("302 Found", "HEAD", "HEAD"),
    ],
)
async def test_a_redirect_is_followed_with_the_method_that_it_calls_for(status: str, sent: str, arrives: str) -> None:
    body = b"" if sent == "HEAD" else b"x"
    async with serving(redirecting(status, "/to")) as web:
        found = result(await Out()(web.url("/from"), sent, (("content-type", "text/plain"),), body))
    assert found["redirected"] is True
    assert found["url"] == web.url("/to")
    assert web.requests[1].startswith(f"{arrives} /to ")
    assert ("content-type" in web.requests[1].lower()) is (arrives == sent)


async def test_credentials_do_not_follow_a_redirect_to_another_origin() -> None:
    secret = (("authorization", "Bearer t"), ("cookie", "a=b"), ("x-own", "1"))
    async with serving(redirecting("302 Found", "http://localhost:{port}/to")) as web:
        result(await Out()(web.url("/from"), "GET", secret))
    assert "authorization" in web.requests[0].lower()
    assert "authorization" not in web.requests[1].lower()
    assert "cookie" not in web.requests[1].lower()
    assert "x-own: 1" in web.requests[1].lower()


async def test_redirects_have_an_end_and_an_actor_may_ask_for_none() -> None:
    async with serving(saying(answer("302 Found", b"", "location: /again"))) as web:
        out = Out()
        outcome = await out(web.url(), of=caller(fetch_redirects=2))
        assert outcome.error is not None
        assert outcome.error.name == "fetch/failed"
        assert outcome.error.metadata == b'{"limit":"fetch_redirects","used":3,"allowed":2}'
        assert out.metrics.counter("limits", "fetch_redirects") == 1
        assert len(web.requests) == 3
        assert await out.refused(web.url(), redirect="error") == "fetch/failed"
        found = result(await out(web.url(), redirect="manual"))
        assert (found["status"], found["redirected"]) == (302, False)
        assert ["location", "/again"] in found["headers"]


# --- what may go out and come in --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["Host", "connection", "Content-Length", "transfer-encoding", "upgrade", "te", "expect", "via", "accept-encoding",
     "forwarded", "X-Forwarded-For", "x-real-ip", "proxy-authorization", "Proxy-Connection", "keep-alive", "trailer"],
)  # fmt: skip
async def test_a_header_that_is_the_hosts_own_is_refused(name: str) -> None:
    async with serving(saying(answer("200 OK"))) as web:
        assert await Out().refused(web.url(), "GET", ((name, "x"),)) == "fetch/refused"
    assert web.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_request_that_has_no_body_takes_none(method: str) -> None:
    assert await Out().refused("http://127.0.0.1/", method, (), b"x") == "fetch/refused"


async def test_a_body_over_the_limit_is_refused_before_it_is_read_or_cut_where_it_goes_over() -> None:
    async def endless(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(answer("200 OK", b"", length=False))
        while True:
            await stream.send(b"x" * 500)

    async def declared(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(answer("200 OK", b"", "content-length: 1001", length=False))
        await anyio.sleep_forever()

    for handler in (endless, declared):
        async with serving(handler) as web:
            outcome = await Out()(web.url(), of=caller(body=1_000))
        assert outcome.error is not None
        assert outcome.error.name == "fetch/too_large"
        assert json.loads(outcome.error.metadata or b"")["limit"] == "body"
    async with serving(saying(answer("200 OK", b"x" * 1_000))) as web:
        assert (await Out()(web.url(), of=caller(body=1_000))).body == b"x" * 1_000


async def test_an_answer_that_the_tenant_has_no_room_for_is_cut() -> None:
    async with serving(saying(answer("200 OK", b"x" * 1_000))) as web:
        out = Out(room=999)
        assert await out.refused(web.url()) == "limit/exceeded"
        assert out.metrics.counter("limits", "tenant_call_bytes") == 1


async def test_headers_of_an_answer_are_bounded() -> None:
    many = answer("200 OK", b"", *(f"x-{n}: y" for n in range(20)))
    async with serving(saying(many)) as web:
        assert await Out().refused(web.url(), of=caller(headers=10)) == "fetch/too_large"
        assert await Out().refused(web.url(), of=caller(header_bytes=50)) == "fetch/too_large"


@pytest.mark.parametrize(
    "said",
    [b"", b"nonsense\r\n\r\n", answer("200 OK", b"", "content-length: 9", length=False), b"HTTP/1.1 200 OK\r\nx"],
)
async def test_an_answer_that_is_none_is_a_failure(said: bytes) -> None:
    async with serving(saying(said)) as web:
        assert await Out().refused(web.url()) == "fetch/failed"


async def test_a_coding_that_nobody_asked_for_is_a_failure() -> None:
    async with serving(saying(answer("200 OK", b"xx", "content-encoding: gzip"))) as web:
        assert await Out().refused(web.url()) == "fetch/failed"


async def test_nobody_listening_is_a_failure_that_says_nothing_of_the_network() -> None:
    outcome = await Out()("http://127.0.0.1:1/?secret=1")
    assert outcome.error is not None
    assert outcome.error.name == "fetch/failed"
    assert "secret" not in outcome.error.message


# --- time -------------------------------------------------------------------------------------------------------------


async def late(timeout: int | None, seconds: float, handler: Handler, of: Caller) -> CallOutcome:
    """What comes of a fetch when so many seconds pass after the server has got the request."""
    clock = HandClock()
    found: list[CallOutcome] = []
    async with serving(handler) as web, anyio.create_task_group() as tasks:

        async def whole() -> None:
            found.append(await Out(clock=clock)(web.url(), of=of, timeout=timeout))

        tasks.start_soon(whole)
        with anyio.fail_after(5):
            await web.arrived.wait()
        clock.advance(seconds)
    return found[0]


async def test_a_server_has_its_time_for_the_first_byte_and_no_longer() -> None:
    outcome = await late(None, 2.1, silent, caller(fetch_first_byte=2_000))
    assert outcome.error is not None
    assert outcome.error.name == "fetch/timeout"


async def test_a_fetch_has_its_time_for_all_and_an_actor_may_give_it_less() -> None:
    async def slow(_web: Web, _path: str, stream: ByteStream) -> None:
        await stream.send(answer("200 OK", b"", "content-length: 9", length=False))
        await anyio.sleep_forever()

    for timeout, of in ((500, caller()), (None, caller(call_timeout=500))):
        outcome = await late(timeout, 0.6, slow, of)
        assert outcome.error is not None
        assert outcome.error.name == "fetch/timeout"
        assert outcome.error.metadata == b'{"limit":"call_timeout","used":500,"allowed":500}'


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_every_fetch_is_logged_and_counted_without_its_path_query_or_headers() -> None:
    out = Out()
    async with serving(saying(answer("200 OK", b"hello"))) as web:
        with structlog.testing.capture_logs() as lines:
            await out(web.url("/x?token=hidden"), "POST", (("authorization", "hidden"),), b"four")
            await out("http://127.0.0.1:1/hidden?token=hidden")
            await out("https://elsewhere.example/hidden?token=hidden")
            await out("https://127.0.0.1:0/hidden")
    told = [line for line in lines if line["event"] == "fetch"]
    assert [(line["outcome"], line["status"], line["sent"], line["received"]) for line in told] == [
        ("ok", 200, 4, 5),
        ("fetch/failed", None, 0, 0),
        ("fetch/refused", None, 0, 0),
        ("fetch/refused", None, 0, 0),
    ]
    assert [line["host"] for line in told] == ["127.0.0.1", "127.0.0.1", "elsewhere.example", "127.0.0.1"]
    assert {line["actor_id"] for line in told} == {ACTOR}
    assert "hidden" not in str(lines)
    assert out.metrics.counter("fetches") == 4


# --- a function in the way --------------------------------------------------------------------------------------------


async def test_a_function_sees_every_request_and_answers_it() -> None:
    seen: list[EgressRequest] = []

    async def egress(request: EgressRequest, forward: Forward) -> EgressResponse:
        seen.append(request)
        return EgressResponse(202, (("X-By", "me"),), b"answered")

    out = Out({"a": egress})
    outcome = await out("https://vault.inside/x?y=1", "post", (("a", "b"),), b"body", of=caller(None))
    found = result(outcome)
    assert (found["status"], found["headers"], found["url"]) == (202, [["x-by", "me"]], "https://vault.inside/x?y=1")
    assert outcome.body == b"answered"
    url = "https://vault.inside/x?y=1"
    assert seen == [EgressRequest("tenant-1", ACTOR, "a", ("k",), "POST", url, (("a", "b"),), b"body")]


async def test_a_function_forwards_what_it_likes_through_the_same_checks() -> None:
    async def egress(request: EgressRequest, forward: Forward) -> EgressResponse:
        changed = EgressRequest(
            request.tenant, request.actor_id, request.name, request.key, "GET", f"https://{NAME}{request.url[-2:]}",
            (("authorization", "Bearer of the operator"),),
        )  # fmt: skip
        return await forward(changed)

    async with running() as server:
        found = result(await secure(server, functions={"*": egress})("https://shop.example/x", of=caller(None)))
        assert found["status"] == 200
        assert "authorization: bearer of the operator" in server.heads[0].lower()
        inside = secure(server, ["10.0.0.1"], functions={"*": egress})
        assert await inside.refused("https://shop.example/x", of=caller(None)) == "fetch/refused"
    assert server.wire.connected == [(PUBLIC, 443)]


async def refuses(request: EgressRequest, forward: Forward) -> EgressResponse:
    raise EgressRefused("not on a Sunday")


async def breaks(request: EgressRequest, forward: Forward) -> EgressResponse:
    raise ValueError("a secret of the operator")


async def answers_nonsense(request: EgressRequest, forward: Forward) -> EgressResponse:
    return "hello"  # type: ignore[return-value]


async def answers_too_much(request: EgressRequest, forward: Forward) -> EgressResponse:
    return EgressResponse(body=b"x" * 5_000_000)


@pytest.mark.parametrize(
    ("function", "name", "told"),
    [
        (refuses, "fetch/refused", "not on a Sunday"),
        (breaks, "fetch/failed", "failed"),
        (answers_nonsense, "fetch/failed", "failed"),
        (answers_too_much, "fetch/failed", "failed"),
    ],
)
async def test_what_a_function_does_wrong_costs_that_request(
    function: Callable[[EgressRequest, Forward], Awaitable[EgressResponse]], name: str, told: str
) -> None:
    outcome = await Out({"a": function})("https://x.example/", of=caller(None))
    assert outcome.error is not None
    assert outcome.error.name == name
    assert told in outcome.error.message
    assert "secret" not in outcome.error.message


async def test_a_function_of_one_definition_is_in_no_other_ones_way() -> None:
    out = Out({"b": refuses})
    async with serving(saying(answer("200 OK"))) as web:
        assert result(await out(web.url()))["status"] == 200
        assert await out.refused(web.url(), of=caller(LOCAL, "b")) == "fetch/refused"


@pytest.mark.parametrize("url", ["https://" + "\ufdfa" * 2_000 + "/", "https://" + "a" * 20_000 + "/"])
async def test_what_could_be_no_url_is_not_even_taken_apart_for_the_log(url: str) -> None:
    """A parser of URLs normalizes their letters first, and keeps them: megabytes of some are seconds of everybody's."""
    with structlog.testing.capture_logs() as logs:
        assert await Out().refused(url) == "fetch/refused"
    assert [line["host"] for line in logs if line["event"] == "fetch"] == [""]
