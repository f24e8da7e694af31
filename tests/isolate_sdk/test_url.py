"""URL and URLSearchParams against the web's URL standard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.isolate_sdk.conftest import NewGuest
from tests.isolate_sdk.guest import Guest

SOURCE = """export default { actions: {
  href: (c, ...args) => { try { return new URL(...args).href } catch (e) { return e.name } },
  parts: (c, t) => { const u = new URL(t); return [u.origin, u.protocol, u.username, u.password, u.host,
    u.hostname, u.port, u.pathname, u.search, u.hash] },
  set: (c, t, name, value) => { const u = new URL(t); u[name] = value; return u.href },
  params: (c, init) => { const p = new URLSearchParams(init); return [p.toString(), p.size, [...p]] },
  linked() { const u = new URL("http://h/?a=1&b=2"), p = u.searchParams; p.append("c", "ü &"); p.delete("a");
    p.set("b", "3"); const one = u.href;
    u.search = "?z=9&y=8"; p.sort(); const two = [u.search, p.get("z"), p.has("a"), p.getAll("y")];
      p.delete("z"); p.delete("y"); return [one, two, u.href] },
  static: () => [URL.canParse("x"), URL.canParse("x", "http://h"), URL.parse("::"),
    JSON.stringify(new URL("http://h")), `${new URL("http://h/a")}`],
} }"""


@pytest.fixture
def guest(new_guest: NewGuest) -> Guest:
    return new_guest(SOURCE)


CASES: list[tuple[tuple[str, ...], str]] = [
    (("http://EXAMPLE.com:80/a/../b?x=1 2#f g",), "http://example.com/b?x=1%202#f%20g"),
    (("../x?y", "http://h/a/b/c"), "http://h/a/x?y"),
    (("//o/p", "https://h/a"), "https://o/p"),
    (("?q", "http://h/a?z#w"), "http://h/a?q"),
    (("#f", "http://h/a?z#w"), "http://h/a?z#f"),
    (("", "http://h/a?z#w"), "http://h/a?z"),
    (("http://[2001:db8:0:0:1:0:0:1]:3000",), "http://[2001:db8::1:0:0:1]:3000/"),
    (("http://[::ffff:1.2.3.4]/",), "http://[::ffff:102:304]/"),
    (("http://0x7f.1/",), "http://127.0.0.1/"),
    (("http://1.2.3",), "http://1.2.0.3/"),
    (("http://256.1.1.1",), "TypeError"),
    (("http://münchen.de/ü?ü#ü",), "http://xn--mnchen-3ya.de/%C3%BC?%C3%BC#%C3%BC"),
    (("http://例え.テスト/",), "http://xn--r8jz45g.xn--zckzah/"),
    (("mailto:a@b.c",), "mailto:a@b.c"),
    (("data:text/plain,hello world",), "data:text/plain,hello world"),
    (("http://u:p@h:8080/x",), "http://u:p@h:8080/x"),
    (("http://h/%2e%2e/a/./b/..",), "http://h/a/"),
    (("ws:foo", "ws://h/a/b"), "ws://h/a/foo"),
    (("http:\\\\h\\a\\b",), "http://h/a/b"),
    (("file:///etc/x",), "file:///etc/x"),
    (("foo://bar/baz/../q?x",), "foo://bar/q?x"),
    (("/x", "foo://bar/baz"), "foo://bar/x"),
    (("../../../..", "http://h/a/b"), "http://h/"),
    (("  http://h/\n a\t",), "http://h/%20a"),
    (("http://h?a'b",), "http://h/?a%27b"),
    (("http://a b/",), "TypeError"),
    (("http://h:99999",), "TypeError"),
    (("http://:80",), "TypeError"),
    (("//", "http://h"), "TypeError"),
    (("http://[1::2::3]/",), "TypeError"),
    (("nope",), "TypeError"),
    (("x", "mailto:a"), "TypeError"),
]


@pytest.mark.parametrize(("args", "href"), CASES)
def test_urls_parse_as_the_standard_says(guest: Guest, args: tuple[str, ...], href: str) -> None:
    assert guest.action("href", *args).result == href


def test_the_parts_of_a_url(guest: Guest) -> None:
    assert guest.action("parts", "https://me:pw@h.example:444/p/q?a=1#top").result == [
        "https://h.example:444", "https:", "me", "pw", "h.example:444", "h.example", "444", "/p/q", "?a=1", "#top",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "href"),
    [
        ("protocol", "https", "https://h:8080/a?b#c"),
        ("protocol", "mailto", "http://h:8080/a?b#c"),
        ("host", "x:9", "http://x:9/a?b#c"),
        ("hostname", "bad host", "http://h:8080/a?b#c"),
        ("port", "80", "http://h/a?b#c"),
        ("port", "x", "http://h:8080/a?b#c"),
        ("pathname", "p q", "http://h:8080/p%20q?b#c"),
        ("search", "", "http://h:8080/a#c"),
        ("hash", "#d e", "http://h:8080/a?b#d%20e"),
        ("username", "me@", "http://me%40@h:8080/a?b#c"),
    ],
)
def test_setters_change_one_part(guest: Guest, name: str, value: str, href: str) -> None:
    assert guest.action("set", "http://h:8080/a?b#c", name, value).result == href


@pytest.mark.parametrize(
    ("init", "text"),
    [
        ("?a=1&b=2+3&c", "a=1&b=2+3&c="),
        ({"x": "ü&="}, "x=%C3%BC%26%3D"),
        ([["a", "1"], ["a", "2"]], "a=1&a=2"),
        ("a=%zz", "a=%25zz"),
    ],
)
def test_search_params_take_text_pairs_and_objects(guest: Guest, init: Any, text: str) -> None:
    assert guest.action("params", init).result[0] == text


def test_search_params_and_their_url_change_together(guest: Guest) -> None:
    assert guest.action("linked").result == [
        "http://h/?b=3&c=%C3%BC+%26",
        ["?y=8&z=9", "9", False, ["8"]],
        "http://h/",
    ]


def test_the_static_helpers(guest: Guest) -> None:
    assert guest.action("static").result == [False, True, None, '"http://h/"', "http://h/a"]
