"""The guest of these tests, `writer.js`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["WRITER"]

WRITER = (Path(__file__).parent / "writer.js").read_text(encoding="utf-8")
