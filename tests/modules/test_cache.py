"""The artifact cache: what it gives back is what this host wrote, or nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from host.modules.cache import ArtifactCache
from host.modules.lru import Lru
from host.telemetry.metrics import MetricsRegistry

KEY = b"k" * 32
DIGEST = "ab" * 32


def make(directory: Path, *, key: bytes = KEY, profile: str = "p1") -> tuple[ArtifactCache, MetricsRegistry]:
    metrics = MetricsRegistry()
    return ArtifactCache(directory, key, profile, metrics), metrics


def test_an_artifact_comes_back_as_it_was(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path / "cache")
    assert cache.load("cwasm", DIGEST) is None
    cache.store("cwasm", DIGEST, b"machine code")
    assert cache.load("cwasm", DIGEST) == b"machine code"
    again, _ = make(tmp_path / "cache")
    assert again.load("cwasm", DIGEST) == b"machine code"
    assert metrics.counter("artifact_cache_errors") == 0


def test_the_directory_and_its_files_are_the_hosts_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    cache, _ = make(tmp_path / "cache")
    cache.store("cwasm", DIGEST, b"x")
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.path("cwasm", DIGEST).stat().st_mode) == 0o600
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [cache.path("cwasm", DIGEST).name]


def test_any_changed_byte_is_a_miss(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    path = cache.path("cwasm", DIGEST)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert cache.load("cwasm", DIGEST) is None
    assert metrics.counter("artifact_cache_errors", "tampered") == len(good)


@pytest.mark.parametrize("cut", [0, 1, 8, 20, 40, 41])
def test_a_file_cut_short_or_lengthened_is_a_miss(tmp_path: Path, cut: int) -> None:
    cache, _ = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    path = cache.path("cwasm", DIGEST)
    good = path.read_bytes()
    path.write_bytes(good[:cut])
    assert cache.load("cwasm", DIGEST) is None
    path.write_bytes(good + b"\0")
    assert cache.load("cwasm", DIGEST) is None


def test_a_file_that_another_key_made_is_a_miss(tmp_path: Path) -> None:
    make(tmp_path)[0].store("cwasm", DIGEST, b"machine code")
    assert make(tmp_path, key=b"o" * 32)[0].load("cwasm", DIGEST) is None


def test_a_file_of_another_module_kind_or_profile_is_a_miss_even_under_the_right_name(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    other, _ = make(tmp_path, profile="p2")
    cache.store("cwasm", DIGEST, b"machine code")
    good = cache.path("cwasm", DIGEST).read_bytes()
    assert other.load("cwasm", DIGEST) is None
    for wrong, kind, digest in ((cache, "cwasm", "cd" * 32), (cache, "image", DIGEST), (other, "cwasm", DIGEST)):
        wrong.path(kind, digest).write_bytes(good)
        assert wrong.load(kind, digest) is None


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path / "cache")
    cache.store("cwasm", DIGEST, b"machine code")
    path = cache.path("cwasm", DIGEST)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert cache.load("cwasm", DIGEST) is None
    assert metrics.counter("artifact_cache_errors", "unreadable") == 1


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    cache.store("cwasm", DIGEST, b"machine code")
    assert cache.load("cwasm", DIGEST) is None
    assert metrics.counter("artifact_cache_errors", "unwritable") == 1


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        make(tmp_path, key=b"short")


def test_the_least_recently_used_is_forgotten_first() -> None:
    kept: Lru[str, int] = Lru(3)
    for name in "abc":
        kept.put(name, ord(name))
    assert kept.get("a") == ord("a")
    kept.put("d", 1)
    assert [kept.get(name) for name in "abcd"] == [ord("a"), None, ord("c"), 1]


def test_weights_count_and_what_is_too_heavy_is_not_kept() -> None:
    kept: Lru[str, int] = Lru(10)
    kept.put("a", 1, 6)
    kept.put("a", 2, 4)
    kept.put("b", 3, 6)
    assert (kept.get("a"), kept.get("b"), len(kept)) == (2, 3, 2)
    kept.put("c", 4, 11)
    assert len(kept) == 0
