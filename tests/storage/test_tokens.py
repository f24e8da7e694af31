"""Tokens of tenants: the same on every driver."""

from __future__ import annotations

import pytest

from host.model.identity import TokenRow
from host.storage.driver import Driver

pytestmark = pytest.mark.anyio


def row(number: int, tenant: str = "a", expires_at: int | None = None) -> TokenRow:
    return TokenRow(
        f"{number:032x}", tenant, f"no {number}", ("deploy", "connect"), b"h%d" % number, number, expires_at
    )


async def test_a_token_is_found_by_its_hash_with_all_that_was_stored(driver: Driver) -> None:
    assert await driver.token_by_hash(b"h1") is None
    assert await driver.put_token(row(1, expires_at=50), 5, 0)
    assert await driver.token_by_hash(b"h1") == row(1, expires_at=50)
    assert await driver.token_by_hash(b"h") is None


async def test_tokens_are_listed_by_tenant_without_those_that_have_expired(driver: Driver) -> None:
    for each in (row(2), row(1, expires_at=50), row(3, "b")):
        assert await driver.put_token(each, 5, 0)
    assert list(await driver.tokens_of("a", 49)) == [row(1, expires_at=50), row(2)]
    assert list(await driver.tokens_of("a", 50)) == [row(2)]
    assert list(await driver.tokens_of("c", 0)) == []


async def test_a_tenant_has_no_more_than_it_may_and_expired_ones_make_room(driver: Driver) -> None:
    assert await driver.put_token(row(1, expires_at=50), 2, 0)
    assert await driver.put_token(row(2), 2, 0)
    assert await driver.put_token(row(9, "b"), 2, 0)
    assert not await driver.put_token(row(3), 2, 49)
    assert await driver.token_by_hash(b"h3") is None
    assert await driver.put_token(row(3), 2, 50)
    assert await driver.token_by_hash(b"h1") is None
    assert list(await driver.tokens_of("a", 50)) == [row(2), row(3)]


async def test_a_token_that_is_dropped_is_gone_and_only_its_tenant_drops_it(driver: Driver) -> None:
    await driver.put_token(row(1), 5, 0)
    assert not await driver.drop_token("b", row(1).token_id)
    assert await driver.token_by_hash(b"h1") == row(1)
    assert await driver.drop_token("a", row(1).token_id)
    assert not await driver.drop_token("a", row(1).token_id)
    assert await driver.token_by_hash(b"h1") is None
