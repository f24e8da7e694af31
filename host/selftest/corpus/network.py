"""Modules by URL: addresses that are not for strangers, and spellings that hide them."""

from __future__ import annotations

from host.selftest.case import Case
from host.selftest.drives import script, seen_error, survived
from host.selftest.lab import Lab

__all__ = ["CASES", "URLS"]

URLS = [
    ("network/plain-http", "http://example.com/a.js"),
    ("network/loopback", "https://127.0.0.1/a.js"),
    ("network/localhost", "https://localhost/a.js"),
    ("network/loopback-v6", "https://[::1]/a.js"),
    ("network/any-address", "https://0.0.0.0/a.js"),
    ("network/private-10", "https://10.0.0.1/a.js"),
    ("network/private-172", "https://172.16.0.1/a.js"),
    ("network/private-192", "https://192.168.0.1/a.js"),
    ("network/carrier-nat", "https://100.64.0.1/a.js"),
    ("network/link-local", "https://169.254.1.1/a.js"),
    ("network/metadata", "https://169.254.169.254/latest/meta-data/"),
    ("network/metadata-v6", "https://[fd00:ec2::254]/latest/"),
    ("network/mapped", "https://[::ffff:127.0.0.1]/a.js"),
    ("network/nat64", "https://[64:ff9b::7f00:1]/a.js"),
    ("network/6to4", "https://[2002:7f00:1::]/a.js"),
    ("network/multicast", "https://224.0.0.1/a.js"),
    ("network/broadcast", "https://255.255.255.255/a.js"),
    ("network/decimal", "https://2130706433/a.js"),
    ("network/octal", "https://0177.0.0.1/a.js"),
    ("network/hex", "https://0x7f.1/a.js"),
    ("network/short", "https://127.1/a.js"),
    ("network/trailing-dot", "https://127.0.0.1./a.js"),
    ("network/zone-id", "https://[fe80::1%25eth0]/a.js"),
    ("network/full-width", "https://\uff11\uff12\uff17.0.0.1/a.js"),
    ("network/percent-encoded", "https://%31%32%37.0.0.1/a.js"),
    ("network/credentials", "https://user:secret@example.com/a.js"),
    ("network/odd-port", "https://example.com:6379/a.js"),
    ("network/file", "file:///etc/passwd"),
    ("network/gopher", "gopher://127.0.0.1:6379/_SHUTDOWN"),
    ("network/data", "data:text/javascript,export default {}"),
    ("network/backslash", "https://example.com\\@127.0.0.1/a.js"),
    ("network/newline", "https://127.0.0.1/\r\nhost: example.com"),
    ("network/no-host", "https:///a.js"),
    ("network/long", "https://example.com/" + "a" * 20_000),
]


def _refused(name: str, url: str) -> Case:
    @script(name, "addresses are checked", "URL", "refused before anything is sent", ("errors",))
    async def run(lab: Lab) -> str:
        body = {"url": url, "sha256": "0" * 64}
        where = {"namespace": lab.tenant}
        seen_error(await lab.http.post("/modules", params=where, json=body), "module/fetch_refused", "request/invalid")
        answer = await lab.http.put("/definitions/guest", params=where, json=body)
        return seen_error(answer, "module/fetch_refused", "request/invalid")

    return run


CASES: tuple[Case, ...] = (
    *(_refused(name, url) for name, url in URLS),
    survived(
        "network/guests-have-none",
        "guests have no network",
        (
            "return ['XMLHttpRequest', 'EventSource', 'importScripts', 'Worker', 'require', "
            "'process', 'Deno', 'Bun']"
            ".filter((name) => { try { return typeof globalThis[name] === 'function' && "
            "(globalThis[name]('http://127.0.0.1'), true); }"
            " catch { return false; } });"
        ),
        lambda result: result == [],
    ),
)
