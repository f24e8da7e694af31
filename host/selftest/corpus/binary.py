"""Modules as bytes: what no compiler would write, what Wasm has and this host has not, and bombs for the compiler."""

from __future__ import annotations

from functools import partial

from host.selftest.case import Case
from host.selftest.drives import refused_upload
from host.selftest.guests import leb, section, wasm_guest, wat, with_manifest
from host.selftest.lab import JS, WASM

__all__ = ["CASES"]

HEAD = b"\0asm\x01\0\0\0"
MALFORMED, IMPORT, EXPORT, MANIFEST = (
    "module/malformed",
    "module/bad_import",
    "module/bad_export",
    "module/bad_manifest",
)
TOO_LARGE = "module/too_large"
MEMORY = '(memory (export "memory") 1 16)'
ALLOC = '(func (export "isolate_alloc") (param i32) (result i32) i32.const 0)'
DELIVER = '(func (export "isolate_deliver") (param i32 i32) (result i64) i64.const 0)'


def module(*fields: str) -> bytes:
    return with_manifest(wat(f"(module {' '.join(fields)})"))


def decent() -> bytes:
    return wasm_guest("")


def beside(*fields: str) -> bytes:
    """A module that would be admitted, with something beside it."""
    return module(MEMORY, ALLOC, DELIVER, *fields)


def many_functions(count: int) -> bytes:
    """Written as bytes: as text it would take the converter longer than the host."""
    kind = section(1, b"\x03" + b"\x60\x01\x7f\x01\x7f" + b"\x60\x02\x7f\x7f\x01\x7e" + b"\x60\x00\x00")
    functions = section(3, leb(count + 2) + b"\x00\x01" + b"\x02" * count)
    memory = section(5, b"\x01\x01\x01\x10")
    exports = section(
        7,
        b"\x03"
        + b"".join(
            leb(len(n)) + n + k
            for n, k in [(b"memory", b"\x02\x00"), (b"isolate_alloc", b"\x00\x00"), (b"isolate_deliver", b"\x00\x01")]
        ),
    )
    code = section(10, leb(count + 2) + b"\x04\x00\x41\x00\x0b" + b"\x04\x00\x42\x00\x0b" + b"\x02\x00\x0b" * count)
    return with_manifest(HEAD + kind + functions + memory + exports + code)


def _body(code: bytes, locals_: bytes = b"\x00") -> bytes:
    """A decent module with one more function, of this code."""
    kind = section(1, b"\x03" + b"\x60\x01\x7f\x01\x7f" + b"\x60\x02\x7f\x7f\x01\x7e" + b"\x60\x00\x00")
    functions = section(3, b"\x03\x00\x01\x02")
    memory = section(5, b"\x01\x01\x01\x10")
    exports = section(
        7,
        b"\x03"
        + b"".join(
            leb(len(n)) + n + k
            for n, k in [(b"memory", b"\x02\x00"), (b"isolate_alloc", b"\x00\x00"), (b"isolate_deliver", b"\x00\x01")]
        ),
    )
    made = locals_ + code + b"\x0b"
    bodies = section(10, b"\x03" + b"\x04\x00\x41\x00\x0b" + b"\x04\x00\x42\x00\x0b" + leb(len(made)) + made)
    return with_manifest(HEAD + kind + functions + memory + exports + bodies)


def _bomb() -> bytes:
    """Within every limit of admission, and more work for a compiler than it may do: it is slow in loops."""
    return _body(_loops * 40_000)


def _flipped(at: int) -> bytes:
    made = bytearray(decent())
    made[at] ^= 0xFF
    return bytes(made)


_proposals = [
    ("binary/shared-memory", '(memory (export "memory") 1 2 shared)', ALLOC, DELIVER),
    ("binary/memory64", '(memory (export "memory") i64 1 2)', ALLOC, DELIVER),
    ("binary/multi-memory", MEMORY, ALLOC, DELIVER, "(memory 1 1)"),
    ("binary/tail-calls", MEMORY, ALLOC, DELIVER, "(func $f (return_call $f))"),
    ("binary/exceptions", MEMORY, ALLOC, DELIVER, "(tag $e) (func (throw $e))"),
    ("binary/gc", MEMORY, ALLOC, DELIVER, "(type $s (struct (field i32))) (func (drop (struct.new $s (i32.const 1))))"),
    (
        "binary/function-references",
        MEMORY,
        ALLOC,
        DELIVER,
        "(type $t (func)) (func (param (ref $t)) (call_ref $t (local.get 0)))",
    ),
    ("binary/threads", MEMORY, ALLOC, DELIVER, "(func (drop (i32.atomic.load (i32.const 0))))"),
    (
        "binary/relaxed-simd",
        MEMORY,
        ALLOC,
        DELIVER,
        "(func (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
    ),
    ("binary/custom-page-size", '(memory (export "memory") 1 2 (pagesize 1))', ALLOC, DELIVER),
]

