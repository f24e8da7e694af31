"""What a module declares: everything but its code, elements and data. Cheap enough to be read by the host itself.

Every count is held against its limit before what it counts is read, so a bomb costs no more than its first numbers.
Sections come in their order and once, and each is exactly as long as what was read of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from host.isolate.signatures import Found, Signature, pin_exports, pin_imports, show_signature
from host.isolate.wasmbin import MANIFEST_SECTION, Reader, walk
from host.model.definitions import Manifest
from host.model.limits import Limits
from host.model.report import ExportInfo, MemoryInfo, SectionInfo, TableInfo
from host.modules.admission.manifest import read_manifest
from host.modules.admission.refusals import bad_manifest, check, malformed, not_offered, over
from host.modules.admission.types import read_constant, read_memory, read_signature, read_table, read_value_type

__all__ = ["PAGE", "Surface", "read_surface"]

PAGE = 65_536
# A name in a report: enough to recognise it.
MAX_SHOWN = 128

CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT, TAG = range(14)
_ORDER = (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, TAG, GLOBAL, EXPORT, START, ELEMENT, DATA_COUNT, CODE, DATA)
_RANK = {number: rank for rank, number in enumerate(_ORDER)}
_NAMES = {
    TYPE: "type", IMPORT: "import", FUNCTION: "function", TABLE: "table", MEMORY: "memory", GLOBAL: "global",
    EXPORT: "export", START: "start", ELEMENT: "element", CODE: "code", DATA: "data", DATA_COUNT: "data count",
}  # fmt: skip
_KINDS = ("func", "table", "memory", "global")
_THINGS = ("a function", "a table", "a memory", "a global")


@dataclass(slots=True)
class Surface:
    """`element`, `code` and `data` are the bodies of sections that have not been looked into."""

    sections: list[SectionInfo] = field(default_factory=list)
    types: list[Signature] = field(default_factory=list)
    imports: list[tuple[str, str, Signature]] = field(default_factory=list)
    functions: list[Signature] = field(default_factory=list)
    tables: list[TableInfo] = field(default_factory=list)
    memories: list[MemoryInfo] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    exports: list[ExportInfo] = field(default_factory=list)
    start: bool = False
    data_count: int | None = None
    element: bytes = b"\0"
    code: bytes = b"\0"
    data: bytes = b"\0"
    names: int = 0
    raw_manifest: bytes | None = None
    manifest: Manifest | None = None
    uses: set[str] = field(default_factory=set)


def read_surface(wasm: bytes, limits: Limits) -> Surface:
    """Reads and judges; the header is known to be that of a core module."""
    surface = Surface()
    last = -1
    for number, body in walk(wasm):
        check(limits, "module_sections", len(surface.sections) + 1, "strip the custom sections")
        if number == CUSTOM:
            _custom(surface, body, limits)
            continue
        if number == TAG:
            raise not_offered("exceptions", "a section of tags")
        rank = _RANK.get(number)
        if rank is None:
            raise malformed(f"there is no section {number}")
        if rank <= last:
            raise malformed(f"the section {_NAMES[number]!r} is there twice, or out of order")
        last = rank
        surface.sections.append(SectionInfo(_NAMES[number], len(body)))
        _section(surface, number, body, limits)
    _judge(surface, limits)
    return surface


def _custom(surface: Surface, body: bytes, limits: Limits) -> None:
    reader = Reader(body)
    name = reader.name()
    surface.sections.append(SectionInfo(f"custom {_cut(name)}", len(body)))
    if name == "name":
        _count_names(surface, reader.left, limits)
    elif name == MANIFEST_SECTION:
        if surface.raw_manifest is not None:
            raise bad_manifest(f"the module has two sections {MANIFEST_SECTION!r}: nobody could say which one counts")
        check(limits, "module_manifest", reader.left, "leave out what is not needed")
        surface.raw_manifest = reader.take(reader.left)


def _section(surface: Surface, number: int, body: bytes, limits: Limits) -> None:
    if number == ELEMENT:
        surface.element = body
        return
    if number == CODE:
        surface.code = body
        return
    if number == DATA:
        surface.data = body
        return
    reader = Reader(body)
    if number == START:
        _start(surface, reader)
    elif number == DATA_COUNT:
        surface.data_count = reader.unsigned()
        surface.uses.add("bulk-memory")
    else:
        _vector(surface, number, reader, limits)
    if reader.left:
        raise malformed(f"{reader.left} bytes are left over in the section {_NAMES[number]!r}")


def _vector(surface: Surface, number: int, reader: Reader, limits: Limits) -> None:
    count = reader.unsigned()
    if number == TYPE:
        check(limits, "module_types", count, "use fewer shapes of functions")
        surface.types = [read_signature(reader, limits, surface.uses) for _ in range(count)]
    elif number == IMPORT:
        check(limits, "module_imports", count, "import each function once")
        for _ in range(count):
            _import(surface, reader, limits)
        # first of all, for the indexes below mean nothing if it imports what is not ours
        pin_imports(surface.imports)
    elif number == FUNCTION:
        check(limits, "module_functions", count, "split the module, or leave out what is not used")
        surface.functions = [_signature(surface, reader.unsigned()) for _ in range(count)]
    elif number == TABLE:
        check(limits, "module_tables", count, "use fewer tables")
        surface.tables = [read_table(reader) for _ in range(count)]
        for table in surface.tables:
            check(limits, "table_elements", table.minimum, "make the table smaller")
        if count > 1 or any(table.type != "funcref" for table in surface.tables):
            surface.uses.add("reference-types")
    elif number == MEMORY:
        if count > 1:
            raise not_offered("multi-memory", f"{count} memories")
        surface.memories = [read_memory(reader) for _ in range(count)]
    elif number == GLOBAL:
        check(limits, "module_globals", count, "keep what is more in memory")
        for _ in range(count):
            _global(surface, reader)
    else:
        check(limits, "module_exports", count, "export only what the host calls")
        _exports(surface, reader, count, limits)


def _import(surface: Surface, reader: Reader, limits: Limits) -> None:
    module, name = reader.name(), reader.name()
    _count_names(surface, len(module.encode()) + len(name.encode()), limits)
    kind = reader.byte()
    if kind == 4:
        raise not_offered("exceptions", "an imported tag")
    if kind > 4:
        raise malformed(f"there is no kind of import {kind:#x}")
    if kind:
        pin_imports([(module, name, _THINGS[kind])])
    surface.imports.append((module, name, _signature(surface, reader.unsigned())))


def _global(surface: Surface, reader: Reader) -> None:
    kind = read_value_type(reader, surface.uses)
    mutable = reader.byte()
    if mutable > 1:
        if mutable < 4:
            raise not_offered("shared-everything", "a shared global")
        raise malformed("a global is neither constant nor mutable")
    read_constant(reader, surface.uses)
    surface.globals.append(f"mut {kind}" if mutable else kind)


def _exports(surface: Surface, reader: Reader, count: int, limits: Limits) -> None:
    functions = [signature for _, _, signature in surface.imports] + surface.functions
    types: tuple[list[str], ...] = (
        [],
        [_bounds(table.type, table.minimum, table.maximum) for table in surface.tables],
        [_bounds("pages", memory.minimum, memory.maximum) for memory in surface.memories],
        surface.globals,
    )
    found: dict[str, Found] = {}
    for _ in range(count):
        name = reader.name()
        _count_names(surface, len(name.encode()), limits)
        kind, index = reader.byte(), reader.unsigned()
        if kind == 4:
            raise not_offered("exceptions", "an exported tag")
        if kind > 4:
            raise malformed(f"there is no kind of export {kind:#x}")
        if name in found:
            raise malformed(f"two exports are called {_cut(name)!r}")
        if index >= len(types[kind] if kind else functions):
            raise malformed(f"export {_cut(name)!r} names {_THINGS[kind]} {index}, which is not there")
        found[name] = _THINGS[kind] if kind else functions[index]
        shown = types[kind][index] if kind else show_signature(functions[index])
        if shown.startswith("mut "):
            surface.uses.add("mutable-globals")
        surface.exports.append(ExportInfo(_cut(name), _KINDS[kind], shown))
    pin_exports(found, "wasm")


def _start(surface: Surface, reader: Reader) -> None:
    index = reader.unsigned()
    functions = [signature for _, _, signature in surface.imports] + surface.functions
    if index >= len(functions) or functions[index] != ((), ()):
        raise malformed("the start function is not there, or takes or returns something")
    surface.start = True


def _judge(surface: Surface, limits: Limits) -> None:
    """What can only be said once every section has been seen."""
    if "export" not in {section.name for section in surface.sections}:
        pin_exports({}, "wasm")
    least = surface.memories[0].minimum * PAGE
    if least > limits.memory:
        raise over("memory", least, limits.memory, "let the export 'memory' start smaller", code="bad_export")
    surface.manifest = read_manifest(surface.raw_manifest, limits)


def _signature(surface: Surface, index: int) -> Signature:
    if index >= len(surface.types):
        raise malformed(f"there is no type {index}")
    return surface.types[index]


def _count_names(surface: Surface, size: int, limits: Limits) -> None:
    surface.names += size
    check(limits, "module_names", surface.names, "strip the section 'name', or use shorter names")


def _bounds(what: str, least: int, most: int | None) -> str:
    return f"{what} {least}.." + ("" if most is None else str(most))


def _cut(name: str) -> str:
    return name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "…"
