"""The build of the engine: pinned inputs, a pinned output, and a cache that needs neither network nor compiler."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

import isolate_sdk
from isolate_sdk.build import engine as build


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("neither the network nor the compiler may be used")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "_download", refuse)
    monkeypatch.setattr(build, "zig_cc", refuse)
    return tmp_path / "dormice" / "engine" / f"{build.input_hash()}.wasm"


def test_the_engine_in_the_tree_is_the_pinned_one() -> None:
    assert isolate_sdk.engine_digest() == build.pinned_digest()


def test_a_cached_engine_is_copied(cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(isolate_sdk.engine_wasm())
    output, lines = tmp_path / "out" / "engine.wasm", list[str]()
    assert build.build_engine(output, say=lines.append) == build.pinned_digest()
    assert output.read_bytes() == isolate_sdk.engine_wasm()
    assert len(lines) == 1


def test_an_engine_that_is_in_place_is_left_alone(cache: Path, tmp_path: Path) -> None:
    output = tmp_path / "engine.wasm"
    output.write_bytes(isolate_sdk.engine_wasm())
    assert build.build_engine(output, say=refuse) == build.pinned_digest()
    assert not cache.exists()


def test_a_damaged_cache_is_not_used(cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(isolate_sdk.engine_wasm()[:-1])
    with pytest.raises(AssertionError, match="neither the network"):
        build.build_engine(tmp_path / "engine.wasm", say=lambda _: None)


def test_another_source_distribution_is_refused(cache: Path, tmp_path: Path) -> None:
    archive = tmp_path / build.SDIST
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo(f"{build.UPSTREAM}../../evil.c")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(build.BuildError, match="not building from it"):
        build.build_engine(tmp_path / "engine.wasm", sdist=archive, say=lambda _: None)


def test_an_output_with_another_digest_is_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_compile", lambda *_: b"\0asm-something-else")
    with pytest.raises(build.BuildError, match=hashlib.sha256(b"\0asm-something-else").hexdigest()):
        build.build_engine(tmp_path / "engine.wasm", sdist=tmp_path, say=lambda _: None)
    assert not (tmp_path / "engine.wasm").exists()
    assert not cache.exists()


def test_the_input_hash_follows_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.input_hash()
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DX"))
    assert build.input_hash() != before


def test_the_prelude_and_the_header_are_where_the_package_says() -> None:
    assert isolate_sdk.prelude().startswith("(function (native) {")
    assert len(isolate_sdk.prelude_digest()) == 64
    assert (isolate_sdk.c_include_dir() / "isolate.h").is_file()
    assert isolate_sdk.types_path().is_file()
