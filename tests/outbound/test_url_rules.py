"""What the text of a URL must be: one spelling for one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.model.errors import CallerError, DormiceError
from host.outbound.url_rules import HostPattern, UrlRules, parse_hosts, parse_url

DEV = UrlRules(allow_private=True)


def refusal_of(url: str, rules: UrlRules) -> str:
    with pytest.raises(DormiceError) as caught:
        parse_url(url, rules)
    assert caught.value.name == "module/fetch_refused"
    assert len(caught.value.message) < 400
    return caught.value.message


@pytest.mark.parametrize(
    "url",
    ["https://a.example/m.js", "https://a.example:443/m.js?key=1", "HTTPS://A.Example", "https://xn--mgba3a.example/",
     "https://xn--a.example/",
     "https://1.1.1.1/", "https://[2606:4700::1111]/", "https://a-b.c--d.example/%2e%2e/@x:y"],
)  # fmt: skip
def test_https_on_its_own_port_is_fetched(url: str) -> None:
    assert parse_url(url).scheme == "https"


@pytest.mark.parametrize(
    "url",
    ["", "m.js", "/m.js", "file:///etc/passwd", "ftp://h.example/x", "javascript:1", "unix:/run/x.sock", "https://",
     "https:///x", "https:a.example", "https:/a.example/", "//a.example/", "https://[::1", "https://h/" + "x" * 9_000,
     "https://u@a.example/", "https://u:p@a.example/", "https://@a.example/", "https://:@a.example/",
     "https://a.example:/", "https://a.example:0/", "https://a.example:0443/", "https://a.example:99999/",
     "https://a.example:443x/", "https://a.example:+443/"],
)  # fmt: skip
@pytest.mark.parametrize("rules", [UrlRules(), DEV], ids=["strict", "development"])
def test_a_text_that_is_no_url_to_fetch_is_refused(url: str, rules: UrlRules) -> None:
    refusal_of(url, rules)


@pytest.mark.parametrize(
    "host",
    ["127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001", "127.0.0.01",
     "127.0.0.1.", "256.1.1.1", "1.2.3.4.5", "1.1.1.0x1", "a.0x7f", "a.123", "a.example.", "a..example", ".a.example",
     "a%2eexample", "127.0.0.1%00.a.example", "a.example%", "a.example%0d%0a", "a_b.example", "-a.example",
     "a-.example", "a" * 64 + ".example", "a." * 127 + "example", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]",
     "[::1%25lo]", "[fe80::1%lo]",
     "[::1]x", "[]", "[1.1.1.1]", "[v1.a]", "::1", "a.example\\@b.example", "a.example\\.b.example", "a.example\\",
     "a.ex ample", "a.example\t", "a.exam\nple", "a.example\x00", "a.example\x7f", "b\xfccher.example",
     "\uff11\uff12\uff17.0.0.1", "a\u3002example", "\u2460.example", "a.example\u200b", "\u0430pple.example",
     "*.example", "a!b.example", "a,b.example", "(a).example"],
)  # fmt: skip
@pytest.mark.parametrize("rules", [UrlRules(), DEV], ids=["strict", "development"])
def test_an_odd_spelling_of_a_host_is_refused_whatever_it_means(host: str, rules: UrlRules) -> None:
    refusal_of(f"https://{host}/m.js", rules)


@pytest.mark.parametrize("url", [" https://a.example/", "https://a.example/ ", "https://a.example/\r\nx: y", "\ufeffhttps://a.example/",
     "https://a.example/\u00e9", "https://a.example/a\\b", "https://a.example/\ud800"])  # fmt: skip
def test_a_url_is_printable_ascii_without_a_backslash(url: str) -> None:
    refusal_of(url, DEV)


@pytest.mark.parametrize(
    ("url", "names"),
    [("http://a.example/", "https"), ("https://a.example:8443/", "port 8443"), ("https://a.example:80/", "port 80"),
     ("https://localhost/", "localhost"), ("https://intranet/x", "intranet")],
)  # fmt: skip
def test_only_development_reaches_http_other_ports_and_names_without_a_dot(url: str, names: str) -> None:
    assert names in refusal_of(url, UrlRules())
    parse_url(url, DEV)


def test_a_refusal_of_http_names_the_flag_for_development() -> None:
    assert "--allow-private-urls" in refusal_of("http://a.example/", UrlRules())


ALLOWED = UrlRules(hosts=parse_hosts("a.example, *.B.example,c.example:8443,1.1.1.1"))


@pytest.mark.parametrize(
    "url", ["https://a.example/", "https://A.example/", "https://x.b.example/", "https://x.y.b.example/",
            "https://c.example:8443/", "https://1.1.1.1/"],
)  # fmt: skip
def test_a_host_that_is_listed_is_fetched(url: str) -> None:
    parse_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url", ["https://x.a.example/", "https://b.example/", "https://xb.example/", "https://a.example.evil.example/",
            "https://c.example/", "https://a.example:8443/", "https://c.example:8444/", "https://1.1.1.2/",
            "https://other.example/", "http://a.example/"],
)  # fmt: skip
def test_a_host_that_is_not_listed_is_refused(url: str) -> None:
    refusal_of(url, ALLOWED)


def test_the_list_holds_in_development_too_but_for_ports() -> None:
    rules = UrlRules(allow_private=True, hosts=parse_hosts("localhost,c.example:8443"))
    parse_url("http://localhost:3000/", rules)
    parse_url("http://c.example:1/", rules)
    assert "--url-hosts" in refusal_of("http://127.0.0.1:3000/", rules)


def test_an_empty_list_is_every_public_host() -> None:
    assert parse_hosts("") == parse_hosts(" , ") == ()
    assert parse_hosts("*.a.example:444,[2606:4700::1]") == (
        HostPattern("a.example", True, 444),
        HostPattern("2606:4700::1"),
    )


@pytest.mark.parametrize(
    "text",
    ["*", "*.", "a.*.example", "https://a.example", "a.example/", "a.example:0", "a.example:x", "127.1", "a.example.",
     "b\xfccher.example", "a b.example", "a.example:99999", "*.*.example"],
)  # fmt: skip
def test_a_pattern_that_can_never_match_stops_the_start(text: str) -> None:
    with pytest.raises(CallerError) as caught:
        parse_hosts(text)
    assert caught.value.name == "request/invalid"


pieces = st.sampled_from(
    ["https://", "http://", "//", "a.example", "127.0.0.1", "localhost", "[::1]", "@", ":", ":443", "/", "\\", "?", "#",
     "%", "%2e", ".", "..", "0x7f", "1", "\u3002", "\t", " ", "xn--"]
)  # fmt: skip


@given(st.lists(pieces, max_size=8).map("".join) | st.text(max_size=30).map("https://".__add__) | st.text(max_size=30))
def test_any_text_is_one_place_or_a_refusal(text: str) -> None:
    name = ""
    try:
        url = parse_url(text)
    except DormiceError as error:
        name = error.name
    if name:
        assert name == "module/fetch_refused"
        return
    assert (url.scheme, url.port, url.userinfo) == ("https", None, b"")
    authority = text[len("https://") :].partition("/")[0].partition("?")[0].partition("#")[0]
    assert authority.lower().removesuffix(":443") in (url.host, f"[{url.host}]")
