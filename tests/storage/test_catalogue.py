"""Modules and definitions, in every driver."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from msgspec.structs import replace

from host.model.definitions import JS_MANIFEST, DefinitionOptions, Manifest, ModuleRecord
from host.model.errors import InternalError
from host.model.report import ImportInfo, MemoryInfo, ModuleReport
from host.storage.driver import Driver
from tests.storage.samples import MODULE

pytestmark = pytest.mark.anyio


def module(data: bytes, *, tenant: str = "default", at: int = 5, manifest: Manifest = JS_MANIFEST) -> ModuleRecord:
    digest = hashlib.sha256(data).hexdigest()
    return ModuleRecord(tenant, digest, "js", len(data), manifest, at, "https://example.com/m.js")


async def test_a_module_is_stored_once_a_tenant_with_its_bytes(driver: Driver) -> None:
    record = module(b"code", manifest=Manifest(abi=1, capabilities=("kv",), name="x", memory_pages=3))
    assert await driver.put_module(record, b"code") is True
    assert await driver.put_module(module(b"code", at=9), b"code") is False
    assert await driver.put_module(module(b"code", tenant="other"), b"code") is True
    assert await driver.get_module("default", record.digest) == record
    assert await driver.module_bytes(record.digest) == b"code"


async def test_a_module_of_another_tenant_is_not_seen(driver: Driver) -> None:
    record = module(b"code")
    await driver.put_module(record, b"code")
    assert await driver.get_module("other", record.digest) is None
    assert await driver.list_modules("other") == []


async def test_modules_are_listed_by_the_time_they_were_stored(driver: Driver) -> None:
    records = [module(bytes([number]), at=100 - number) for number in range(4)]
    for number, record in enumerate(records):
        await driver.put_module(record, bytes([number]))
    assert await driver.list_modules("default") == records[::-1]


async def test_bytes_that_are_not_those_of_the_digest_are_refused(driver: Driver) -> None:
    with pytest.raises(InternalError):
        await driver.put_module(module(b"code"), b"other")
    assert await driver.list_modules("default") == []


@pytest.mark.parametrize("digest", ["0" * 64, "", "../../../etc/passwd", "A" * 64, "0" * 63 + "\n"])
async def test_bytes_of_an_unknown_or_malformed_digest_are_none(driver: Driver, digest: str) -> None:
    assert await driver.module_bytes(digest) is None


async def test_definitions_count_their_versions_from_one(driver: Driver) -> None:
    options = DefinitionOptions(sleep_timeout=5, hibernate=False)
    first = await driver.put_definition("default", "room", MODULE, options, {"message": 7}, 1)
    second = await driver.put_definition("default", "room", "cd" * 32, DefinitionOptions(), {}, 2)
    assert (first.version, first.module, first.options, first.limits, first.created_at) == (
        1,
        MODULE,
        options,
        {"message": 7},
        1,
    )
    assert await driver.get_definition("default", "room") == second
    assert await driver.get_definition("default", "room", 1) == first
    assert await driver.get_definition("default", "room", 2) == second
    assert await driver.get_definition("default", "room", 3) is None
    assert await driver.get_definition("default", "room", 0) is None
    assert await driver.get_definition("other", "room") is None


async def test_definitions_are_listed_by_name_with_their_latest_version(driver: Driver) -> None:
    for name in ("b", "a", "b", "C"):
        await driver.put_definition("default", name, MODULE, DefinitionOptions(), {}, 1)
    await driver.put_definition("other", "z", MODULE, DefinitionOptions(), {}, 1)
    listed = await driver.list_definitions("default")
    assert [(found.name, found.version) for found in listed] == [("C", 1), ("a", 1), ("b", 2)]


async def test_versions_defined_at_once_are_all_different(driver: Driver) -> None:
    made = await asyncio.gather(
        *(driver.put_definition("default", "room", MODULE, DefinitionOptions(), {}, 1) for _ in range(10))
    )
    assert sorted(found.version for found in made) == list(range(1, 11))


REPORT = ModuleReport(
    digest="ab" * 32,
    kind="wasm",
    size=4,
    manifest=Manifest(abi=1, capabilities=("kv",)),
    capabilities=("kv", "log"),
    imports=(ImportInfo("isolate", "host_call", "() -> ()"),),
    memories=(MemoryInfo(1),),
    deepest_nesting=7,
)


async def test_a_report_is_stored_with_its_module_and_belongs_to_its_tenant(driver: Driver) -> None:
    record = module(b"code")
    assert await driver.module_report("default", record.digest) is None
    await driver.put_module(record, b"code", REPORT)
    assert await driver.module_report("default", record.digest) == REPORT
    assert await driver.module_report("other", record.digest) is None


async def test_a_module_without_a_report_takes_one_later_and_keeps_it(driver: Driver) -> None:
    record = module(b"code")
    await driver.put_module(record, b"code")
    assert await driver.module_report("default", record.digest) is None
    assert await driver.put_module(record, b"code", REPORT) is False
    assert await driver.put_module(record, b"code", replace(REPORT, size=5)) is False
    assert await driver.module_report("default", record.digest) == REPORT
