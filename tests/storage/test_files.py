"""The data directory, module files, and the small helpers of storage."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from host.model.errors import InternalError, UnavailableError
from host.storage.blobs import BlobStore
from host.storage.datadir import DataDir
from host.storage.driver import CommitUnknown
from host.storage.memory import MemoryDriver
from host.storage.sqlite import open_sqlite
from host.storage.values import pack, unpack
from tests.storage.samples import create, unit

CODE = b"code"
DIGEST = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b"


def zeros(count: int) -> bytes:
    return bytes(count)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# the data directory --------------------------------------------------------------------------------------------------


def test_a_new_data_directory_has_its_parts_with_their_modes(tmp_path: Path) -> None:
    path = tmp_path / "a" / "data"
    with DataDir(path).open(random=zeros, now_ms=0) as data:
        assert data.key == bytes(32)
        assert data.database == path / "dormice.db"
        assert [mode(place) for place in (data.path, data.blobs, data.cache)] == [0o700] * 3
        assert mode(path / "key") == 0o600
        holder = json.loads((path / "lock").read_bytes())
        assert holder == {"pid": os.getpid(), "host": socket.gethostname(), "start": 0}


def test_a_directory_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for place in (path, path / "blobs", path / "cache"):
        place.mkdir()
        place.chmod(0o755)
    with DataDir(path).open(random=zeros, now_ms=0) as data:
        assert [mode(place) for place in (data.path, data.blobs, data.cache)] == [0o700] * 3
        assert data.had_mode == 0o755
    with DataDir(path).open(random=zeros, now_ms=0) as data:
        assert data.had_mode is None


def test_a_directory_of_somebody_else_that_others_may_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UnavailableError, match="belongs to another user"):
        DataDir(tmp_path).open(random=zeros, now_ms=0)
    assert mode(tmp_path) == 0o755


@pytest.mark.anyio
async def test_the_files_of_the_database_are_the_owners_only_also_those_that_were_there(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    path = data.database
    files = [path, Path(f"{path}-wal"), Path(f"{path}-shm")]
    before = os.umask(0o022)
    try:
        for _ in range(2):
            driver = open_sqlite(data)
            await driver.open()
            assert [mode(each) for each in files] == [0o600] * 3
            await driver.close()
            path.chmod(0o644)
    finally:
        os.umask(before)


def test_the_key_is_made_once(tmp_path: Path) -> None:
    DataDir(tmp_path).open(random=zeros, now_ms=0).close()
    data = DataDir(tmp_path)
    data.open(random=os.urandom, now_ms=0)
    assert data.key == bytes(32)
    data.close()
    with pytest.raises(RuntimeError):
        _ = data.key


def test_a_directory_in_use_is_refused_by_name(tmp_path: Path) -> None:
    with DataDir(tmp_path).open(random=zeros, now_ms=1_700_000_000_000):
        with pytest.raises(UnavailableError) as caught:
            DataDir(tmp_path).open(random=zeros, now_ms=0)
        assert f"process {os.getpid()} on {socket.gethostname()} since 2023-11-14 22:13:20 UTC" in caught.value.message
        assert not caught.value.retryable
    DataDir(tmp_path).open(random=zeros, now_ms=0).close()


def test_a_holder_that_has_not_said_who_it_is_is_refused_too(tmp_path: Path) -> None:
    with DataDir(tmp_path).open(random=zeros, now_ms=0):
        (tmp_path / "lock").write_bytes(b"")
        with pytest.raises(UnavailableError, match="another process"):
            DataDir(tmp_path).open(random=zeros, now_ms=0)


def test_a_process_that_died_holds_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys; from host.storage.datadir import DataDir\n"
        "DataDir(sys.argv[1]).open(random=os.urandom, now_ms=0); os._exit(3)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], timeout=20, check=False)
    assert done.returncode == 3
    assert (tmp_path / "lock").read_bytes() != b""
    DataDir(tmp_path).open(random=zeros, now_ms=0).close()


@pytest.mark.parametrize(("size", "bits", "why"), [(31, 0o600, "31 bytes"), (32, 0o640, "chmod 600")])
def test_a_key_that_is_damaged_or_readable_by_others_is_refused(tmp_path: Path, size: int, bits: int, why: str) -> None:
    (tmp_path / "key").write_bytes(bytes(size))
    (tmp_path / "key").chmod(bits)
    with pytest.raises(UnavailableError, match=why):
        DataDir(tmp_path).open(random=zeros, now_ms=0)
    # The refusal let go of the lock.
    (tmp_path / "key").unlink()
    DataDir(tmp_path).open(random=zeros, now_ms=0).close()


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UnavailableError, match="cannot be used"):
        DataDir(tmp_path / "file").open(random=zeros, now_ms=0)


@pytest.mark.anyio
async def test_the_driver_of_a_data_directory_keeps_what_was_committed(tmp_path: Path) -> None:
    for expected in (None, b"1"):
        with DataDir(tmp_path).open(random=zeros, now_ms=0) as data:
            driver = open_sqlite(data)
            await driver.open()
            if expected is None:
                await driver.commit(unit(await create(driver, 1), 1, state=b"1"))
            else:
                image = await driver.hydrate((await driver.list_actors("default")).actors[0].actor_id)
                assert image is not None
                assert image.state == expected
            await driver.close()


# blobs ---------------------------------------------------------------------------------------------------------------


def test_a_blob_lies_two_directories_deep_under_its_digest(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert store.get(DIGEST) is None
    store.put(DIGEST, CODE)
    store.put(DIGEST, CODE)
    assert store.get(DIGEST) == CODE
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()] == [
        Path(DIGEST[:2]) / DIGEST[2:4] / DIGEST
    ]
    assert mode(store.path(DIGEST)) == 0o600


def test_a_blob_that_was_changed_is_none_until_it_is_put_again(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(DIGEST, CODE)
    store.path(DIGEST).write_bytes(b"evil")
    assert store.get(DIGEST) is None
    store.put(DIGEST, CODE)
    assert store.get(DIGEST) == CODE


def test_bytes_under_another_digest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        BlobStore(tmp_path).put(DIGEST, b"other")
    assert list(tmp_path.iterdir()) == []


def test_a_blob_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(handle: int) -> None:
        raise OSError(28, "No space left on device")

    store = BlobStore(tmp_path)
    store.put(DIGEST, CODE)
    store.path(DIGEST).unlink()
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(UnavailableError, match="No space left"):
        store.put(DIGEST, CODE)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_blob_is_synced_with_its_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(handle: int) -> None:
        synced.append("dir" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", noting)
    BlobStore(tmp_path).put(DIGEST, CODE)
    assert synced == ["dir", "dir", "file", "dir"]


# small helpers -------------------------------------------------------------------------------------------------------


def test_a_packed_value_comes_back_and_none_stays_none() -> None:
    for value in (b"", b"null", bytes(range(256))):
        assert pack(value) == b"\x01" + value
        assert unpack(pack(value)) == value
    assert pack(None) is None
    assert unpack(None) is None


@pytest.mark.parametrize("stored", [b"", b"\x00x", b"\x02x", b"null"])
def test_a_value_of_another_version_is_refused(stored: bytes) -> None:
    with pytest.raises(InternalError):
        unpack(stored)


@pytest.mark.anyio
async def test_the_model_can_fail_as_a_disk_would() -> None:
    driver = MemoryDriver()
    actor = await create(driver, 1)
    driver.fail_next("unavailable", writes=2)
    for hop_seq in (1, 1):
        with pytest.raises(UnavailableError):
            await driver.commit(unit(actor, hop_seq, state=b"1"))
    await driver.commit(unit(actor, 1, state=b"2"))
    driver.fail_next("unknown")
    reader = driver.reader(actor)
    for _ in range(2):
        with pytest.raises(CommitUnknown):
            await driver.commit(unit(actor, 2))
    with pytest.raises(CommitUnknown):
        await driver.hydrate(actor)
    with pytest.raises(CommitUnknown):
        reader.get_many([b"a"])
