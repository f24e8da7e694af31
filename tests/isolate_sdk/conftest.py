"""One compiled engine for the whole session; one isolate per test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import wasmtime

import isolate_sdk
from tests.isolate_sdk.fake_host import FakeHost
from tests.isolate_sdk.guest import Guest

NewGuest = Callable[..., Guest]


@pytest.fixture(scope="session")
def wasm_engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = 2 << 20
    return wasmtime.Engine(config)


@pytest.fixture(scope="session")
def js_module(wasm_engine: wasmtime.Engine) -> wasmtime.Module:
    return wasmtime.Module(wasm_engine, isolate_sdk.engine_wasm())


@pytest.fixture
def bare_guest(wasm_engine: wasmtime.Engine, js_module: wasmtime.Module) -> NewGuest:
    """An isolate with the prelude, nothing loaded."""

    def make(host: FakeHost | None = None, *, memory: int = 64 << 20, heap: int = 0) -> Guest:
        return Guest(wasm_engine, js_module, host, memory).boot(isolate_sdk.prelude(), heap)

    return make


@pytest.fixture
def new_guest(bare_guest: NewGuest) -> NewGuest:
    """An isolate with a module loaded and, unless told otherwise, started."""

    def make(source: str, host: FakeHost | None = None, *, start: bool = True, **more: Any) -> Guest:
        guest = bare_guest(host, **more)
        answer = guest.load(source)
        assert "ok" in answer, answer
        if start:
            settled = guest.start()
            assert settled.error is None, settled.error
        return guest

    return make
