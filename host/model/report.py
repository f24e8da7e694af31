"""What admission found in a module: everything that can be told without running or compiling it.

Plain data: it crosses the compile jail's pipe, is stored with the module, and is shown to its tenant as it is. Counts
are those of the bytes as uploaded, so whoever reads a report can check it against the file.
"""

from __future__ import annotations

from msgspec import Struct

from host.model.definitions import Manifest, ModuleKind

__all__ = ["ExportInfo", "ImportInfo", "MemoryInfo", "ModuleReport", "SectionInfo", "TableInfo"]


class SectionInfo(Struct, frozen=True):
    """`size` is of the section's body, in bytes; a custom section is called `custom` and its name."""

    name: str
    size: int


class ImportInfo(Struct, frozen=True):
    module: str
    name: str
    type: str


class ExportInfo(Struct, frozen=True):
    """`kind` is func, table, memory or global."""

    name: str
    kind: str
    type: str


class MemoryInfo(Struct, frozen=True):
    """In pages of 64 KiB; no maximum if the module sets none (the host sets one before it compiles)."""

    minimum: int
    maximum: int | None = None


class TableInfo(Struct, frozen=True):
    type: str
    minimum: int
    maximum: int | None = None


class ModuleReport(Struct, frozen=True, omit_defaults=True):
    """Of kind js only `lines` is known beside what every module has, and `names`: those of its actors, if it names
    them. A module of one actor serves any name."""

    digest: str
    kind: ModuleKind
    size: int
    manifest: Manifest
    capabilities: tuple[str, ...]
    lines: int = 0
    names: tuple[str, ...] = ()
    sections: tuple[SectionInfo, ...] = ()
    imports: tuple[ImportInfo, ...] = ()
    exports: tuple[ExportInfo, ...] = ()
    memories: tuple[MemoryInfo, ...] = ()
    tables: tuple[TableInfo, ...] = ()
    types: int = 0
    functions: int = 0
    globals: int = 0
    element_segments: int = 0
    elements: int = 0
    data_segments: int = 0
    data_bytes: int = 0
    code_bytes: int = 0
    largest_body: int = 0
    most_locals: int = 0
    deepest_nesting: int = 0
    largest_br_table: int = 0
    names_bytes: int = 0
    start: bool = False
    proposals: tuple[str, ...] = ()
