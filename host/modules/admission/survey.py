"""A module's bytes become a report, or a refusal that names its rule. Nothing is compiled and nothing runs."""

from __future__ import annotations

from hashlib import sha256

from host.isolate.signatures import show_signature
from host.model.definitions import JS_MANIFEST, Manifest
from host.model.limits import Limits
from host.model.report import ImportInfo, ModuleReport
from host.modules.admission.code import read_code
from host.modules.admission.manifest import granted
from host.modules.admission.refusals import check
from host.modules.admission.segments import read_data, read_elements
from host.modules.admission.surface import Surface, read_surface
from host.modules.admit import check_magic

__all__ = ["precheck", "survey", "survey_js"]


def precheck(wasm: bytes, limits: Limits) -> Manifest:
    """The cheap half of `survey`: header, sections, counts, imports, exports, manifest. It takes milliseconds whatever
    the bytes are, so the host can do it before it asks for a jail."""
    surface = _surface(wasm, limits)
    assert surface.manifest is not None
    return surface.manifest


def survey(wasm: bytes, limits: Limits) -> ModuleReport:
    """All that can be known of a wasm module before it is compiled. Walks every byte of code: seconds for the largest
    modules. Raises `TenantError`s of the group `module`."""
    surface = _surface(wasm, limits)
    uses = surface.uses
    element_segments, elements = read_elements(surface.element, limits, uses)
    data_segments, data_bytes = read_data(surface.data, surface.data_count, limits, uses)
    code = read_code(surface.code, [len(params) for params, _ in surface.functions], limits, uses)
    assert surface.manifest is not None
    return ModuleReport(
        digest=sha256(wasm).hexdigest(),
        kind="wasm",
        size=len(wasm),
        manifest=surface.manifest,
        capabilities=granted(surface.manifest),
        sections=tuple(surface.sections),
        imports=tuple(ImportInfo(module, name, show_signature(kind)) for module, name, kind in surface.imports),
        exports=tuple(surface.exports),
        memories=tuple(surface.memories),
        tables=tuple(surface.tables),
        types=len(surface.types),
        functions=len(surface.functions),
        globals=len(surface.globals),
        element_segments=element_segments,
        elements=elements,
        data_segments=data_segments,
        data_bytes=data_bytes,
        code_bytes=code.bytes,
        largest_body=code.largest,
        most_locals=code.locals,
        deepest_nesting=code.nesting,
        largest_br_table=code.br_table,
        names_bytes=surface.names,
        start=surface.start,
        proposals=tuple(sorted(uses)),
    )


def survey_js(source: bytes, limits: Limits, names: tuple[str, ...] = ()) -> ModuleReport:
    """Of source text only its size and lines are looked at; whether it parses, and which actors it names, is the
    engine's to say."""
    check(limits, "module", len(source), "make the module smaller")
    return ModuleReport(
        digest=sha256(source).hexdigest(),
        kind="js",
        size=len(source),
        manifest=JS_MANIFEST,
        capabilities=granted(JS_MANIFEST),
        lines=len(source.splitlines()),
        names=names,
    )


def _surface(wasm: bytes, limits: Limits) -> Surface:
    check(limits, "module", len(wasm), "make the module smaller")
    check_magic(wasm)
    return read_surface(wasm, limits)
