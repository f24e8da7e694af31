"""What is kept of tenants, in every driver."""

from __future__ import annotations

import hashlib

import pytest

from host.model.definitions import JS_MANIFEST, ModuleRecord
from host.model.effects import KvDelete, KvDeleteRange, KvPut
from host.storage.driver import Driver
from tests.storage.samples import create, unit

pytestmark = pytest.mark.anyio


async def test_quotas_are_kept_by_tenant_and_replaced_as_a_whole(driver: Driver) -> None:
    assert await driver.tenant_quotas("a") == {}
    await driver.put_tenant_quotas("a", {"x": 1, "y": 2}, 5)
    await driver.put_tenant_quotas("b", {"x": 9}, 6)
    assert (await driver.tenant_quotas("a"), await driver.tenant_quotas("b")) == ({"x": 1, "y": 2}, {"x": 9})
    await driver.put_tenant_quotas("a", {"z": 3}, 7)
    assert await driver.tenant_quotas("a") == {"z": 3}
    await driver.put_tenant_quotas("a", {}, 8)
    assert await driver.tenant_quotas("a") == {}


async def test_modules_are_counted_once_each_for_their_tenant(driver: Driver) -> None:
    assert await driver.modules_size("a") == (0, 0)
    for tenant, data in (("a", b"1"), ("a", b"22"), ("a", b"22"), ("b", b"333")):
        digest = hashlib.sha256(data).hexdigest()
        await driver.put_module(ModuleRecord(tenant, digest, "js", len(data), JS_MANIFEST, 5), data)
    assert (await driver.modules_size("a"), await driver.modules_size("b")) == ((2, 3), (1, 3))


async def test_the_keys_of_an_actor_are_counted_as_committed(driver: Driver) -> None:
    actor = await create(driver, 1)
    reader = driver.reader(actor)
    assert reader.kv_keys() == 0
    await driver.commit(unit(actor, 1, kv=(KvPut(b"a", b"1"), KvPut(b"b", b"2"), KvPut(b"a", b"3"))))
    image = await driver.hydrate(actor)
    assert image is not None
    assert (reader.kv_keys(), image.record.kv_keys) == (2, 2)
    await driver.commit(unit(actor, 2, kv=(KvDelete(b"a"), KvDelete(b"x"), KvPut(b"c", b""), KvPut(b"d", b""))))
    assert reader.kv_keys() == 3
    await driver.commit(unit(actor, 3, kv=(KvDeleteRange(b"a", b"d"),)))
    assert reader.kv_keys() == 1
