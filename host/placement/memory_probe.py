"""How much memory this process may still take: what the machine has left, and what its control group leaves it.

Reads a few lines of files that the kernel keeps in memory; where there are none of them (another system), nothing is
known and nothing is done about it.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

__all__ = ["MemoryReading", "read_memory"]


class MemoryReading(Struct, frozen=True):
    """In bytes. `available` is what can be had without swapping."""

    available: int
    total: int


def read_memory(root: Path = Path("/")) -> MemoryReading | None:
    """The tighter of machine and control group (version 2); None where the machine does not say."""
    machine = _machine(root / "proc" / "meminfo")
    if machine is None:
        return None
    group = _group(root)
    if group is None:
        return machine
    return MemoryReading(min(machine.available, group.available), min(machine.total, group.total))


def _machine(path: Path) -> MemoryReading | None:
    found = _numbers(path)
    if "MemAvailable" not in found or "MemTotal" not in found:
        return None
    return MemoryReading(found["MemAvailable"] * 1_024, found["MemTotal"] * 1_024)


def _group(root: Path) -> MemoryReading | None:
    """Of this process's group and those around it, the one that leaves least."""
    mount = root / "sys" / "fs" / "cgroup"
    place = _text(root / "proc" / "self" / "cgroup")
    path = next((line[3:].strip("/") for line in place.splitlines() if line.startswith("0::")), None)
    if path is None or ".." in path.split("/"):
        return None
    least: MemoryReading | None = None
    folder = mount / path if path else mount
    for group in (folder, *folder.parents):
        if group != mount and mount not in group.parents:
            break
        reading = _one_group(group)
        if reading is not None and (least is None or reading.available < least.available):
            least = reading
    return least


def _one_group(folder: Path) -> MemoryReading | None:
    allowed, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
    if not allowed.isdigit() or not used.isdigit():  # "max": no limit of its own
        return None
    # Pages of files that nobody uses go before anything is swapped.
    spare = _numbers(folder / "memory.stat").get("inactive_file", 0)
    return MemoryReading(max(0, int(allowed) - int(used) + spare), int(allowed))


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number, with a colon or a unit or without."""
    found: dict[str, int] = {}
    for line in _text(path).splitlines():
        name, *rest = line.replace(":", " ").split()
        if rest and rest[0].isdigit():
            found[name] = int(rest[0])
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
