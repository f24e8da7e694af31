"""Looks at the processes of this machine: who is whose child, how large, with what open. Linux's /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import anyio

__all__ = ["children_of", "environment_of", "exists", "gone", "open_files", "resident"]


def children_of(pid: int) -> list[int]:
    """Zombies as well."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid:
                found.append(int(entry.name))
    return sorted(found)


def exists(pid: int) -> bool:
    """Whether it runs; a zombie that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def open_files(pid: int) -> list[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sorted(found)


def environment_of(pid: int) -> set[str]:
    """The names of the variables that it began with."""
    return {part.split(b"=")[0].decode() for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if part}


def resident(pid: int) -> int:
    """Bytes in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def gone(*pids: int) -> None:
    """Returns when none of them runs any more. They may be zombies then, and need not be children of this process."""
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            await anyio.wait_readable(descriptor)
        finally:
            os.close(descriptor)
