"""Machine code from the cache: mapped from the file that was checked, and copied only where that cannot be."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from host.isolate.code import Code
from host.isolate.engine import Engine
from host.isolate.isolate import Isolate
from host.isolate.turn_host import NullTurnHost
from host.model.errors import InternalError, TenantError
from host.model.limits import Limits
from host.modules.cache import ArtifactCache
from host.modules.machine_code import MachineCode
from host.telemetry.metrics import MetricsRegistry

from .guests import guest, wat

WASM = guest(more='(data (i32.const 8) "in the memory of each")')
DIGEST = sha256(WASM).hexdigest()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def artifact(engine: Engine) -> bytes:
    return engine.serialize(engine.compile(WASM))


class Bench:
    def __init__(self, engine: Engine, directory: Path) -> None:
        self.metrics = MetricsRegistry()
        self.cache = ArtifactCache(directory, b"k" * 32, engine.profile_key, self.metrics)
        self.codes = MachineCode(engine, self.cache, "cwasm", self.metrics)
        self.path = self.cache.path("cwasm", DIGEST)

    def errors(self) -> dict[str, int]:
        reasons = ("tampered", "unreadable", "unwritable", "unusable", "refused", "unmapped")
        found = {reason: self.metrics.counter("artifact_cache_errors", reason) for reason in reasons}
        return {reason: count for reason, count in found.items() if count}


@pytest.fixture
def bench(engine: Engine, tmp_path: Path) -> Bench:
    return Bench(engine, tmp_path)


def mapped(path: Path) -> bool:
    return str(path) in Path("/proc/self/maps").read_text()


def works(code: Code) -> bool:
    with_memory = Isolate(code, Limits(), NullTurnHost(b""))
    try:
        return b"in the memory of each" in with_memory.memory_image()
    finally:
        with_memory.close()


def test_new_code_is_mapped_from_its_file_and_so_is_kept_code(bench: Bench, artifact: bytes) -> None:
    code = bench.codes.keep(DIGEST, artifact, "wasm")
    assert mapped(bench.path)
    assert works(code)
    del code
    gc.collect()
    assert not mapped(bench.path)
    loaded = bench.codes.load(DIGEST, "wasm")
    assert loaded is not None
    assert mapped(bench.path)
    assert works(loaded.code)
    assert (loaded.note, loaded.size) == (b"", len(artifact))
    assert bench.errors() == {}


def test_a_note_comes_back_with_its_code(bench: Bench, artifact: bytes) -> None:
    bench.codes.keep(DIGEST, artifact, "wasm", b"a note")
    loaded = bench.codes.load(DIGEST, "wasm")
    assert loaded is not None
    assert loaded.note == b"a note"


def test_mapped_code_runs_on_when_its_file_is_replaced_or_deleted(bench: Bench, artifact: bytes) -> None:
    code = bench.codes.keep(DIGEST, artifact, "wasm")
    bench.cache.store("cwasm", DIGEST, b"\0" * len(artifact))
    assert works(code)
    bench.path.unlink()
    assert works(code)


def test_a_file_that_is_swapped_between_the_check_and_the_mapping_is_not_what_is_mapped(
    bench: Bench, engine: Engine, artifact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.cache.store("cwasm", DIGEST, artifact)
    map_file = engine.map

    def late(file: int) -> Code:
        bench.path.unlink()
        bench.path.write_bytes(b"\x7fELF evil")
        return map_file(file)

    monkeypatch.setattr(engine, "map", late)
    loaded = bench.codes.load(DIGEST, "wasm")
    assert loaded is not None
    assert works(loaded.code)


def test_no_file_stays_open_but_those_of_codes_in_use(bench: Bench, artifact: bytes) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    codes = [bench.codes.keep(DIGEST, artifact, "wasm") for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) <= before + 5
    for loaded in (bench.codes.load("cd" * 32, "wasm"), bench.codes.load(DIGEST, "js")):
        assert loaded is None
    codes.clear()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_where_no_file_can_be_mapped_the_code_is_copied(
    bench: Bench, engine: Engine, artifact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int) -> Code:
        raise InternalError("mounted noexec")

    monkeypatch.setattr(engine, "map", refuse)
    assert works(bench.codes.keep(DIGEST, artifact, "wasm", b"a note"))
    loaded = bench.codes.load(DIGEST, "wasm")
    assert loaded is not None
    assert works(loaded.code)
    assert (loaded.note, loaded.size) == (b"a note", len(artifact))
    assert not mapped(bench.path)
    assert bench.errors() == {"unmapped": 2}


def test_a_copy_is_of_bytes_that_were_checked_too(
    bench: Bench, engine: Engine, artifact: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(_file: int) -> Code:
        bench.path.unlink()
        bench.path.write_bytes(artifact)
        raise InternalError("mounted noexec")

    bench.cache.store("cwasm", DIGEST, artifact)
    monkeypatch.setattr(engine, "map", spoil)
    assert bench.codes.load(DIGEST, "wasm") is None
    assert bench.errors() == {"tampered": 1}


def test_a_cache_that_cannot_be_written_still_gives_code(bench: Bench, artifact: bytes, tmp_path: Path) -> None:
    tmp_path.rmdir()
    assert works(bench.codes.keep(DIGEST, artifact, "wasm"))
    assert bench.codes.load(DIGEST, "wasm") is None
    assert bench.errors() == {"unwritable": 1}


def test_code_that_misses_the_abi_or_the_engine_is_refused_and_not_kept(
    bench: Bench, engine: Engine, tmp_path: Path
) -> None:
    other = engine.serialize(engine.compile(wat('(module (memory (export "memory") 1))')))
    with pytest.raises(TenantError) as caught:
        bench.codes.keep(DIGEST, other, "wasm")
    assert caught.value.name == "module/bad_export"
    with pytest.raises(InternalError):
        bench.codes.keep(DIGEST, b"no machine code", "wasm")
    assert list(tmp_path.iterdir()) == []


def test_kept_code_that_misses_the_abi_or_the_engine_is_a_miss(bench: Bench, engine: Engine) -> None:
    for wrong in (b"no machine code", engine.serialize(engine.compile(wat('(module (memory (export "memory") 1))')))):
        bench.cache.store("cwasm", DIGEST, wrong)
        assert bench.codes.load(DIGEST, "wasm") is None
    assert bench.errors() == {"refused": 2}
