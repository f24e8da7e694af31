"""The pages of the documentation, and the pieces of them that tests look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PAGES", "ROOT", "fences", "links", "named_files"]

ROOT = Path(__file__).resolve().parent.parent.parent

PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "guest_examples").glob("*/README.md"),
    ]
)

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:host|tests|isolate_sdk|guest_examples|schemas|docs|\.ci)/[\w./-]+)`")


def fences(page: Path, language: str, head: str = "") -> Iterator[tuple[str, str]]:
    """The code of a language whose first line names a file (behind `head`), with that name."""
    for found, code in _FENCE.findall(page.read_text(encoding="utf-8")):
        first = code.partition("\n")[0]
        if found == language and head and first.startswith(head):
            yield first.removeprefix(head).strip(), code


def links(page: Path) -> list[str]:
    """Targets of links within the tree, without what follows a `#`."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [target.partition("#")[0] for target in _LINK.findall(text)]
    return [target for target in targets if target and "://" not in target]


def named_files(page: Path) -> list[str]:
    """Files and folders of the tree that a page names in code quotes."""
    return _PATH.findall(page.read_text(encoding="utf-8"))
