"""What the engine compiles, what it refuses, and what its artifacts are good for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from host.isolate.config import profile_key, require_wasmtime
from host.isolate.engine import Engine
from host.model.errors import DormiceError, InternalError, TenantError
from tests.isolate.conftest import Start
from tests.isolate.guests import ECHO, guest, wasm

OFF = {
    "threads": "(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
    "shared memory": "(module (memory 1 2 shared))",
    "memory64": "(module (memory i64 1))",
    "multi-memory": "(module (memory 1) (memory 1))",
    "relaxed SIMD": """(module (func (param v128 v128) (result v128)
        (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))""",
    "tail calls": "(module (func $f (return_call $f)))",
    "exceptions": "(module (tag $t) (func (throw $t)))",
    "GC": "(module (type (struct (field i32))))",
    "function references": "(module (type $t (func)) (func (param (ref null $t))))",
    "stack switching": "(module (type $f (func)) (type $c (cont $f)))",
    "components": "(component)",
    "custom page sizes": "(module (memory 1 (pagesize 1)))",
    "wide arithmetic": "(module (func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2))))",
}

ON = {
    "bulk memory": "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))))",
    "multi-value": "(module (func (result i32 i32) (i32.const 1) (i32.const 2)))",
    "sign extension": "(module (func (result i32) (i32.extend8_s (i32.const 200))))",
    "saturating conversions": "(module (func (result i32) (i32.trunc_sat_f32_s (f32.const 1))))",
    "reference types": "(module (table 1 externref) (func (param externref) (table.set (i32.const 0) (local.get 0))))",
    "mutable globals": '(module (global (export "g") (mut i32) (i32.const 0)))',
    "SIMD": "(module (func (result v128) (i32x4.add (v128.const i32x4 1 2 3 4) (v128.const i32x4 1 2 3 4))))",
}


@pytest.mark.parametrize("feature", sorted(OFF))
def test_rule_5_features_that_are_off_are_refused(one_engine: Engine, dense_engine: Engine, feature: str) -> None:
    binary = wasm(OFF[feature])
    for engine in (one_engine, dense_engine):
        with pytest.raises(TenantError) as caught:
            engine.compile(binary)
        assert caught.value.name == "module/malformed"


@pytest.mark.parametrize("feature", sorted(ON))
def test_rule_5_features_that_are_on_compile(one_engine: Engine, dense_engine: Engine, feature: str) -> None:
    for engine in (one_engine, dense_engine):
        engine.compile(wasm(ON[feature]))


def test_rule_5_nans_are_canonical(start: Start) -> None:
    """A NaN with a payload goes through an addition; the payload would tell machines apart."""
    module = guest(
        """(f64.store (i32.const 0)
            (f64.add (f64.reinterpret_i64 (i64.const 0x7ff8dead0000beef)) (f64.const 1)))
        (call $pack (i32.const 0) (i32.const 8))"""
    )
    assert start(module).deliver(b"") == (0x7FF8 << 48).to_bytes(8, "little")


@pytest.mark.parametrize("data", [b"(module)", b"", b"\0", b"not wasm", b"asm\0\1\0\0\0"])
def test_rule_4_what_does_not_begin_as_a_binary_module_is_not_wasm(one_engine: Engine, data: bytes) -> None:
    with pytest.raises(TenantError) as caught:
        one_engine.compile(data)
    assert caught.value.name == "module/not_wasm"


@pytest.mark.parametrize(
    "data", [b"\0asm", b"\0asm\x02\0\0\0", b"\0asm\x0d\0\x01\0", ECHO[:-3], ECHO + b"\x01", ECHO[:60]]
)
def test_rule_4_a_truncated_or_strange_binary_is_malformed(one_engine: Engine, data: bytes) -> None:
    with pytest.raises(TenantError) as caught:
        one_engine.compile(data)
    assert caught.value.name == "module/malformed"
    assert "\n" not in caught.value.message


def test_an_artifact_runs_without_being_compiled_again(engine: Engine, start: Start) -> None:
    artifact = engine.serialize(engine.compile(ECHO))
    assert start(engine.deserialize(artifact)).deliver(b"again") == b"again"


def test_an_artifact_is_mapped_from_an_open_file_whatever_follows_it(
    engine: Engine, start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "artifact"
    path.write_bytes(engine.serialize(engine.compile(ECHO)) + b"a tail of the host's own")
    with path.open("rb") as file:
        path.unlink()
        code = engine.map(file.fileno())
    assert f"{path} (deleted)" in Path("/proc/self/maps").read_text()
    assert start(code).deliver(b"mapped") == b"mapped"


def test_rule_4_a_file_that_is_no_artifact_of_this_engine_is_not_mapped(
    one_engine: Engine, dense_engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "artifact"
    for data in (b"", b"no artifact", dense_engine.serialize(dense_engine.compile(ECHO))):
        path.write_bytes(data)
        with path.open("rb") as file, pytest.raises(InternalError):
            one_engine.map(file.fileno())
    with pytest.raises(InternalError):
        one_engine.map(10_000_000)


def test_a_descriptor_whose_path_leads_to_another_file_is_not_mapped(
    one_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "artifact"
    path.write_bytes(one_engine.serialize(one_engine.compile(ECHO)))
    with path.open("rb") as file:
        one_engine.map(file.fileno())
        monkeypatch.setattr(os, "stat", lambda _path: os.fstat(0))
        with pytest.raises(InternalError):
            one_engine.map(file.fileno())


def test_rule_4_an_artifact_of_another_profile_is_refused(one_engine: Engine, dense_engine: Engine) -> None:
    with pytest.raises(InternalError):
        one_engine.deserialize(dense_engine.serialize(dense_engine.compile(ECHO)))
    with pytest.raises(InternalError):
        one_engine.deserialize(b"no artifact")


def test_rule_4_the_profile_key_names_version_and_configuration(one_engine: Engine, dense_engine: Engine) -> None:
    assert one_engine.profile_key == profile_key("default") != dense_engine.profile_key
    assert require_wasmtime() in one_engine.profile_key


@pytest.mark.parametrize("found", ["47.0.3", "9.0.0", "dev"])
def test_a_wasmtime_that_is_too_old_is_refused(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("host.isolate.config.version", lambda _name: found)
    with pytest.raises(DormiceError) as caught:
        Engine()
    assert caught.value.name == "node/wasmtime_too_old"
    assert found in caught.value.message
    assert "48" in caught.value.message


def test_several_engines_live_side_by_side() -> None:
    engines = [Engine(), Engine()]
    for engine in engines:
        engine.compile(ECHO).check_abi()
    for engine in engines:
        engine.close()


DROP = """
import gc, threading, time
from host.isolate.engine import Engine
gc.set_threshold(50)
for n in range(200):
    engine = Engine()
    engine.cycle = engine if n % 2 else None
    engine = None
    junk = [[] for _ in range(200)]
gc.collect()
end = time.monotonic() + 10
while threading.active_count() > 1 and time.monotonic() < end:
    threading.Event().wait(0.01)
print(threading.active_count())
"""


def test_engines_that_are_forgotten_without_being_closed_end_their_heartbeat_and_beat_nothing_freed() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", DROP], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_code_keeps_its_engine_and_its_heartbeat() -> None:
    code = Engine().compile(ECHO)
    engine = code.engine
    assert isinstance(engine, Engine)
    assert not engine.ticker.stopped
    engine.close()
