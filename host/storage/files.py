"""Files that are complete or absent, also after a crash: written beside their place, synced and renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["sync_dir", "write_durably"]


def write_durably(path: Path, data: bytes) -> None:
    """Durable when it returns; readable by the owner only. Raises OSError and leaves nothing behind."""
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    sync_dir(path.parent)


def sync_dir(folder: Path) -> None:
    """A new or renamed entry of `folder` survives a crash only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
