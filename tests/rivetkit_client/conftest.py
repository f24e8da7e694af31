"""A host in a process of its own that all cases share, and the runs of the Node project against it."""

from __future__ import annotations

from tests.end_to_end.conftest import new_module_dir

__all__ = ["new_module_dir"]
