"""The artifact cache: what it gives back is what this host wrote, or nothing."""

from __future__ import annotations

import errno
import os
import resource
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


def swap(path: Path, data: bytes) -> None:
    """Another file under the name, as somebody would put it there who may write the directory."""
    other = path.with_name("other")
    other.write_bytes(data)
    other.chmod(0o600)
    other.replace(path)


def given(cache: ArtifactCache, kind: str = "cwasm", digest: str = DIGEST) -> bytes | None:
    """What both ways in give back, which must agree."""
    copy = cache.load(kind, digest)
    artifact = cache.open(kind, digest)
    assert (copy is None) == (artifact is None)
    if artifact is not None:
        with artifact:
            assert os.pread(artifact.file, artifact.size, 0) == copy
    return copy


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
    assert stat.S_IMODE(cache.path("cwasm", DIGEST).stat().st_mode) == 0o400
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [cache.path("cwasm", DIGEST).name]


def test_a_file_is_the_artifact_from_its_first_byte_on_and_keeps_a_note(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    assert cache.store("cwasm", DIGEST, b"machine code", b"a note")
    assert cache.path("cwasm", DIGEST).read_bytes().startswith(b"machine code")
    assert cache.load_noted("cwasm", DIGEST) == (b"machine code", b"a note")
    artifact = cache.open("cwasm", DIGEST)
    assert artifact is not None
    with artifact:
        assert (artifact.size, artifact.note) == (12, b"a note")


def test_an_artifact_of_many_steps_is_checked_to_its_end(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    data = os.urandom(3 * 1024 * 1024 + 17)
    cache.store("cwasm", DIGEST, data)
    assert given(cache) == data
    for at in (0, 1024 * 1024, len(data) - 1):
        swap(cache.path("cwasm", DIGEST), data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert given(cache) is None


def test_any_changed_byte_is_a_miss(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code", b"note")
    path = cache.path("cwasm", DIGEST)
    good = path.read_bytes()
    for at in range(len(good)):
        swap(path, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "tampered") == 2 * len(good)


def test_a_file_cut_short_or_lengthened_is_a_miss(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code", b"note")
    path = cache.path("cwasm", DIGEST)
    good = path.read_bytes()
    wrong = [*(good[:cut] for cut in range(len(good))), *(good[cut:] for cut in range(1, len(good))), good + b"\0"]
    for data in wrong:
        swap(path, data)
        assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "tampered") == 2 * len(wrong)
    swap(path, good)
    assert given(cache) == b"machine code"


def test_the_end_of_the_artifact_cannot_be_moved_into_the_note(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code", b"note")
    good = cache.path("cwasm", DIGEST).read_bytes()
    lengths = (12).to_bytes(8, "little") + (4).to_bytes(4, "little")
    assert lengths in good
    swap(cache.path("cwasm", DIGEST), good.replace(lengths, (8).to_bytes(8, "little") + (8).to_bytes(4, "little")))
    assert given(cache) is None


def test_a_file_that_another_key_made_is_a_miss(tmp_path: Path) -> None:
    make(tmp_path)[0].store("cwasm", DIGEST, b"machine code")
    assert given(make(tmp_path, key=b"o" * 32)[0]) is None


def test_a_file_of_another_module_kind_or_profile_is_a_miss_even_under_the_right_name(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    other, _ = make(tmp_path, profile="p2")
    cache.store("cwasm", DIGEST, b"machine code")
    good = cache.path("cwasm", DIGEST).read_bytes()
    assert given(other) is None
    for wrong, kind, digest in ((cache, "cwasm", "cd" * 32), (cache, "image", DIGEST), (other, "cwasm", DIGEST)):
        swap(wrong.path(kind, digest), good)
        assert given(wrong, kind, digest) is None


def test_two_files_that_changed_places_are_misses(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    cache.store("cwasm", "cd" * 32, b"machine kode")
    one, two = cache.path("cwasm", DIGEST), cache.path("cwasm", "cd" * 32)
    first, second = one.read_bytes(), two.read_bytes()
    swap(one, second)
    swap(two, first)
    assert given(cache) is given(cache, digest="cd" * 32) is None
    assert metrics.counter("artifact_cache_errors", "tampered") == 4


def test_what_was_opened_is_what_was_checked_whatever_becomes_of_its_name(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    artifact = cache.open("cwasm", DIGEST)
    assert artifact is not None
    with artifact:
        swap(cache.path("cwasm", DIGEST), b"evil")
        assert os.pread(artifact.file, 12, 0) == b"machine code"
        cache.remove("cwasm", DIGEST)
        assert os.pread(artifact.file, 12, 0) == b"machine code"


def test_a_store_never_touches_the_file_that_was_there(tmp_path: Path) -> None:
    """It may be mapped."""
    cache, _ = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    with cache.path("cwasm", DIGEST).open("rb") as former:
        before = former.read()
        cache.store("cwasm", DIGEST, b"new")
        former.seek(0)
        assert former.read() == before
        assert os.fstat(former.fileno()).st_nlink == 0
    assert given(cache) == b"new"


def test_a_link_in_place_of_a_file_is_not_followed_and_is_replaced(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path / "cache")
    cache.store("cwasm", DIGEST, b"machine code")
    path = cache.path("cwasm", DIGEST)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "unreadable") == 2
    assert cache.store("cwasm", DIGEST, b"new")
    assert given(cache) == b"new"
    assert (tmp_path / "moved").read_bytes().startswith(b"machine code")


@pytest.mark.parametrize("what", ["a directory", "a pipe"])
def test_what_is_no_file_is_a_miss_and_nobody_waits_for_it(tmp_path: Path, what: str) -> None:
    cache, metrics = make(tmp_path)
    path = cache.path("cwasm", DIGEST)
    if what == "a directory":
        path.mkdir()
    else:
        os.mkfifo(path, 0o600)
    assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "unreadable") == 2
    assert cache.store("cwasm", DIGEST, b"machine code") == (what == "a pipe")
    assert (given(cache) is None) == (what == "a directory")
    assert not list(tmp_path.glob(".new-*"))


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_a_miss(tmp_path: Path, mode: int) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    cache.path("cwasm", DIGEST).chmod(mode)
    assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "unreadable") == 2


def test_a_file_of_another_user_is_a_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "unreadable") == 2


def test_a_directory_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)[0].store("cwasm", DIGEST, b"machine code")
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    cache, metrics = make(tmp_path)
    monkeypatch.undo()
    assert given(cache) is None
    assert not cache.store("cwasm", DIGEST, b"new")
    assert metrics.counter("artifact_cache_errors", "unusable") == 1
    assert given(make(tmp_path)[0]) == b"machine code"


def test_a_file_in_place_of_the_directory_leaves_the_host_without_a_cache(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    cache, metrics = make(tmp_path / "cache")
    assert not cache.store("cwasm", DIGEST, b"machine code")
    assert given(cache) is None
    assert metrics.counter("artifact_cache_errors", "unusable") == 1


def test_files_of_an_earlier_layout_and_of_a_crash_are_removed_and_nothing_else(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    cache.store("cwasm", DIGEST, b"machine code")
    former = tmp_path / f"{DIGEST}-{'0' * 16}.cwasm"
    former.write_bytes(b"DMART\x01\n" + b"h" * 32 + b"machine code")
    (tmp_path / ".new-abc").write_bytes(b"half of a fi")
    (tmp_path / ".new-directory").mkdir()
    (tmp_path / "mine.txt").write_bytes(b"")
    again, metrics = make(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {
        cache.path("cwasm", DIGEST).name, ".new-directory", "mine.txt",
    }  # fmt: skip
    assert given(again) == b"machine code"
    assert metrics.counter("artifact_cache_errors") == 0


def test_a_file_of_the_earlier_layout_under_the_name_of_today_is_a_miss(tmp_path: Path) -> None:
    cache, _ = make(tmp_path)
    swap(cache.path("cwasm", DIGEST), b"DMART\x01\n" + b"h" * 32 + b"machine code")
    assert given(cache) is None


def test_another_host_that_begins_takes_away_no_more_than_what_is_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", "cd" * 32, b"kept")
    fsync = os.fsync

    def late(file: int) -> None:
        fsync(file)
        make(tmp_path)

    monkeypatch.setattr(os, "fsync", late)
    assert not cache.store("cwasm", DIGEST, b"machine code")
    monkeypatch.undo()
    assert metrics.counter("artifact_cache_errors", "unwritable") == 1
    assert given(cache) is None
    assert given(cache, digest="cd" * 32) == b"kept"
    assert cache.store("cwasm", DIGEST, b"machine code")
    assert given(cache) == b"machine code"


@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
def test_a_full_disk_leaves_the_former_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"former")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, call, full)
    assert not cache.store("cwasm", DIGEST, b"machine code")
    monkeypatch.undo()
    assert metrics.counter("artifact_cache_errors", "unwritable") == 1
    assert given(cache) == b"former"
    assert [entry.name for entry in tmp_path.iterdir()] == [cache.path("cwasm", DIGEST).name]


def test_a_write_that_ends_half_way_leaves_the_former_file_and_no_other(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path)
    cache.store("cwasm", DIGEST, b"former")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        assert not cache.store("cwasm", DIGEST, bytes(1024 * 1024))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert metrics.counter("artifact_cache_errors", "unwritable") == 1
    assert given(cache) == b"former"
    assert [entry.name for entry in tmp_path.iterdir()] == [cache.path("cwasm", DIGEST).name]


def test_a_cache_that_cannot_be_written_costs_no_more_than_time(tmp_path: Path) -> None:
    cache, metrics = make(tmp_path / "cache")
    (tmp_path / "cache").rmdir()
    assert not cache.store("cwasm", DIGEST, b"machine code")
    assert given(cache) is None
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
