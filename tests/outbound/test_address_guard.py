"""Which addresses a tenant's URL may reach."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from host.model.errors import CallerError, UnavailableError
from host.outbound.address_guard import AddressGuard, refusal, resolve_host

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.100.100.200", "carrier-grade NAT"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "metadata service"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "reserved"),
        ("192.168.1.1", "private"),
        ("198.19.0.1", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::7f00:1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:a9fe:a9fe", "link-local"),
        ("::ffff:10.1.2.3", "private"),
        ("::ffff:0:127.0.0.1", "reserved"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::8.8.8.8", "local NAT64"),
        ("100::1", "reserved"),
        ("2001::1", "reserved (Teredo and other protocols)"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("3fff::1", "documentation"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("2606:4700::1%eth0", "link-local"),
        ("fec0::1", "reserved"),
        ("ff02::1", "multicast"),
        ("localhost", "not an address"),
        ("", "not an address"),
        ("1.2.3", "not an address"),
    ],
)
async def test_an_address_that_is_not_public_is_refused_with_a_reason(address: str, reason: str) -> None:
    assert refusal(address) == reason


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "169.253.0.1", "11.0.0.1", "223.255.255.255",
     "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)  # fmt: skip
async def test_a_public_address_passes(address: str) -> None:
    assert refusal(address) is None


def _answers(*addresses: str) -> AddressGuard:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return AddressGuard(resolve=resolve)


async def test_the_checked_addresses_are_what_comes_back() -> None:
    assert await _answers("1.1.1.1", "2606:4700::1").addresses("example.org", 443) == ("1.1.1.1", "2606:4700::1")


@pytest.mark.parametrize("answers", [("10.0.0.1",), ("1.1.1.1", "127.0.0.1"), ("::1", "1.1.1.1")])
async def test_one_address_inside_refuses_the_whole_answer(answers: tuple[str, ...]) -> None:
    with pytest.raises(CallerError) as caught:
        await _answers(*answers).addresses("example.org", 80)
    assert caught.value.name == "module/fetch_refused"
    assert "10.0.0.1" not in caught.value.message
    assert caught.value.detail is not None
    assert "resolves to" in caught.value.detail


async def test_a_name_without_an_address_has_failed() -> None:
    with pytest.raises(UnavailableError) as caught:
        await _answers().addresses("example.org", 80)
    assert caught.value.name == "module/fetch_failed"


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
async def test_a_name_that_cannot_be_resolved_has_failed(failure: Exception) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise failure

    with pytest.raises(UnavailableError) as caught:
        await AddressGuard(resolve=resolve).addresses("no.example", 80)
    assert caught.value.name == "module/fetch_failed"


@pytest.mark.parametrize("spelling", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost"])
async def test_every_spelling_of_this_machine_is_refused(spelling: str) -> None:
    with pytest.raises(CallerError) as caught:
        await AddressGuard().addresses(spelling, 80)
    assert caught.value.name == "module/fetch_refused"


async def test_private_addresses_pass_where_the_operator_says_so() -> None:
    assert await AddressGuard(allow_private=True).addresses("127.0.0.1", 80) == ("127.0.0.1",)


async def test_the_resolver_gives_each_address_once() -> None:
    found = await resolve_host("127.0.0.1", 80)
    assert list(found) == ["127.0.0.1"]
