"""One compiled engine and one compiled C guest for all of these tests; a fresh node for each, with the thing in it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

import isolate_sdk
from host.static.spec import spec_of
from tests.actor.harness import CodeShelf, open_harness
from tests.behaviour.kinds import HERE, NAME, World, source
from tests.behaviour.thing import Thing


@pytest.fixture(scope="session")
async def shelf(compiled_data_dir: Path) -> AsyncGenerator[CodeShelf]:
    made = await CodeShelf.build(compiled_data_dir)
    yield made
    made.close()


@pytest.fixture(scope="session")
def thing_wasm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    output = tmp_path_factory.mktemp("behaviour") / "thing.wasm"
    return isolate_sdk.compile_guest(HERE / "thing.c", output).read_bytes()


@pytest.fixture
async def thing(request: pytest.FixtureRequest, shelf: CodeShelf) -> AsyncGenerator[World]:
    kind: str = request.param
    registered = {NAME: spec_of(Thing)} if kind == "static" else None
    wasm: bytes = request.getfixturevalue("thing_wasm") if kind == "wasm" else b""
    async with open_harness(shelf, registered=registered) as h:
        if kind != "static":
            await h.define(wasm or source(), NAME)
        yield World(kind, h)