_misfits = [
    ("binary/unknown-import", IMPORT, ('(import "env" "system" (func (param i32)))', MEMORY, ALLOC, DELIVER)),
    (
        "binary/wasi-files",
        IMPORT,
        ('(import "wasi_snapshot_preview1" "path_open" (func (param i32) (result i32)))', MEMORY, ALLOC, DELIVER),
    ),
    (
        "binary/import-of-a-wrong-type",
        IMPORT,
        ('(import "isolate" "host_call" (func (param i64)))', MEMORY, ALLOC, DELIVER),
    ),
    (
        "binary/import-of-a-memory",
        IMPORT,
        ('(import "isolate" "memory" (memory 1))', MEMORY.replace("memory (", "memory $m ("), ALLOC, DELIVER),
    ),
    ("binary/import-of-a-global", IMPORT, ('(import "isolate" "host_call" (global i32))', MEMORY, ALLOC, DELIVER)),
    ("binary/no-memory", EXPORT, (ALLOC, DELIVER)),
    ("binary/no-deliver", EXPORT, (MEMORY, ALLOC)),
    (
        "binary/export-of-a-wrong-type",
        EXPORT,
        (MEMORY, DELIVER, '(func (export "isolate_alloc") (param i64) (result i32) i32.const 0)'),
    ),
    ("binary/memory-that-is-a-global", EXPORT, ('(global (export "memory") i32 (i32.const 1))', ALLOC, DELIVER)),
]

_loops = b"\x03\x40\x0b"
_EMPTY = "(func $f)"


def _with(kind: int, body: bytes) -> bytes:
    """A decent module with a section of this kind, wherever it would have to be: its count is read first."""
    return with_manifest(HEAD + section(kind, body))


# Each is over one limit by its count or its size; the first two would keep a compiler busy for minutes.
_over = [
    ("binary/100000-functions", "module_functions", lambda: many_functions(100_000)),
    ("binary/100000-loops", "module_body", lambda: _body(_loops * 100_000)),
    ("binary/40000-nested-blocks", "module_nesting", lambda: _body(b"\x02\x40" * 40_000 + b"\x0b" * 40_000)),
    (
        "binary/huge-br-table",
        "module_br_table",
        lambda: _body(b"\x02\x40\x41\x00\x0e" + leb(120_000) + bytes(120_001) + b"\x0b"),
    ),
    ("binary/4-billion-locals", "module_locals", lambda: _body(b"", b"\x01\xff\xff\xff\xff\x0f\x7e")),
    ("binary/49000-locals", "module_locals", lambda: _body(b"", b"\x01" + leb(49_000) + b"\x7e")),
    ("binary/giant-name-section", "module_names", lambda: decent() + section(0, leb(4) + b"name" + bytes(1_000_000))),
    (
        "binary/1000-exports",
        "module_exports",
        lambda: beside(_EMPTY, *(f'(export "e{n}" (func $f))' for n in range(1_000))),
    ),
    ("binary/1000-sections", "module_sections", lambda: decent() + section(0, b"\x01x") * 1_000),
    ("binary/1000-imports", "module_imports", lambda: _with(2, leb(1_000) + b"\x01a\x01b\x00\x00" * 1_000)),
    ("binary/100000-types", "module_types", lambda: _with(1, leb(100_000) + b"\x60\x00\x00" * 100_000)),
    ("binary/1000-parameters", "module_values", lambda: _with(1, b"\x01\x60" + leb(1_000) + b"\x7f" * 1_000 + b"\x00")),
    ("binary/100000-globals", "module_globals", lambda: beside(*["(global i32 (i32.const 0))"] * 5_000)),
    ("binary/100-tables", "module_tables", lambda: beside(*["(table 1 1 funcref)"] * 100)),
    ("binary/table-of-100-million", "table_elements", lambda: beside("(table 100000000 funcref)")),
    (
        "binary/40000-elements",
        "module_elements",
        lambda: beside(_EMPTY, "(table 9999 funcref)", f"(elem func {'$f ' * 40_000})"),
    ),
    ("binary/20000-data-segments", "module_segments", lambda: beside(*['(data "x")'] * 20_000)),
    (
        "binary/large-manifest",
        "module_manifest",
        lambda: wasm_guest("", manifest=b'{"abi":1,"name":"' + b"x" * 100_000 + b'"}'),
    ),
]

