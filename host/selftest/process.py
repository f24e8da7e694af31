"""What the system tells of the host's process: its memory and its open files. Linux only; elsewhere nothing is told."""

from __future__ import annotations

from pathlib import Path

__all__ = ["open_files", "resident_bytes"]


def resident_bytes(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def open_files(pid: int) -> int | None:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
