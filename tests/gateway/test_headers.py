"""Headers between clients and actors: what passes, what stays, and what no answer can carry."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.bridge.codec import Codec
from host.gateway.headers import reply_headers, request_headers, socket_headers
from host.model.errors import GuestFault

HOP = ["Connection", "keep-alive", "Proxy-Authenticate", "proxy-authorization", "proxy-connection", "TE", "trailer",
       "Transfer-Encoding", "upgrade"]  # fmt: skip
COOKIES = ["cookie", "Set-Cookie", "cookie2", "set-cookie2"]
OURS = ["x-rivet-actor", "X-Rivet-Ray-Id", "x-dormice-session"]
ORIGIN = ["Content-Length", "Alt-Svc", "clear-site-data", "service-worker-allowed", "strict-transport-security", "NEL",
          "report-to", "Access-Control-Allow-Origin", "access-control-allow-credentials"]  # fmt: skip


def passed(name: str, value: str = "x") -> list[str]:
    return [kept for kept, _ in reply_headers([("before", "1"), (name, value), ("after", "2")])]


@pytest.mark.parametrize("name", HOP + COOKIES + OURS + ORIGIN)
def test_an_actor_does_not_answer_with_what_is_not_its_own_to_say(name: str) -> None:
    assert passed(name) == ["before", "after"]


def test_the_rest_of_an_answer_passes_in_its_order_with_names_in_lower_case() -> None:
    given = [("Content-Type", "text/html"), ("Vary", "a"), ("vary", "b"), ("X-A", ""), ("x-b", "caf\xe9\t")]
    assert reply_headers(given) == [(name.lower(), value) for name, value in given]


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a:", "a\r", "a\n", "a\x00", "a\x7f", "\xe9", "a(", "a,b", "a;", "a\t", ":status", "a\u212a"],
)
def test_a_name_that_is_no_token_is_a_fault(name: str) -> None:
    with pytest.raises(GuestFault) as fault:
        passed(name)
    assert fault.value.name == "guest/bad_reply"


@pytest.mark.parametrize(
    "value",
    ["\r\nset-cookie: a", "a\nb", "a\rb", "\x00", "a\x0bb", "\x1b[0m", "\x7f", "\u20ac", "\u010d\u010a", "\ud800"],
)
def test_a_value_that_ends_its_line_or_is_no_byte_is_a_fault(value: str) -> None:
    with pytest.raises(GuestFault):  # U+010D and U+010A are CR and LF to whoever cuts characters to bytes
        passed("x", value)


def test_a_request_reaches_an_actor_without_what_is_of_the_connection() -> None:
    raw = [
        (b"Host", b"h"), (b"Connection", b"keep-alive, X-Hop ,x-two"), (b"connection", b"x-three"), (b"X-Hop", b"1"),
        (b"x-two", b"2"), (b"X-THREE", b"3"), (b"Transfer-Encoding", b"chunked"), (b"Cookie", b"c=1"),
        (b"x-rivet-token", b"t"), (b"x-dormice-session", b"s"), (b"x-four", b"\xe9"), (b"authorization", b"Bearer a"),
    ]  # fmt: skip
    assert request_headers(raw, keep_bearer=lambda value: False) == (("host", "h"), ("x-four", "\xe9"))
    assert ("authorization", "Bearer a") in request_headers(raw, keep_bearer=lambda value: True)


def test_of_a_handshake_nothing_secret_is_kept() -> None:
    raw = [(name.encode(), b"1") for name in ["host", "origin", "x-custom", "authorization", *HOP, *COOKIES, *OURS]]
    assert socket_headers(raw) == (("host", "1"), ("origin", "1"))


names = st.text(max_size=8) | st.sampled_from([*HOP, *COOKIES, *OURS, *ORIGIN, "x-a", "date"])


@given(st.lists(st.tuples(names, st.text(max_size=12)), max_size=5))
def test_any_headers_of_a_guest_are_lines_of_http_or_a_fault(headers: list[tuple[str, str]]) -> None:
    kept: list[tuple[str, str]] = []
    try:
        kept = reply_headers(headers)
    except GuestFault:
        return
    for name, value in kept:
        line = f"{name}: {value}".encode("latin-1")
        assert len(line.splitlines()) == 1
        assert name == name.lower()
        assert name.isascii()
        assert name not in {each.lower() for each in [*HOP, *COOKIES, *OURS, *ORIGIN]}


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=3), st.integers(-(10**12), 10**12))
def test_the_bridge_and_the_gateway_agree_on_what_a_header_is(headers: list[tuple[str, str]], status: int) -> None:
    """The bridge looks first; what it lets through the gateway can send."""
    result = {"status": status, "headers": headers}
    try:
        data = msgspec.json.encode({"settled": [{"event": 1, "result": result}], "pending": 0})
    except UnicodeEncodeError:
        return
    reply = Codec("json").decode_reply(data)
    try:
        found, kept, _ = reply.http(reply.settled[0])
    except GuestFault:
        return
    assert 200 <= found <= 599
    reply_headers(kept)