CASES: tuple[Case, ...] = (
    refused_upload("binary/nothing", "the header is checked", b"", "module/not_wasm"),
    refused_upload("binary/garbage", "the header is checked", b"\xde\xad\xbe\xef" * 64, "module/not_wasm"),
    refused_upload(
        "binary/text", "text is not taken", f"(module {MEMORY} {ALLOC} {DELIVER})".encode(), "module/not_wasm"
    ),
    refused_upload(
        "binary/component", "components are off", b"\0asm\x0d\0\x01\0" + bytes(16), "module/not_wasm", MALFORMED
    ),
    refused_upload("binary/version-2", "the header is checked", b"\0asm\x02\0\0\0", "module/not_wasm", MALFORMED),
    refused_upload("binary/elf", "the header is checked", b"\x7fELF" + bytes(1_000), "module/not_wasm"),
    refused_upload(
        "binary/javascript-as-wasm", "the header is checked", b"export default {}", "module/not_wasm", kind=WASM
    ),
    refused_upload(
        "binary/wasm-as-javascript", "source is UTF-8", decent, "module/js_syntax", "module/js_threw", kind=JS
    ),
    refused_upload("binary/unknown-type", "two types are taken", b"x", "module/unsupported_type", kind="text/html"),
    refused_upload("binary/only-a-header", "the ABI is exported", HEAD, EXPORT, MANIFEST, MALFORMED),
    refused_upload("binary/truncated", "sizes are honest", lambda: decent()[:-9], MALFORMED),
    refused_upload("binary/half", "sizes are honest", lambda: decent()[: len(decent()) // 2], MALFORMED),
    refused_upload("binary/section-of-4-gib", "sizes are honest", HEAD + b"\x01\xff\xff\xff\xff\x0f", MALFORMED),
    refused_upload("binary/endless-leb", "numbers are bounded", HEAD + b"\x01" + b"\x80" * 40, MALFORMED),
    refused_upload(
        "binary/sections-out-of-order",
        "sections are in order",
        lambda: HEAD + section(3, b"\0") + section(1, b"\0"),
        MALFORMED,
        EXPORT,
        MANIFEST,
    ),
    refused_upload(
        "binary/section-twice", "sections are in order", lambda: HEAD + section(1, b"\0") + section(1, b"\0"), MALFORMED
    ),
    refused_upload("binary/unknown-section", "sections are known", HEAD + section(99, b"\0"), MALFORMED),
    refused_upload(
        "binary/vector-that-lies", "counts are honest", HEAD + section(1, b"\xff\xff\xff\xff\x0f"), TOO_LARGE, MALFORMED
    ),
    refused_upload(
        "binary/bit-flip-in-types", "bytes are checked", lambda: _flipped(10), MALFORMED, IMPORT, EXPORT, TOO_LARGE
    ),
    refused_upload(
        "binary/name-that-is-not-utf-8",
        "names are UTF-8",
        lambda: decent() + section(0, b"\x04\xff\xfe\xfd\xfc"),
        MALFORMED,
    ),
    *(
        refused_upload(name, "this proposal is off", partial(module, *fields), MALFORMED, EXPORT)
        for name, *fields in _proposals
    ),
    *(refused_upload(name, "the ABI is pinned", partial(module, *fields), error) for name, error, fields in _misfits),
    refused_upload(
        "binary/no-manifest", "there is a manifest", lambda: wat(f"(module {MEMORY} {ALLOC} {DELIVER})"), MANIFEST
    ),
    refused_upload(
        "binary/manifest-twice", "there is one manifest", lambda: with_manifest(decent()), MANIFEST, MALFORMED
    ),
    refused_upload(
        "binary/manifest-of-another-abi", "the ABI is 1", lambda: wasm_guest("", manifest=b'{"abi":2}'), MANIFEST
    ),
    refused_upload(
        "binary/manifest-duplicate-keys",
        "JSON is strict",
        lambda: wasm_guest("", manifest=b'{"abi":1,"abi":1,"capabilities":[]}'),
        MANIFEST,
    ),
    refused_upload(
        "binary/manifest-nested",
        "JSON is strict",
        lambda: wasm_guest("", manifest=b'{"abi":' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
        MANIFEST,
    ),
    refused_upload(
        "binary/manifest-wants-root",
        "capabilities are known",
        lambda: wasm_guest("", manifest=b'{"abi":1,"capabilities":["root"]}'),
        MANIFEST,
    ),
    refused_upload(
        "binary/too-large",
        "module",
        lambda: decent() + section(0, b"\x01x" + bytes(4_200_000)),
        TOO_LARGE,
        limit="module",
    ),
    refused_upload("binary/source-too-large", "module", "//" + "x" * 4_200_000, TOO_LARGE, limit="module"),
    *(refused_upload(name, limit, made, TOO_LARGE, limit=limit, seconds=12) for name, limit, made in _over),
    refused_upload(
        "binary/bomb-within-the-limits",
        "compile_cpu",
        _bomb,
        "module/compile_budget",
        "node/compiler_down",
        seconds=60,
        slow=True,
    ),
)
