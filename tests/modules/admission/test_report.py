"""What a report says of modules whose parts are known."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

import isolate_sdk
from host.model.definitions import JS_MANIFEST, Manifest
from host.model.limits import Limits
from host.model.report import ExportInfo, ImportInfo, MemoryInfo, ModuleReport, SectionInfo, TableInfo
from host.modules.admission import precheck, survey, survey_js
from tests.modules.admission.build import GOOD, RICH, compiles
from tests.modules.guests import guest, with_manifest

EXAMPLES = Path(__file__).parent.parent.parent.parent / "guest_examples"


def test_a_report_of_a_guest_with_everything() -> None:
    assert compiles(RICH)
    report = survey(RICH, Limits())
    assert (report.digest, report.kind, report.size) == (sha256(RICH).hexdigest(), "wasm", len(RICH))
    assert report.manifest == Manifest(abi=1)
    assert report.capabilities == ("log", "now", "random")
    assert report.imports == (ImportInfo("isolate", "host_call", "(i32, i32, i32, i32) -> (i32)"),)
    assert report.exports == (
        ExportInfo("memory", "memory", "pages 1.."),
        ExportInfo("isolate_alloc", "func", "(i32) -> (i32)"),
        ExportInfo("isolate_deliver", "func", "(i32, i32) -> (i64)"),
        ExportInfo("g", "global", "mut i32"),
    )
    assert report.memories == (MemoryInfo(1),)
    assert report.tables == (TableInfo("funcref", 3), TableInfo("externref", 1))
    assert (report.functions, report.globals, report.start) == (5, 6, True)
    assert (report.element_segments, report.elements) == (4, 6)
    assert (report.data_segments, report.data_bytes) == (2, 10)
    assert (report.most_locals, report.deepest_nesting, report.largest_br_table) == (4, 3, 2)
    assert report.largest_body < report.code_bytes < report.size
    assert report.proposals == (
        "bulk-memory",
        "multi-value",
        "mutable-globals",
        "nontrapping-float-to-int",
        "reference-types",
        "sign-extension",
        "simd",
    )
    names = [section.name for section in report.sections]
    assert names[:3] == ["type", "import", "function"]
    assert names[-1] == "custom isolate.manifest"


def test_a_plain_guest_uses_no_proposal_and_its_sections_are_measured() -> None:
    report = survey(GOOD, Limits())
    assert report.proposals == ()
    assert SectionInfo("memory", 3) in report.sections
    assert sum(section.size + 2 for section in report.sections) + 8 == len(GOOD)
    assert (report.functions, report.most_locals, report.deepest_nesting, report.start) == (2, 2, 0, False)


def test_a_report_survives_being_written_as_json_and_as_messagepack() -> None:
    for report in (survey(RICH, Limits()), survey_js(b"export default 1", Limits())):
        assert msgspec.json.decode(msgspec.json.encode(report), type=ModuleReport) == report
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(report), type=ModuleReport) == report


def test_the_manifest_grants_what_it_lists_and_what_everybody_has() -> None:
    module = with_manifest(guest(), b'{"abi":1,"codec":"framed","capabilities":["kv","log"],"name":"x"}')
    report = survey(module, Limits())
    assert report.manifest == precheck(module, Limits())
    assert report.manifest.name == "x"
    assert report.capabilities == ("kv", "log", "now", "random")


@pytest.mark.parametrize(("source", "lines"), [(b"", 0), (b"a", 1), (b"a\nb", 2), (b"a\r\nb\n", 2)])
def test_of_source_text_size_and_lines_are_told(source: bytes, lines: int) -> None:
    report = survey_js(source, Limits())
    assert (report.kind, report.size, report.lines) == ("js", len(source), lines)
    assert (report.manifest, report.sections) == (JS_MANIFEST, ())


def test_long_names_are_shown_cut_and_counted_whole() -> None:
    long = "é" * 500
    report = survey(with_manifest(guest(more=f'(func (export "{long}"))'), name=b"isolate.manifest"), Limits())
    assert report.exports[-1].name == "é" * 128 + "…"
    assert report.names_bytes >= 1_000


def test_the_javascript_engine_is_admitted() -> None:
    engine = with_manifest(isolate_sdk.engine_wasm())
    report = survey(engine, Limits())
    assert report.functions > 1_000
    assert report.largest_body > 50_000
    assert {each.name for each in report.exports} >= {"boot", "load", "isolate_deliver"}
    assert "sign-extension" in report.proposals


def test_a_guest_in_c_is_admitted(tmp_path: Path) -> None:
    module = isolate_sdk.compile_guest(EXAMPLES / "echo_c" / "echo.c", tmp_path / "echo.wasm").read_bytes()
    report = survey(module, Limits())
    assert report.capabilities == ("kv", "log", "now", "random", "socket")
    assert ("isolate", "host_call") in {(each.module, each.name) for each in report.imports}
